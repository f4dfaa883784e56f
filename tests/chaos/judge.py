"""What the chaos came to: losses and duplicates, read from the journal and what is left. Pure.

Goes in: the journal's lines, the end that each task must come to, the end that it came to, what is
left in the lists. Comes out: a `Report`. A run that was killed may have had an effect without its
mark: only then may the effect, or the attempt, be seen again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.webhooks import Account

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Life:
    """One run: from its start to its end (None: it was never seen to end), and its effects."""

    task: str
    kind: str
    attempt: int
    began: float
    ended: float | None
    killed: bool
    effects: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """`losses` and `duplicates` name each one; both must be empty."""

    orders: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    runs: int = 0
    peak: int = 0
    """Most runs that were alive at one moment."""
    webhooks: Account = field(default_factory=Account)

    @property
    def lawful(self) -> bool:
        """Whether nothing was lost and nothing done twice."""
        return not self.losses and not self.duplicates and self.webhooks.lawful

    def __str__(self) -> str:
        rows = [
            f"orders      {self.orders}, by end: {_counts(self.ends)}",
            f"runs        {self.runs}, at most {self.peak} at once",
            f"faults      {sum(self.faults.values())}: {_counts(self.faults)}",
            *(
                f"{what:<11} {len(found)}" + "".join(f"\n    {one}" for one in found[:20])
                for what, found in (("duplicates", self.duplicates), ("losses", self.losses))
            ),
            f"webhooks    {self.webhooks}",
        ]
        return "\n".join(rows)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def lives(journal: Iterable[Entry]) -> list[Life]:
    """Put the lines of each run together; a process is one run."""
    runs: dict[Any, list[Entry]] = defaultdict(list)
    for entry in journal:
        runs[entry["pid"], entry["task"], entry["attempt"]].append(entry)
    return [_life(lines) for lines in runs.values() if any(e["event"] == "start" for e in lines)]


def _life(lines: Sequence[Entry]) -> Life:
    first = next(e for e in lines if e["event"] == "start")
    ends = [e for e in lines if e["event"] in ("end", "killed")]
    ended = min((e["at"] for e in ends), default=None)
    effects = tuple(e["step"] for e in lines if e["event"] == "effect")
    killed = any(e["event"] == "killed" for e in ends)
    return Life(first["task"], first["kind"], first["attempt"], first["at"], ended, killed, effects)


def duplicates(journal: Sequence[Entry]) -> list[str]:
    """Name every run beside another of its task, and every attempt or effect done twice."""
    found = [
        f"task {e['task']}: two writers on one volume" for e in journal if e["event"] == "clash"
    ]
    by_task: dict[str, list[Life]] = defaultdict(list)
    for life in sorted(lives(journal), key=lambda life: life.began):
        by_task[life.task].append(life)
    for task, runs in by_task.items():
        found += [f"task {task}: {fault}" for fault in _doubled(runs)]
    return found


def _doubled(runs: Sequence[Life]) -> Iterable[str]:
    for before, after in pairwise(runs):
        if before.ended is None or after.began < before.ended:
            yield f"run {after.attempt} began while run {before.attempt} was alive"
    done: set[object] = set()
    for run in runs:
        deeds = {(run.kind, run.attempt), *run.effects}
        yield from (f"{deed} was done twice" for deed in deeds & done)
        if not run.killed:
            done |= deeds


def losses(must: Mapping[str, str], came: Mapping[str, str]) -> list[str]:
    """Name every task that came to another end than it must."""
    return [
        f"task {task}: must be {end}, is {came.get(task) or 'unknown'}"
        for task, end in must.items()
        if came.get(task) != end
    ]


def peak(journal: Iterable[Entry]) -> int:
    """Return how many runs were alive at one moment, at most. A moment of change counts low."""
    changes = [(life.began, 1) for life in lives(journal)]
    changes += [(life.ended, -1) for life in lives(journal) if life.ended is not None]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
