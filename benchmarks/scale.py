"""How the dispatcher's cost grows with live tasks and queued orders, on an API server of its own.

    python -m benchmarks.scale [--live 100,1000,10000] [--queued 100000] [--rounds 3]

N claims and N Jobs whose runs are at work are put into etcd (`api_server`). Then, per N, without
and with the longest queue behind a full MAX_ACTIVE: the time from the start to ready, resident
memory, CPU while nothing happens (turns, about one a second) and per event of a watch, the time
from a Job that vanishes to its next run, the same when the API server was killed and has forgotten
what the watch saw last (a new list), and the time until a killed and restarted Redis sees the
dispatcher at work again. Then, with few live tasks: CPU and time per order handed over, from a
queue of just these orders and from the longest one, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.api_server import MODEL, NAMESPACE, ApiServer
from benchmarks.results import machine, save
from contract import names
from contract.env import Reader
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.kubernetes import manifests, settings
from dispatcher.store import Store
from tests.chaos.redis_server import RedisServer
from tests.services import free_port, until

COURSE = "https://portal.invalid/course/benchmark/"
ACCOUNTS = 50
EVENTS = 200
PACE = 0.05
"""Seconds between two events: each is news of its own, as it is with runs that begin and end."""
ORDERS = 400
IDLE = 8.0
"""Seconds of watching a dispatcher to which nothing happens."""
SETTLED = 120.0
"""Seconds that a start may take until nothing is left of it, the first audit among it."""
IDENTITY = "scale"
QUEUE = "scale"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
STORED = (
    (CLAIMS, f"/registry/persistentvolumeclaims/{NAMESPACE}"),
    (JOBS, f"/registry/jobs/{NAMESPACE}"),
)
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class World:
    """The servers, and the names of what is live."""

    api: ApiServer
    redis: RedisServer
    folder: Path
    health_port: int
    live: list[str]

    @property
    def values(self) -> dict[str, str]:
        """The settings of every dispatcher here."""
        return {
            "REDIS_URL": self.redis.direct_url,
            "QUEUE": QUEUE,
            "KUBECONFIG": str(self.api.kubeconfig),
            "NAMESPACE": NAMESPACE,
            "JOB_IMAGE": "localhost/never-pulled:1",
            "DISPATCHER_ID": IDENTITY,
            "HEALTH_PORT": str(self.health_port),
            "HEALTH_HOST": "127.0.0.1",
        }

    @property
    def store(self) -> Store:
        """Redis as the dispatcher has it."""
        return Store(self.redis.client, QUEUE, IDENTITY)

    def make_model(self) -> None:
        """Make one task through the API, and say of its run what a cluster would."""
        chosen = settings.read(Reader(self.values))
        task = Task.parse(_order(MODEL, 0))
        self.api.send("POST", CLAIMS, manifests.claim(task, chosen))
        self.api.send("POST", JOBS, manifests.job(Assignment(task, 1), chosen, self.values))
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        name = names.object_name(MODEL)
        bound = {"phase": "Bound", "capacity": {"storage": "20Gi"}}
        at_work = {"startTime": now, "active": 1, "ready": 1, "uncountedTerminatedPods": {}}
        for path, status in ((CLAIMS, bound), (JOBS, at_work)):
            path = f"{path}/{name}/status"
            self.api.send("PATCH", path, {"status": status}, "merge-patch+json")
        self.live.append(name)

    def grow_to(self, count: int) -> None:
        """Put as many more tasks into etcd as are missing."""
        run = uuid.uuid4().hex[:8]
        ids = [f"{run}-{n}" for n in range(count - len(self.live))]
        self.api.copy(STORED, ids)
        self.live += [names.object_name(one) for one in ids]

    def touch(self, number: int) -> None:
        """Change a claim, which everybody who watches is told."""
        path = f"{CLAIMS}/{self.live[number % len(self.live)]}"
        body = {"metadata": {"annotations": {"benchmark/at": uuid.uuid4().hex}}}
        self.api.send("PATCH", path, body, "merge-patch+json")

    def job_id(self, name: str) -> str:
        """Return the uid of a Job, "" without one."""
        path = f"{JOBS}?fieldSelector=metadata.name%3D{name}"
        found = self.api.send("GET", path)["items"]
        return str(found[0]["metadata"]["uid"]) if found else ""

    def fill(self, count: int) -> None:
        """Let so many orders wait in the queue."""
        run, pipe = uuid.uuid4().hex[:8], self.redis.client.pipeline(transaction=False)
        for number in range(count):
            pipe.lpush(QUEUE, _order(f"{run}-{number}", number))
            if number % 1000 == 999:
                pipe.execute()
        pipe.execute()


def _order(task: str, number: int) -> bytes:
    email = f"account-{number % ACCOUNTS}@example.com"
    return json.dumps({"taskId": task, "courseUrl": COURSE, "email": email}).encode()


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
        while self.cpu_while(2.0) > 0.4 and time.monotonic() < deadline:
            pass

    def cpu_while(self, seconds: float) -> float:
        """Processor time of so many seconds."""
        before = self.cpu_seconds
        time.sleep(seconds)
        return self.cpu_seconds - before


@contextmanager
def dispatcher(world: World, most: int) -> Iterator[Dispatcher]:
    """A dispatcher that is ready; killed at the end, as a node's death would."""
    with (world.folder / "dispatcher.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher"],
            env={**os.environ, **world.values, "MAX_ACTIVE": str(most)},
            stdout=log,
            stderr=log,
        )
        try:
            while not _ready(world.health_port):
                assert process.poll() is None, "the dispatcher has ended; see its log"
                time.sleep(0.01)
            yield Dispatcher(process, time.perf_counter() - began)
        finally:
            process.kill()
            process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


# --- by live tasks --------------------------------------------------------------------------------
def growth(world: World, counts: list[int], queued: int) -> list[dict[str, Any]]:
    """Measure at each number of live tasks, with no order queued and with `queued` of them."""
    rows = []
    for count in counts:
        world.grow_to(count)
        for length in (0, queued):
            world.fill(length)
            rows.append(_at(world, count, length))
            print(rows[-1], flush=True)
            world.redis.client.delete(QUEUE)
    return rows


def _at(world: World, count: int, queued: int) -> dict[str, Any]:
    with dispatcher(world, count) as one:
        one.settle()
        idle = one.cpu_while(IDLE) / IDLE
        row = {
            "live": count,
            "queued": queued,
            "start_s": round(one.start_seconds, 2),
            "start_cpu_s": round(one.cpu_seconds, 2),
            "idle_cpu_ms_per_s": round(1000 * idle, 1),
            "cpu_ms_per_event": round(1000 * _event(world, one, idle), 2),
            "event_to_run_s": round(_vanished(world), 2),
            "api_server_back_to_run_s": round(_api_away(world), 2),
            "redis_back_to_work_s": round(_redis_away(world), 2),
        }
        one.settle()
        row["resident_mib"] = round(one.resident_mib, 1)
        row["peak_mib"] = round(one.peak_mib, 1)
    row["load_1m"] = round(os.getloadavg()[0], 1)
    return row


def _event(world: World, one: Dispatcher, idle: float) -> float:
    """Processor time of one event, beyond what idle turns would have taken meanwhile."""
    began, before = time.perf_counter(), one.cpu_seconds
    for number in range(EVENTS):
        world.touch(number)
        time.sleep(PACE)
    time.sleep(1)  # the last event and the turn that it wakes
    return (one.cpu_seconds - before - idle * (time.perf_counter() - began)) / EVENTS


def _vanished(world: World) -> float:
    """Seconds from the removal of a Job to the one that takes its place."""
    name = world.live.pop()  # each another: the slot of a run that vanishes twice is kept a minute
    world.live.insert(0, name)
    known = world.job_id(name)
    began = time.perf_counter()
    world.api.send("DELETE", f"{JOBS}/{name}", {"propagationPolicy": "Background"})
    until(lambda: world.job_id(name) not in ("", known), "the next run is made", 120)
    return time.perf_counter() - began


def _api_away(world: World) -> float:
    """The same, from the moment that a killed API server, whose memory is gone, is ready again."""
    world.api.stop_api()
    world.api.start_api()
    return _vanished(world)


def _redis_away(world: World) -> float:
    """Seconds from a restarted Redis' first answer to the dispatcher's next heartbeat."""
    world.redis.kill()
    time.sleep(3)  # long enough to be met by a turn or two
    world.redis.start()
    beat = names.heartbeat_key(QUEUE, IDENTITY)
    world.redis.client.delete(beat)
    began = time.perf_counter()
    until(lambda: world.redis.client.exists(beat), "the dispatcher is at work again", 60)
    return time.perf_counter() - began


# --- by queued orders -----------------------------------------------------------------------------
def queues(world: World, queued: int, rounds: int) -> dict[str, Any]:
    """Measure the hand-over of some orders from a short queue and from a long one, in turn."""
    lengths = (ORDERS, queued)
    taken: dict[int, list[tuple[float, float]]] = {length: [] for length in lengths}
    for number in range(rounds + 1):
        for length in lengths:
            figures = _hand_over(world, length)
            print(length, figures, "" if number else "(warm-up)", flush=True)
            if number:
                taken[length].append(figures)
    rows = [_row(length, taken[length]) for length in lengths]
    short, long = rows
    costs = ("cpu_ms_per_order", "ms_per_order")
    return {
        "orders": ORDERS,
        "rounds": rounds,
        "rows": rows,
        "ratio": {cost: round(long[cost] / short[cost], 3) for cost in costs},
    }


def _row(length: int, figures: list[tuple[float, float]]) -> dict[str, Any]:
    seconds, cpu = (statistics.median(values) for values in zip(*figures, strict=True))
    return {
        "queued": length,
        "ms_per_order": round(1000 * seconds / ORDERS, 2),
        "cpu_ms_per_order": round(1000 * cpu / ORDERS, 2),
    }


def _hand_over(world: World, length: int) -> tuple[float, float]:
    """Return seconds and processor time of handing over `ORDERS` of `length` orders.

    Intake is paused until the start and its audit are over.
    """
    world.fill(length)
    world.store.pause()
    live = len(world.live)
    with dispatcher(world, live + ORDERS) as one:
        one.settle()
        before, began = one.cpu_seconds, time.perf_counter()
        world.store.resume()
        while world.store.waiting() > length - ORDERS or world.store.claimed():
            time.sleep(0.005)
        figures = time.perf_counter() - began, one.cpu_seconds - before
    world.redis.client.delete(QUEUE)
    found = world.api.send("GET", CLAIMS)["items"]
    world.live = [item["metadata"]["name"] for item in found]
    assert len(world.live) == live + ORDERS, "an order was handed over twice, or not at all"
    return figures


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """All servers, of which nothing is left at the end but their logs."""
    api, redis = ApiServer(folder), RedisServer(folder / "redis")
    redis.start()
    try:
        api.start()
        made = World(api, redis, folder, free_port(), [])
        made.make_model()
        yield made
    finally:
        api.close()
        redis.kill()


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--live", default="100,1000,10000")
    parser.add_argument("--queued", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    counts = [int(number) for number in options.live.split(",")]
    result: dict[str, Any] = {"machine": machine(), "load_before": os.getloadavg()[0]}
    with world(Path(tempfile.mkdtemp(prefix="course-runner-scale-"))) as made:
        made.grow_to(counts[0])
        result["by_live"] = growth(made, counts, options.queued)
    save("scale", result)
    with world(Path(tempfile.mkdtemp(prefix="course-runner-scale-"))) as made:
        made.grow_to(counts[0])
        result["by_queue"] = queues(made, options.queued, options.rounds)
    save("scale", result)


if __name__ == "__main__":
    main()
