"""The hand-off, measured: orders in a Redis list against the same objects made by a bare client.

    python -m benchmarks.intake [--tasks 400] [--rounds 3] [--pushes 200]

Throughput: N orders lie in the list; how long until the dispatcher has made N claims and N Jobs?
Against it: urllib3, 8 threads, the same manifests, their JSON made beforehand. Latency: one order
at a time, from LPUSH to the Job's ADDED event; against it, from before the first POST to the same.
Pods are kept from starting by a node selector that fits no node, for both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import new_client_from_config

from benchmarks.results import machine, save
from contract.env import Reader
from contract.handoff import Assignment
from contract.names import object_name
from contract.task import Task
from dispatcher.embedded import EmbeddedServer
from dispatcher.executors.kubernetes import manifests, settings
from tests.cluster import cluster
from tests.e2e import objects as installed
from tests.e2e.kube import Kube, until

THREADS = 8
COURSE = "https://portal.invalid/course/benchmark/"


@dataclass
class Bench:
    """A namespace, a queue, and the settings that both sides share."""

    kube: Kube
    kubeconfig: Path
    redis: redis.Redis
    url: str
    folder: Path
    values: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.values = {
            "REDIS_URL": self.url,
            "QUEUE": f"bench:{uuid.uuid4().hex[:6]}",
            "KUBECONFIG": str(self.kubeconfig),
            "NAMESPACE": self.kube.namespace,
            "JOB_IMAGE": cluster.JOB_IMAGE,
            "JOB_NODE_SELECTOR": '{"benchmark":"nowhere"}',
            "MAX_ACTIVE": "1000000",
            "HEALTH_PORT": "18099",
            "HEALTH_HOST": "127.0.0.1",
        }

    @contextmanager
    def dispatcher(self) -> Iterator[None]:
        """The dispatcher as a process of its own, ready."""
        with (self.folder / "dispatcher.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dispatcher"],
                env={**os.environ, **self.values},
                stdout=log,
                stderr=log,
            )
            try:
                until(_ready, "the dispatcher is ready", 30)
                yield
            finally:
                process.terminate()
                process.wait(20)

    def orders(self, count: int) -> list[bytes]:
        """Orders with new ids."""
        run = uuid.uuid4().hex[:6]
        return [
            json.dumps({"taskId": f"{run}-{n}", "courseUrl": COURSE}).encode() for n in range(count)
        ]

    def clean(self) -> None:
        """Remove everything that was made, and wait until it is gone."""
        for kind in ("jobs", "pods", "pvc"):
            self.kube.run("delete", kind, "--all", "--wait=true", "--force", "--grace-period=0")
        until(lambda: not self.kube.items("pvc") and not self.kube.items("jobs"), "all is gone")


def _ready() -> bool:
    try:
        with urllib.request.urlopen("http://127.0.0.1:18099/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Bare:
    """The bare client: a connection pool and JSON made beforehand."""

    def __init__(self, bench: Bench) -> None:
        self._settings = settings.read(Reader(bench.values))
        known = new_client_from_config(str(bench.kubeconfig))
        known.configuration.connection_pool_maxsize = THREADS
        self._pool = RESTClientObject(known.configuration).pool_manager
        base, namespace = known.configuration.host.rstrip("/"), bench.kube.namespace
        self._claims = f"{base}/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self._jobs = f"{base}/apis/batch/v1/namespaces/{namespace}/jobs"
        self._values = bench.values

    def bodies(self, raw: bytes) -> tuple[bytes, bytes]:
        """Both objects of an order as JSON."""
        task = Task.parse(raw)
        claim = manifests.claim(task, self._settings)
        job = manifests.job(Assignment(task, 1), self._settings, self._values)
        return json.dumps(claim).encode(), json.dumps(job).encode()

    def make(self, bodies: tuple[bytes, bytes]) -> None:
        """Create both."""
        for url, body in zip((self._claims, self._jobs), bodies, strict=True):
            headers = {"Content-Type": "application/json"}
            answer = self._pool.request("POST", url, body=body, headers=headers)
            assert answer.status == 201, answer.data

    def touch(self, name: str) -> None:
        """Change an annotation of a claim, which everybody who watches is told."""
        body = json.dumps({"metadata": {"annotations": {"benchmark/at": uuid.uuid4().hex}}})
        headers = {"Content-Type": "application/merge-patch+json"}
        url = f"{self._claims}/{name}"
        answer = self._pool.request("PATCH", url, body=body.encode(), headers=headers)
        assert answer.status == 200, answer.data


def throughput_ours(bench: Bench, count: int) -> float:
    """Tasks per second from the list to claim and Job."""
    orders = bench.orders(count)
    with bench.dispatcher():
        began = time.perf_counter()
        bench.redis.lpush(bench.values["QUEUE"], *orders)
        claimed = f"{bench.values['QUEUE']}:claimed:*"
        while bench.redis.llen(bench.values["QUEUE"]) or bench.redis.keys(claimed):
            time.sleep(0.002)
        took = time.perf_counter() - began
    assert len(bench.kube.items("jobs")) == count
    bench.clean()
    return count / took


def throughput_bare(bench: Bench, count: int) -> float:
    """The same objects by the bare client."""
    bare = Bare(bench)
    bodies = [bare.bodies(raw) for raw in bench.orders(count)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(bare.make, [bare.bodies(raw) for raw in bench.orders(THREADS)]))  # connect
        began = time.perf_counter()
        list(pool.map(bare.make, bodies))
        took = time.perf_counter() - began
    bench.clean()
    return count / took


class Births:
    """When each Job's ADDED event came, by name."""

    def __init__(self, bench: Bench) -> None:
        self.at: dict[str, float] = {}
        self._changed = threading.Condition()
        self._watch = bench.kube.popen(
            "get", "jobs", "--watch-only", "-o", "jsonpath={.metadata.name}{'\\n'}"
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._watch.stdout is not None
        for line in self._watch.stdout:
            with self._changed:
                self.at.setdefault(line.strip(), time.perf_counter())
                self._changed.notify_all()

    def wait(self, name: str) -> float:
        """When the Job called `name` was seen first."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.at, 20), f"{name} never came"
            return self.at[name]

    def close(self) -> None:
        """End the watch."""
        self._watch.terminate()
        self._watch.wait(10)


def latencies(bench: Bench, pushes: int) -> tuple[list[float], list[float]]:
    """Milliseconds from LPUSH, and from before the first POST, to the Job's event; in turn."""
    bare, births = Bare(bench), Births(bench)
    ours: list[float] = []
    theirs: list[float] = []
    with bench.dispatcher():
        for warm, raw in enumerate(bench.orders(2 * pushes + 20)):
            name = object_name(Task.parse(raw).key)
            bodies = bare.bodies(raw)
            began = time.perf_counter()
            if warm % 2:
                bench.redis.lpush(bench.values["QUEUE"], raw)
            else:
                bare.make(bodies)
            took = (births.wait(name) - began) * 1000
            if warm >= 20:
                (ours if warm % 2 else theirs).append(took)
            time.sleep(0.03)  # one order at a time, not a load
    births.close()
    bench.clean()
    return ours, theirs


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds."""
    bench.clean()
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(options.rounds + 1):
        pair = {
            "ours": throughput_ours(bench, options.tasks),
            "bare": throughput_bare(bench, options.tasks),
        }
        print({k: round(v) for k, v in pair.items()}, "tasks/s", "(warm-up)" if not number else "")
        if number:
            for side, rate in pair.items():
                rates[side].append(rate)
    ours, bare = latencies(bench, options.pushes)
    medians = {side: statistics.median(values) for side, values in rates.items()}
    return {
        "machine": machine(),
        "tasks": options.tasks,
        "tasks_per_second": {k: [round(v, 1) for v in values] for k, values in rates.items()},
        "throughput_ratio": round(medians["ours"] / medians["bare"], 3),
        "latency_ms": {
            side: {f"p{p}": round(_percentile(values, p), 1) for p in (50, 99)}
            for side, values in (("ours", ours), ("bare", bare))
        },
        "added_ms": {
            f"p{p}": round(_percentile(ours, p) - _percentile(bare, p), 1) for p in (50, 99)
        },
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pushes", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    options = parser.parse_args()
    kubeconfig = cluster.ensure_up()
    kube = Kube(cluster.kubectl(), kubeconfig, f"bench-{uuid.uuid4().hex[:6]}")
    kube.apply(installed.namespace(kube.namespace))
    kube.apply(*installed.rights(kube.namespace))
    folder = options.folder / kube.namespace
    folder.mkdir()
    try:
        with EmbeddedServer(folder) as server:
            url = server.url.reveal()
            client = redis.Redis.from_url(url)
            result = measure(Bench(kube, kubeconfig, client, url, folder), options)
    finally:
        kube.run("delete", "namespace", kube.namespace, "--wait=false")
    print(json.dumps(result, indent=1))
    save("intake", result)


if __name__ == "__main__":
    main()
