"""The volumes that `top` shows: how large, whose, how long still.

Seen with the page's own eyes, which only look: an executor that is started would tend to the runs
of a dispatcher that is at work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.terminal import words
from dispatcher.views import View, Views
from dispatcher.web.sight import Sight

LOOK = 0.1
"""Seconds between two looks at whether anything has been seen yet."""


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """One volume. `size` in bytes is what was asked for, `used` what its files take, if known."""

    task: str
    stand: str
    size: int
    used: int | None
    age: float
    left: float | None
    pinned: bool


class Volumes:
    """Reads what a sight has seen."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._views = Views()

    def wait(self, seconds: float) -> None:
        """Wait until something has been seen or gone wrong, at most so long."""
        deadline, before = time.monotonic() + seconds, self._sight.trouble()
        while self._sight.holdings() is None and self._sight.trouble() == before:
            if time.monotonic() > deadline:
                return
            time.sleep(LOOK)

    def rows(self, now: float) -> list[VolumeRow]:
        """Return the volumes, the largest first."""
        seen = self._views.look(self._sight.holdings() or {})
        found = [self._row(view, now) for view in seen if view.holding.volume is not None]
        return sorted(found, key=lambda row: (-(row.used or row.size), row.task))

    def trouble(self) -> str:
        """Return why they cannot be seen, or only as they were; "" when all is well."""
        nothing = "" if self._sight.holdings() is not None else "not seen yet"
        return self._sight.trouble() or nothing

    def _row(self, view: View, now: float) -> VolumeRow:
        record, volume = view.record, view.holding.volume
        expires = record.expires_at if record else None
        return VolumeRow(
            task=view.task.key if view.task else view.name,
            stand=view.stand.value,
            size=record.size if record else 0,
            used=self._sight.used(view.name),
            age=now - volume.created if volume else 0.0,
            left=None if expires is None else max(0.0, expires - now),
            pinned=record.pinned if record else False,
        )


def summary(rows: Sequence[VolumeRow], trouble: str) -> str:
    """Return one line on all of them."""
    used = sum(row.used for row in rows if row.used is not None)
    asked = sum(row.size for row in rows)
    parts = ["1 volume" if len(rows) == 1 else f"{len(rows)} volumes"]
    parts += [f"{words.size(asked)} asked for"] if asked else []
    parts += [f"{words.size(used)} used"] if used else []
    pinned = sum(row.pinned for row in rows)
    parts += [f"{pinned} pinned"] if pinned else []
    if trouble:
        return (
            f"{', '.join(parts)} ({words.one_line(trouble)})" if rows else words.one_line(trouble)
        )
    return ", ".join(parts)


def table(rows: Sequence[VolumeRow]) -> list[tuple[str, ...]]:
    """Return head and rows as texts."""
    head = ("VOLUME OF", "STAND", "SIZE", "USED", "AGE", "GOES IN", "")
    return [head, *(_texts(row) for row in rows)]


def _texts(row: VolumeRow) -> tuple[str, ...]:
    return (
        row.task,
        row.stand,
        words.size(row.size) if row.size else "",
        "" if row.used is None else words.size(row.used),
        words.lasts(row.age),
        words.lasts(row.left),
        "pinned" if row.pinned else "",
    )
