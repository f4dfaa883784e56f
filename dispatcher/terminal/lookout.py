"""Looks at the board again and again, and asks no more of Redis than it must.

The whole board is read now and then (it keeps tasks that ended days ago); in between only the tasks
that are under way are asked about.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dispatcher.spoken import task_key
from dispatcher.store import Store
from dispatcher.terminal.moving import Moving, moved

LEAST = 2.0
"""Seconds between two readings of the whole board, or ten times what one takes."""

HOUR = 3600.0

UNDER_WAY = ("running", "reporting")


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen at `at` (Unix seconds).

    `counts`: tasks by status; `ended`: the same of those that ended within the last hour.
    """

    at: float
    tasks: Mapping[str, Moving] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    queued: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)
    pause: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""

    @property
    def moving(self) -> list[Moving]:
        """The tasks under way, in a steady order."""
        return sorted((t for t in self.tasks.values() if t.status in UNDER_WAY), key=_place)


def _place(task: Moving) -> tuple[int, str]:
    """Numbers in the order of numbers."""
    return len(task.task), task.task


class Lookout:
    """Looks, from one thread. `wanted`: tasks that are asked about even when nothing moves."""

    def __init__(self, store: Store, wanted: Collection[str] = ()) -> None:
        self._store = store
        self._wanted = frozenset(wanted)
        self._whole_at = -1e9
        self._cost = 0.0
        self._tasks: dict[str, Moving] = {}

    def look(self) -> Sight:
        """Return what is there now. Raise `StoreUnavailable` when Redis is away."""
        if time.monotonic() - self._whole_at >= max(LEAST, 10 * self._cost):
            self._read_whole()
        else:
            self._read_moving()
        now = time.time()
        return Sight(
            at=now,
            tasks=dict(self._tasks),
            counts=Counter(task.status for task in self._tasks.values()),
            ended=Counter(
                t.status for t in self._tasks.values() if t.over and now - t.updated < HOUR
            ),
            queued=self._store.waiting(),
            state=self._store.state(),
            pause=self._store.paused(),
        )

    def unknown(self) -> list[str]:
        """Return which of the wanted tasks neither the board nor the lists know."""
        missing = self._wanted - self._tasks.keys()
        if missing:
            missing -= {task_key(raw) for raw in self._store.walk()}
        return sorted(missing)

    def _read_whole(self) -> None:
        started, before = time.monotonic(), self._tasks
        self._tasks = {
            key: moved(before.get(key), key, fields) for key, fields in self._store.tasks()
        }
        self._whole_at = time.monotonic()
        self._cost = self._whole_at - started

    def _read_moving(self) -> None:
        moving = {key for key, task in self._tasks.items() if task.status in UNDER_WAY}
        for key in moving | self._wanted:
            fields = self._store.show(key)
            if fields:
                self._tasks[key] = moved(self._tasks.get(key), key, fields)
