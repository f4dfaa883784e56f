"""How the dispatcher's cost grows with live tasks and queued orders, on a real API server.

    python -m benchmarks.scale [--live 100,1000,10000] [--queued 100,10000,100000]

A bare client makes N claims and N suspended Jobs, as the dispatcher would have made them. Then, per
N, with the longest queue behind a full MAX_ACTIVE: how long the dispatcher needs from its start to
ready, its resident memory, its CPU while nothing happens (turns, about one a second), its CPU per
event of a watch, the time from SIGKILL of one to the next one's ready. Then, with few live tasks:
orders per second and CPU per order, from queues of several lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.intake import Bare, Bench, _ready
from benchmarks.results import machine, save
from contract.names import object_name
from contract.task import Task
from dispatcher.embedded import EmbeddedServer
from tests.cluster import cluster
from tests.e2e import manifests as installed
from tests.e2e.kube import Kube

THREADS = 4
EVENTS = 400
ORDERS = 200
IDLE = 10.0
"""Seconds of watching a dispatcher to which nothing happens."""
SETTLED = 60.0
"""Seconds that a start may take until nothing is left of it."""
_TICK = os.sysconf("SC_CLK_TCK")


class Dispatcher:
    """A running dispatcher, and what the kernel knows of it."""

    def __init__(self, process: subprocess.Popen[bytes], started: float) -> None:
        self._process = process
        self.start_seconds = started

    @property
    def resident_mib(self) -> float:
        """Memory that is its own or shared, as the kernel counts VmRSS."""
        return self._status("VmRSS") / 1024

    @property
    def peak_mib(self) -> float:
        """The most that it ever had."""
        return self._status("VmHWM") / 1024

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICK

    def settle(self) -> None:
        """Wait until what a start brings is over, the first audit among it."""
        deadline = time.monotonic() + SETTLED
        time.sleep(IDLE)
        while self.cpu_while(2.0) > 0.3 and time.monotonic() < deadline:
            pass

    def cpu_while(self, seconds: float) -> float:
        """Processor time of so many seconds."""
        before = self.cpu_seconds
        time.sleep(seconds)
        return self.cpu_seconds - before


@contextmanager
def dispatcher(bench: Bench, **settings: str) -> Iterator[Dispatcher]:
    """A dispatcher that is ready; killed at the end, as a node's death would."""
    with (bench.folder / "dispatcher.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher"],
            env={**os.environ, **bench.values, **settings},
            stdout=log,
            stderr=log,
        )
        try:
            while not _ready():
                assert process.poll() is None, "the dispatcher has ended; see its log"
                time.sleep(0.01)
            yield Dispatcher(process, time.perf_counter() - began)
        finally:
            process.kill()
            process.wait()


class Live:
    """Live tasks, made by a bare client: suspended Jobs, so that no pod is needed."""

    def __init__(self, bench: Bench) -> None:
        self._bare = Bare(bench)
        self.orders: list[bytes] = []
        self._bench = bench

    def grow_to(self, count: int) -> None:
        """Make as many more as are missing."""
        new = self._bench.orders(count - len(self.orders))
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._make, new))
        self.orders += new

    def _make(self, raw: bytes) -> None:
        claim, job = map(json.loads, self._bare.bodies(raw))
        job["spec"]["suspend"] = True
        self._bare.make((json.dumps(claim).encode(), json.dumps(job).encode()))

    def touch(self, count: int) -> None:
        """Change `count` claims: as many events of the watch."""
        names = [object_name(Task.parse(raw).key) for raw in self.orders]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._bare.touch, (names[n % len(names)] for n in range(count))))


def growth(bench: Bench, live: Live, counts: list[int], queued: int) -> list[dict[str, Any]]:
    """Measure at each number of live tasks, with no order queued and with `queued` of them."""
    rows = []
    for count in counts:
        live.grow_to(count)
        for length in (0, queued):
            fill(bench, length)
            rows.append(_at(bench, live, count, length))
            print(rows[-1], flush=True)
            bench.redis.delete(bench.values["QUEUE"])
    return rows


def _at(bench: Bench, live: Live, count: int, queued: int) -> dict[str, Any]:
    full = {"MAX_ACTIVE": str(count), "DISPATCHER_ID": "scale"}
    with dispatcher(bench, **full) as first:
        first.settle()
        idle = first.cpu_while(IDLE)
        began, before = time.perf_counter(), first.cpu_seconds
        live.touch(EVENTS)
        time.sleep(1)  # the last events and the turn that they wake
        spent = first.cpu_seconds - before - idle / IDLE * (time.perf_counter() - began)
        row = {
            "live": count,
            "queued": queued,
            "start_s": round(first.start_seconds, 2),
            "idle_cpu_ms_per_s": round(1000 * idle / IDLE, 1),
            "cpu_ms_per_event": round(1000 * spent / EVENTS, 2),
            "resident_mib": round(first.resident_mib, 1),
            "peak_mib": round(first.peak_mib, 1),
        }
    with dispatcher(bench, **full) as second:
        row["recover_s"] = round(second.start_seconds, 2)
    return row


def fill(bench: Bench, count: int) -> None:
    """Let `count` orders wait in the queue."""
    pipe = bench.redis.pipeline(transaction=False)
    for raw in bench.orders(count):
        pipe.lpush(bench.values["QUEUE"], raw)
    pipe.execute()


def queues(bench: Bench, lengths: list[int], live: int) -> list[dict[str, Any]]:
    """Measure the hand-over of some orders from the end of queues of several lengths."""
    rows = []
    for length in lengths:
        fill(bench, max(length, ORDERS))
        most = {"MAX_ACTIVE": str(live + ORDERS), "DISPATCHER_ID": "scale"}
        goal = max(length, ORDERS) - ORDERS
        began = time.perf_counter()
        with dispatcher(bench, **most) as one:
            while bench.redis.llen(bench.values["QUEUE"]) > goal or _claimed(bench):
                time.sleep(0.005)
            took = time.perf_counter() - began - one.start_seconds
            spent = one.cpu_seconds
        rows.append({"queued": length, "seconds": round(took, 2), "cpu_s": round(spent, 2)})
        print(rows[-1], flush=True)
        bench.redis.delete(bench.values["QUEUE"])
        live += ORDERS
    return rows


def _claimed(bench: Bench) -> int:
    return int(bench.redis.llen(f"{bench.values['QUEUE']}:claimed:scale"))


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--live", default="100,1000,10000")
    parser.add_argument("--queued", default="200,10000,100000")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    options = parser.parse_args()
    counts, lengths = ([int(n) for n in text.split(",")] for text in (options.live, options.queued))
    kubeconfig = cluster.ensure_up()
    kube = Kube(cluster.kubectl(), kubeconfig, f"scale-{uuid.uuid4().hex[:6]}")
    kube.apply(installed.namespace(kube.namespace))
    kube.apply(*installed.rights(kube.namespace))
    folder = options.folder / kube.namespace
    folder.mkdir()
    try:
        with EmbeddedServer(folder) as server:
            url = server.url.reveal()
            bench = Bench(kube, kubeconfig, redis.Redis.from_url(url), url, folder)
            live = Live(bench)
            live.grow_to(counts[0])
            result = {"machine": machine(), "orders_of_a_queue": ORDERS}
            result["by_queue"] = queues(bench, lengths, counts[0])
            result["by_live"] = growth(bench, live, counts, lengths[-1])
            save("scale", result)
    finally:
        kube.run("delete", "namespace", kube.namespace, "--wait=false")


if __name__ == "__main__":
    main()
