"""The hand-off, measured: orders in a Redis list against the same objects made by a bare client.

    python -m benchmarks.intake [--tasks 400] [--rounds 5] [--pushes 300] [--alone]

Throughput: N orders lie in the list; how long until the dispatcher has made N claims and N Jobs?
Against it: urllib3, 8 threads, the same manifests, their JSON made beforehand. Latency: one order
at a time, from LPUSH to the Job's ADDED event; against it, from before the first POST to the same.
Pods are kept from starting by a node selector that fits no node, for both alike. `--alone`: on an
API server of the benchmark's own without controllers (shown, not saved), where nothing but the
two of them takes processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.api_server import ApiServer
from benchmarks.hand_off import THREADS, Bare, Bench, Births
from benchmarks.results import machine, save
from contract import names
from contract.task import Task
from dispatcher.embedded import EmbeddedServer
from tests.cluster import cluster
from tests.e2e import objects as installed
from tests.e2e.kube import Kube

WARM = 10
"""Orders of each side that come first and are not measured."""
PAUSE = 0.03
"""Seconds between two orders: one at a time, not a load."""
IDENTITY = "bench"


def throughput_ours(bench: Bench, count: int) -> float:
    """Tasks per second from the list to claim and Job."""
    with bench.dispatcher():
        _hand_over(bench, THREADS)  # connect
        took = _hand_over(bench, count)
    assert len(bench.api.names(bench.api.jobs)) == count + THREADS
    bench.api.sweep()
    return count / took


def _hand_over(bench: Bench, count: int) -> float:
    """Return the seconds until nothing is queued or claimed any more."""
    queue, orders = bench.values["QUEUE"], bench.orders(count)
    claimed = names.claimed_list(queue, IDENTITY)
    look = bench.redis.pipeline(transaction=False)
    began = time.perf_counter()
    bench.redis.lpush(queue, *orders)
    while any(look.llen(queue).llen(claimed).execute()):
        time.sleep(0.004)
    return time.perf_counter() - began


def throughput_bare(bench: Bench, count: int) -> float:
    """The same objects by the bare client."""
    bare = Bare(bench)
    bodies = [bare.bodies(raw) for raw in bench.orders(count)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(bare.make, [bare.bodies(raw) for raw in bench.orders(THREADS)]))  # connect
        began = time.perf_counter()
        list(pool.map(bare.make, bodies))
        took = time.perf_counter() - began
    bench.api.sweep()
    return count / took


SIDES: dict[str, Callable[[Bench, int], float]] = {
    "ours": throughput_ours,
    "bare": throughput_bare,
}


def throughput(bench: Bench, count: int, rounds: int) -> dict[str, list[float]]:
    """Tasks per second of both sides, in turn; the first round is a warm-up."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds + 1):
        for side in sorted(SIDES, reverse=number % 2 == 1):
            rate = SIDES[side](bench, count)
            print(f"{side}: {rate:.0f} tasks/s{'' if number else ' (warm-up)'}", flush=True)
            if number:
                rates[side].append(rate)
    return rates


def latencies(bench: Bench, pushes: int) -> tuple[list[float], list[float]]:
    """Milliseconds from LPUSH, and from before the first POST, to the Job's event; in turn."""
    bare, births = Bare(bench), Births(bench)
    took: tuple[list[float], list[float]] = ([], [])
    with bench.dispatcher():
        for number, raw in enumerate(bench.orders(2 * (pushes + WARM))):
            name, bodies = names.object_name(Task.parse(raw).key), bare.bodies(raw)
            began = time.perf_counter()
            if number % 2:
                bare.make(bodies)
            else:
                bench.redis.lpush(bench.values["QUEUE"], raw)
            took[number % 2].append((births.wait(name) - began) * 1000)
            time.sleep(PAUSE)
    births.close()
    bench.api.sweep()
    return took[0][WARM:], took[1][WARM:]


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _rates(rates: Mapping[str, list[float]], count: int) -> dict[str, Any]:
    """What is said of throughput: each round is a pair, and has a ratio of its own."""
    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True)]
    return {
        "tasks": count,
        "tasks_per_second": {k: [round(v, 1) for v in values] for k, values in rates.items()},
        "ratios": [round(ratio, 3) for ratio in ratios],
        "throughput_ratio": round(statistics.median(ratios), 3),
    }


def _times(ours: list[float], bare: list[float]) -> dict[str, Any]:
    """What is said of latency."""
    sides = {"ours": ours, "bare": bare}
    points = {
        side: {f"p{p}": round(_percentile(values, p), 1) for p in (50, 90, 99)}
        for side, values in sides.items()
    }
    added = {p: round(points["ours"][p] - points["bare"][p], 1) for p in points["ours"]}
    return {"pushes": len(ours), "latency_ms": points, "added_ms": added}


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds."""
    result = {"machine": machine(), "load_before": round(os.getloadavg()[0], 1)}
    result |= _rates(throughput(bench, options.tasks, options.rounds), options.tasks)
    result |= _times(*latencies(bench, options.pushes))
    return result | {"load_after": round(os.getloadavg()[0], 1)}


@contextmanager
def _kubeconfig(folder: Path, *, alone: bool) -> Iterator[Path]:
    """Where the API server is."""
    if not alone:
        yield cluster.ensure_up()
        return
    own = ApiServer(folder)
    try:
        own.start()
        yield own.kubeconfig
    finally:
        own.close()


@contextmanager
def bench(folder: Path, *, alone: bool = False) -> Iterator[Bench]:
    """A namespace and a Redis of the benchmark's own; nothing is left of either."""
    with _kubeconfig(folder, alone=alone) as kubeconfig:
        kube = Kube(cluster.kubectl(), kubeconfig, f"bench-{uuid.uuid4().hex[:6]}")
        kube.apply(installed.namespace(kube.namespace), *installed.rights(kube.namespace))
        try:
            with EmbeddedServer(folder) as server:
                url = server.url.reveal()
                made = Bench(kube, kubeconfig, redis.Redis.from_url(url), url, folder)
                made.values["DISPATCHER_ID"] = IDENTITY
                yield made
                made.api.sweep()
        finally:
            kube.run("delete", "namespace", kube.namespace, "--wait=false")


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pushes", type=int, default=300)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    with bench(Path(tempfile.mkdtemp(prefix="course-runner-bench-")), alone=options.alone) as made:
        result = measure(made, options)
    print(json.dumps(result, indent=1))
    if not options.alone:
        save("intake", result)


if __name__ == "__main__":
    main()
