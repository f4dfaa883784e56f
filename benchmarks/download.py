"""The download, measured: the job's fetch step against other clients, on the same server.

    python -m benchmarks.download [--rounds 5] [--only NAME ...] [--clients NAME ...]

Server and client each have a core of their own; files go to memory, so that disks do not decide.
Clients take turns; medians count. Each case is a shape (how many files of what size) under a
condition: plain HTTP, HTTPS, a longer way, connections that break, a server that holds each
connection back.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.clients import CLIENTS, Cost, Job, missing, run
from benchmarks.results import machine, save
from playground.certificate import make_certificate, server_context
from playground.content import Synthetic
from playground.portal import TOKEN, Portal, actions
from playground.portal.courses import Chapter, Course, Video
from playground.portal.portal import Place
from playground.proxy import Proxy

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LIMIT = 60.0
"""Seconds that one run of a client may take; one that takes longer is out of the race."""


@dataclass(frozen=True)
class Case:
    """One shape under one condition."""

    name: str
    title: str
    count: int
    size: int
    tls: bool = False
    delay: float = 0.0
    """Seconds each way."""
    rate: int = 0
    """Bytes per second that the server gives each connection."""
    cuts: bool = False
    """Whether the first answer for every file breaks off in its middle."""

    @property
    def megabytes(self) -> float:
        return self.count * self.size / 1e6


CASES = (
    Case("one-gib", "1 GiB", 1, GIB),
    Case("one-gib-tls", "1 GiB, HTTPS", 1, GIB, tls=True),
    Case("forty", "40 × 25 MiB", 40, 25 * MIB),
    Case("forty-tls", "40 × 25 MiB, HTTPS", 40, 25 * MIB, tls=True),
    Case("small-files", "2,000 × 10 KiB", 2000, 10 * KIB),
    Case("small-files-tls", "2,000 × 10 KiB, HTTPS", 2000, 10 * KIB, tls=True),
    Case("far", "40 × 2.5 MiB, 50 ms away", 40, 5 * MIB // 2, delay=0.025),
    Case("far-small", "1,000 × 10 KiB, 50 ms away", 1000, 10 * KIB, delay=0.025),
    Case("cut", "40 × 2.5 MiB, each cut once", 40, 5 * MIB // 2, cuts=True),
    Case("held-back", "40 × 10 MiB, 2 MB/s a line", 40, 10 * MIB, rate=2_000_000),
)


def course(case: Case) -> Course:
    """A course with one video per file."""
    videos = tuple(
        Video(f"Lecture {n}", {720: Synthetic(f"{case.name}-{n}", case.size)})
        for n in range(case.count)
    )
    return Course(case.name, case.name, chapters=(Chapter("All", videos),))


@contextmanager
def served(case: Case, base: Path) -> Iterator[tuple[Portal, str]]:
    """A portal under the case's condition, and the address of its course."""
    with ExitStack() as stack:
        context = server_context(make_certificate(base / "tls").parent) if case.tls else None
        place = Place(port=_free(), cdn_port=_free())
        ways = [
            Proxy(("127.0.0.1", port), delay=case.delay) for port in (place.port, place.cdn_port)
        ]
        url = f"http://127.0.0.1:{ways[0].port}/course/{case.name}/"
        if case.delay:
            for way in ways:
                stack.enter_context(way)
            far = f"http://127.0.0.1:{ways[1].port}"
            place = Place(port=place.port, cdn_port=place.cdn_port, public_cdn=far)
        portal = stack.enter_context(Portal([course(case)], place=place, tls=context))
        yield portal, url if case.delay else portal.course_url(case.name)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def spoil(case: Case, portal: Portal) -> None:
    """Set the portal's faults for one run."""
    portal.faults.clear()
    if case.rate:
        portal.faults.add("cdn:*", actions.Rate(case.rate), times=None)
    for key in keys(case) if case.cuts else ():
        portal.faults.add(f"cdn:{key}", actions.CutBody(case.size // 2))


def keys(case: Case) -> list[str]:
    """The names of the files at the CDN."""
    return [f"{case.name}/{number:03d}/720.mp4" for number in range(1, case.count + 1)]


def rounds(case: Case, clients: Sequence[str], count: int) -> dict[str, list[Cost]]:
    """Let the clients take turns; the first round warms up and does not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in clients}
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as place,
        served(case, Path(place)) as (portal, url),
    ):
        for number in range(count + (count > 1)):
            for name in [name for name in clients if name in costs]:
                cost = once(case, name, portal, url, Path(place))
                print(f"  {case.name}, round {number}, {name}: {cost}", flush=True)
                if cost is None:
                    del costs[name]
                elif number or count == 1:
                    costs[name].append(cost)
    return {name: found for name, found in costs.items() if found}


def once(case: Case, client: str, portal: Portal, url: str, base: Path) -> Cost | None:
    """One run of one client; None when it failed, or fetched other than it should."""
    spoil(case, portal)
    folder = base / "out"
    folder.mkdir()
    links = [portal.signed_url(key) for key in keys(case)]
    certificate = base / "tls/certificate.pem" if case.tls else None
    cost = run(client, Job(url, TOKEN, links, folder, certificate), LIMIT)
    total = sum(path.stat().st_size for path in folder.rglob("*.mp4"))
    shutil.rmtree(folder)
    if cost is not None and total != case.count * case.size:
        print(f"{client} ended well with {total} bytes of {case.count * case.size}", flush=True)
        return None
    return cost


def summary(case: Case, costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """Medians, and ratios to the best other client. Above 1, throughput is higher than its."""
    found = {name: _median(each) for name, each in costs.items()}
    mine, others = found["ours"], {name: one for name, one in found.items() if name != "ours"}
    fastest = min(others, key=lambda name: others[name].wall)
    leanest = min(others, key=lambda name: others[name].cpu)
    return {
        "title": case.title,
        "clients": {name: _figures(case, cost) for name, cost in found.items()},
        "failed": [name for name in CLIENTS if name not in found],
        "fastest_other": fastest,
        "leanest_other": leanest,
        "throughput_ratio": round(others[fastest].wall / mine.wall, 3),
        "cpu_ratio": round(mine.cpu / others[leanest].cpu, 3),
    }


def _median(costs: list[Cost]) -> Cost:
    columns = zip(*(asdict(cost).values() for cost in costs), strict=True)
    return Cost(*(statistics.median(column) for column in columns))


def _figures(case: Case, cost: Cost) -> dict[str, float]:
    return {
        "mb_per_s": round(case.megabytes / cost.wall, 1),
        "cpu_s_per_gb": round(cost.cpu / case.megabytes * 1000, 3),
        "peak_mib": round(cost.memory, 1),
        "wall_s": round(cost.wall, 3),
        "cpu_s": round(cost.cpu, 3),
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--clients", nargs="*", default=list(CLIENTS))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    os.sched_setaffinity(0, {0})  # the server's core
    lacking = missing()
    clients = [name for name in options.clients if name not in lacking]
    result: dict[str, Any] = {"machine": machine(), "rounds": options.rounds, "lacking": lacking}
    result["cases"] = {}
    for case in CASES:
        if case.name in options.only:
            found = summary(case, rounds(case, clients, options.rounds))
            result["cases"][case.name] = found
            print(case.title, json.dumps(found, indent=1), flush=True)
            save("download", result)


if __name__ == "__main__":
    main()
