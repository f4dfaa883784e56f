"""The start and the rerun, measured: what a task costs before its first byte.

    python -m benchmarks.start [--rounds 15]

Start: from the command to the platform's first request, against `python -c 'import requests'`.
Rerun: the fetch step on a finished course of 2,000 files, which asks for the curriculum alone.
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
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, stage
from benchmarks.clients import ROOT, Job, ours
from benchmarks.measure import Cost, Failed, run
from benchmarks.results import machine, save
from playground.portal import TOKEN, Portal

RERUN = Case("rerun", "2,000 files that are there", 2000, 100)
LIMIT = 120.0


def start(portal: Portal, base: Path) -> float:
    """Seconds from the command to the first request of `python -m job_image`."""
    portal.ledger.reset()
    message = json.dumps({"taskId": 1, "courseUrl": portal.course_url("none")})
    values = {"TASK": message, "SANDBOX": str(base / "start"), "PLATFORM_TOKEN": TOKEN}
    values |= {"MAX_RETRIES": "1", "PYTHONPATH": str(ROOT)}
    began = time.time()
    command = ["taskset", "--cpu-list", "1", sys.executable, "-m", "job_image"]
    subprocess.run(command, env={**os.environ, **values}, capture_output=True, check=False)
    return portal.ledger.visits()[0].started - began


def library() -> float:
    """Seconds that `import requests` takes."""
    command = ["taskset", "--cpu-list", "1", sys.executable, "-c", "import requests"]
    began = time.time()
    subprocess.run(command, check=True)
    return time.time() - began


def rerun(portal: Portal, base: Path, rounds: int) -> dict[str, Any]:
    """Fetch once, then again and again; what a repetition costs."""
    folder = base / "rerun"
    folder.mkdir()
    job = Job(portal.course_url(RERUN.name), TOKEN, [], folder, None)
    _fetch(job)
    portal.ledger.reset()
    costs = [_fetch(job) for _ in range(rounds)]
    return {
        "wall_s": round(statistics.median(cost.wall for cost in costs), 3),
        "cpu_s": round(statistics.median(cost.cpu for cost in costs), 3),
        "peak_mib": round(statistics.median(cost.memory for cost in costs), 1),
        "requests": len(portal.ledger.visits()) // rounds,
        "targets": sorted({visit.target for visit in portal.ledger.visits()}),
    }


def _fetch(job: Job) -> Cost:
    cost = run(*ours(job), job.folder, job.folder.parent / "log", LIMIT)
    if isinstance(cost, Failed):
        raise SystemExit(f"The fetch step {cost.why}.")
    return cost


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    os.sched_setaffinity(0, {0})
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as place,
        stage(RERUN, Path(place)) as served,
    ):
        portal = served.portal
        pairs = [(start(portal, Path(place)), library()) for _ in range(options.rounds)]
        mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        result = {
            "machine": machine(),
            "start": {"ours_s": round(mine, 3), "requests_s": round(theirs, 3)},
            "start_ratio": round(mine / theirs, 3),
            "rerun": rerun(portal, Path(place), 5),
        }
    print(json.dumps(result, indent=1))
    save("start", result)


if __name__ == "__main__":
    main()
