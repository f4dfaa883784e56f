"""The download, measured: the job's fetch step against other clients, on the same server.

    python -m benchmarks.download [--rounds 3] [--minutes 12] [--cases NAME ...] [--clients ...]

Server and client each have a core of their own; files go to memory, so that disks do not decide.
Clients take turns, each round in another order; medians count. Every copy is compared with what was
served: a client whose copy is wrong, or that gives up, or that needs more than three times as long
as the fastest (and some seconds), is out of the race of that case, and the results say why. On a
slow machine there are fewer rounds: every case has its share of the minutes. A choice of cases or
clients is shown and not saved.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import cases
from benchmarks.cases import CASES, Case, Stage
from benchmarks.clients import CLIENTS, FILMERS, Job, missing
from benchmarks.measure import Cost, Failed, run
from benchmarks.results import machine, save
from playground.portal import TOKEN

LIMIT = 60.0
"""Seconds that any run may take."""
PATIENCE = 3.0
"""Times the fastest run so far that any other may take, and `MORE` seconds."""
MORE = 5.0


@dataclass
class Race:
    """One case and how it stands."""

    stage: Stage
    base: Path
    seconds: float
    """Its share of the time: no further round begins that would not fit into it."""
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, clients: Sequence[str], count: int) -> None:
        """Let the clients take turns."""
        began = time.monotonic()
        for number in range(count):
            if number and time.monotonic() - began + self._round() > self.seconds:
                return
            for name in [*clients[number % len(clients) :], *clients[: number % len(clients)]]:
                if name not in self.failed:
                    self._once(name, number)

    def _round(self) -> float:
        """Return the seconds that another round would take, looking at the copies included."""
        return sum(1.3 * costs[-1].wall + 0.5 for costs in self.costs.values())

    def _once(self, name: str, number: int) -> None:
        cost = self._cost(name)
        print(f"  {self.stage.case.name}, round {number + 1}, {name}: {cost}", flush=True)
        if isinstance(cost, Failed):
            self.failed[name] = cost.why
            self.costs.pop(name, None)
        else:
            self.costs.setdefault(name, []).append(cost)

    def _cost(self, name: str) -> Cost | Failed:
        stage, folder = self.stage, self.base / "out"
        stage.spoil()
        folder.mkdir()
        where = (stage.url, TOKEN, stage.links, folder, stage.certificate, stage.playlist)
        command, environment = CLIENTS[name](Job(*where))
        try:
            cost = run(command, environment, folder, self.base / "client.log", self._patience(name))
            fault = "" if isinstance(cost, Failed) else cases.fault_of(folder, stage)
            return Failed(fault) if fault else cost
        finally:
            shutil.rmtree(folder)

    def _patience(self, name: str) -> float:
        walls = [cost.wall for costs in self.costs.values() for cost in costs]
        return min(LIMIT, PATIENCE * min(walls) + MORE) if walls and name != "ours" else LIMIT


def race(
    case: Case, clients: Sequence[str], count: int, base: Path, seconds: float
) -> dict[str, Any]:
    """Run one case and return what came of it."""
    began = time.monotonic()
    taking = [name for name in clients if case.is_film or name != "ffmpeg"]
    with cases.stage(case, base) as stage:
        one = Race(stage, base, seconds)
        one.run(taking, min(count, case.most))
        found = summary(one)
    return found | {"seconds": round(time.monotonic() - began)}


def summary(race: Race) -> dict[str, Any]:
    """Medians, and ratios to the best other client. Above 1, throughput is higher than its."""
    found = {name: _median(each) for name, each in race.costs.items()}
    megabytes = race.stage.megabytes
    result: dict[str, Any] = {
        "title": race.stage.case.title,
        "clients": {name: _figures(megabytes, each) for name, each in race.costs.items()},
        "failed": race.failed,
        **ratios(found),
    }
    if race.stage.case.is_film:
        filmers = {name: one for name, one in found.items() if name in ("ours", *FILMERS)}
        result["among_those_who_make_a_film"] = ratios(filmers)
    return result


def ratios(found: Mapping[str, Cost]) -> dict[str, Any]:
    """Compare ours with the best other in each respect; nothing when one side is missing."""
    mine, others = found.get("ours"), {name: one for name, one in found.items() if name != "ours"}
    if mine is None or not others:
        return {}
    fastest = min(others, key=lambda name: others[name].wall)
    leanest = min(others, key=lambda name: others[name].cpu)
    return {
        "fastest_other": fastest,
        "leanest_other": leanest,
        "throughput_ratio": round(others[fastest].wall / mine.wall, 3),
        "cpu_ratio": round(mine.cpu / others[leanest].cpu, 3),
        "peak_mib": round(mine.memory, 1),
    }


def _median(costs: Sequence[Cost]) -> Cost:
    columns = zip(*(asdict(cost).values() for cost in costs), strict=True)
    return Cost(*(statistics.median(column) for column in columns))


def _figures(megabytes: float, costs: Sequence[Cost]) -> dict[str, float]:
    middle = _median(costs)
    return {
        "mb_per_s": round(megabytes / middle.wall, 1),
        "cpu_s_per_gb": round(middle.cpu / megabytes * 1000, 3),
        "peak_mib": round(max(cost.memory for cost in costs), 1),
        "wall_s": round(middle.wall, 3),
        "wall_min_s": round(min(cost.wall for cost in costs), 3),
        "cpu_s": round(middle.cpu, 3),
        "cpu_min_s": round(min(cost.cpu for cost in costs), 3),
        "rounds": len(costs),
    }


def line(found: Mapping[str, Any]) -> str:
    """Say in one line how a case ended for ours."""
    if "throughput_ratio" not in found:
        return f"{found['title']}: no comparison; {found['failed']}"
    return (
        f"{found['title']}: {found['throughput_ratio']} of {found['fastest_other']}'s speed, "
        f"{found['cpu_ratio']} of {found['leanest_other']}'s CPU, {found['peak_mib']} MiB, "
        f"in {found['seconds']} s; failed: {found['failed'] or 'none'}"
    )


def options() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [case.name for case in CASES]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=12.0, help="for all cases (%(default)s)")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--clients", nargs="+", choices=list(CLIENTS), default=list(CLIENTS))
    return parser.parse_args()


def main() -> None:
    """Measure; save when nothing was left out."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that memory is given back
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    os.sched_setaffinity(0, {0})  # the server's core
    lacking = missing()
    clients = [name for name in CLIENTS if name in chosen.clients and name not in lacking]
    is_whole = len(chosen.cases) == len(CASES) and len(chosen.clients) == len(CLIENTS)
    result: dict[str, Any] = {"machine": machine(), "rounds": chosen.rounds, "lacking": lacking}
    result["cases"] = {}
    share = 60 * chosen.minutes / len(CASES)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        for case in CASES:
            if case.name in chosen.cases:
                found = race(case, clients, chosen.rounds, Path(base), share)
                result["cases"][case.name] = found
                print(line(found), flush=True)
                if is_whole:
                    save("download", result)


if __name__ == "__main__":
    main()
