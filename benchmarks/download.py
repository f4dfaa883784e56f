"""The download, measured: the job's fetch step against curl, on the same server.

    python -m benchmarks.download [--rounds 5]

Two courses: one lecture of 1 GiB; 2,000 files of 10 KiB. curl is given the same links, ready made,
in a config file (`--parallel` with as many connections as the fetch uses); the fetch has to find
them by the API first, checks what it got, and makes every file durable. Server and client each
have a core of their own; files go to memory, so that disks do not decide.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import machine, save
from playground.content import Synthetic
from playground.portal import TOKEN, Portal
from playground.portal.courses import Chapter, Course, Video

GIB = 1 << 30
CONNECTIONS = 4
COURSES = {"one-gib": [GIB], "small-files": [10 * 1024] * 2000}


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds on the clock, seconds of CPU, MiB at the peak."""

    wall: float
    cpu: float
    memory: float


def course(slug: str, sizes: Sequence[int]) -> Course:
    """A course with one video per size."""
    videos = tuple(
        Video(f"Lecture {n}", {720: Synthetic(f"{slug}-{n}", size)}) for n, size in enumerate(sizes)
    )
    return Course(slug, slug, chapters=(Chapter("All", videos),))


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """Run a command on core 1 and return what it cost; its children count."""
    log = folder.parent / "client.log"
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "--cpu-list", "1", *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log.read_text()[-2000:]
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def ours(portal: Portal, slug: str, folder: Path) -> Cost:
    """The fetch step."""
    environment = {
        "COURSE_URL": portal.course_url(slug),
        "PLATFORM_TOKEN": TOKEN,
        "SANDBOX": str(folder),
        "DOWNLOAD_CONCURRENCY": str(CONNECTIONS),
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    return timed([sys.executable, "-m", "benchmarks.fetch_only"], folder, environment)


def curl(portal: Portal, slug: str, folder: Path) -> Cost:
    """curl with the links in a file."""
    keys = [f"{slug}/{n:03d}/720.mp4" for n in range(1, len(COURSES[slug]) + 1)]
    lines = [f'url = "{portal.signed_url(key)}"\noutput = "{n}.mp4"' for n, key in enumerate(keys)]
    config = folder / "links"
    config.write_text("\n".join(lines))
    words = ["curl", "--silent", "--show-error", "--fail", "--config", str(config)]
    return timed([*words, "--parallel", "--parallel-max", str(CONNECTIONS)], folder, {})


CLIENTS = {"ours": ours, "curl": curl}


def rounds(portal: Portal, slug: str, count: int, base: Path) -> dict[str, list[Cost]]:
    """Alternate the clients; the first round warms up and does not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in CLIENTS}
    for number in range(count + 1):
        for name, client in CLIENTS.items():
            folder = base / "out"
            folder.mkdir()
            cost = client(portal, slug, folder)
            total = sum(p.stat().st_size for p in folder.rglob("*.mp4"))
            assert total == sum(COURSES[slug]), f"{name} fetched {total} bytes"
            shutil.rmtree(folder)
            if number:
                costs[name].append(cost)
    return costs


def _median(costs: list[Cost], what: str) -> float:
    return statistics.median(getattr(cost, what) for cost in costs)


def summary(slug: str, costs: dict[str, list[Cost]]) -> dict[str, Any]:
    """Medians, and ratios to curl. Throughput ratio above 1 means faster than curl."""
    megabytes = sum(COURSES[slug]) / 1e6
    mine, theirs = costs["ours"], costs["curl"]
    return {
        **{
            name: {
                "mb_per_s": round(megabytes / _median(found, "wall"), 1),
                "cpu_s_per_gb": round(_median(found, "cpu") / megabytes * 1000, 3),
                "peak_mib": round(_median(found, "memory"), 1),
                "wall_s": round(_median(found, "wall"), 3),
            }
            for name, found in costs.items()
        },
        "throughput_ratio": round(_median(theirs, "wall") / _median(mine, "wall"), 3),
        "cpu_ratio": round(_median(mine, "cpu") / _median(theirs, "cpu"), 3),
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    os.sched_setaffinity(0, {0})  # the server's core
    result: dict[str, Any] = {"machine": machine(), "connections": CONNECTIONS}
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as base,
        Portal([course(slug, sizes) for slug, sizes in COURSES.items()]) as portal,
    ):
        for slug in COURSES:
            result[slug] = summary(slug, rounds(portal, slug, options.rounds, Path(base)))
            print(slug, json.dumps(result[slug], indent=1))
    save("download", result)


if __name__ == "__main__":
    main()
