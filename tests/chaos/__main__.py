"""Chaos by hand: `python -m tests.chaos --orders 500 --seconds 120 --dispatchers 5`.

Prints its seed first; the same seed draws the same orders and faults. Ends with 1 when an order was
lost, done twice, or more runs were alive than may be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.crew import WORKERS
from tests.chaos.cluster import Cluster
from tests.chaos.containers import Containers
from tests.chaos.jobs import Jobs
from tests.chaos.machine import Machine
from tests.chaos.schedule import LONG, Kind, draw
from tests.chaos.story import Story
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.namespaces import namespace


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos by hand.")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--every", type=float, default=0.7, help="seconds between two faults")
    parser.add_argument("--dispatchers", type=int, default=2)
    parser.add_argument(
        "--absences", type=int, default=0, help="dispatchers paused or killed for over a minute"
    )
    parser.add_argument("--max-active", type=int, default=5)
    parser.add_argument("--executor", choices=("local", "kubernetes"), default="local")
    parser.add_argument(
        "--pods", choices=("reported", "real"), default="reported", help="on a cluster"
    )
    return parser.parse_args()


def main() -> int:
    """Live through one chaos, print its report."""
    options = _options()
    print(f"seed {options.seed}", flush=True)
    schedule = draw(options.seed, options.orders, options.seconds, options.every, options.absences)
    folder = Path(tempfile.mkdtemp(prefix="course-runner-chaos-"))
    with _ground(options, folder) as ground:
        story = Story(schedule, ground, folder, options.dispatchers, options.max_active)
        report = story.live()
        most = max(report.peak, ground.most if isinstance(ground, Jobs) else 0)
    pauses = report.faults.get(Kind.PAUSE.value + LONG, 0)
    bound = options.max_active + pauses * min(WORKERS, options.max_active)
    print(report)
    print(f"most runs at once {most}; MAX_ACTIVE {options.max_active}; stated bound {bound}")
    if report.lawful and most <= bound:
        shutil.rmtree(folder)
        return 0
    print(f"NOT LAWFUL ({most} runs at once). Again: --seed {options.seed}.")
    print(f"What was said: {story.dispatchers.log}")
    return 1


@contextmanager
def _ground(options: argparse.Namespace, folder: Path) -> Iterator[Machine | Cluster | Containers]:
    """Where the runs are; the cluster is started if need be."""
    if options.executor == "local":
        yield Machine(folder)
        return
    kubeconfig = cluster.ensure_up()
    with namespace() as name:
        if options.pods == "reported":
            with Cluster(kubeconfig, name, cluster.JOB_IMAGE) as ground:
                yield ground
            return
        cluster.load_images()
        with Containers(kubeconfig, name, cluster.JOB_IMAGE, folder, options.orders) as real:
            yield real


if __name__ == "__main__":
    sys.exit(main())
