"""A task as it moves: how far, how fast, how long still. Pure.

Goes in: the texts of a task's hash, one look after the other. Comes out: numbers. A speed is made
of what the run itself says (bytes and the time of saying so), so that looking late does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

SMOOTH = 0.3
"""Weight of the newest speed: about the last ten updates, which come once a second, count."""

SILENT = 15.0
"""Seconds without an update after which a speed is not believed any more."""

OVER = ("completed", "failed", "cancelled")
"""What the board says of a task that has ended."""


@dataclass(frozen=True, slots=True)
class Moving:
    """One task. `done` and `total` in bytes of its phase, `speed` in bytes per second."""

    task: str
    status: str = "queued"
    phase: str = ""
    percent: float = 0.0
    done: int = 0
    total: int = 0
    attempt: str = ""
    says: str = ""
    updated: float = 0.0
    speed: float | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in OVER

    def speed_at(self, now: float) -> float | None:
        """Return the speed, unless the run has said nothing for a while."""
        return self.speed if now - self.updated < SILENT else None

    def left_at(self, now: float) -> float | None:
        """Return the seconds that the phase still takes at this speed."""
        speed = self.speed_at(now)
        return (self.total - self.done) / speed if speed and self.total > self.done else None


def moved(old: Moving | None, task: str, fields: Mapping[str, str]) -> Moving:
    """Return the task as its hash has it now; its speed from what it said before."""
    new = Moving(
        task=task,
        status=fields.get("status", "queued"),
        phase=fields.get("phase", ""),
        percent=min(100.0, _number(fields.get("percent"))),
        done=int(_number(fields.get("bytes"))),
        total=int(_number(fields.get("total_bytes"))),
        attempt=fields.get("attempt", ""),
        says=fields.get("obstacle") or fields.get("message", ""),
        updated=_number(fields.get("updated")),
    )
    return _with_speed(old, new)


def _with_speed(old: Moving | None, new: Moving) -> Moving:
    if old is None or new.over or (old.phase, old.attempt) != (new.phase, new.attempt):
        return new
    seconds = new.updated - old.updated
    speed = old.speed
    if seconds > 0:
        latest = max(0, new.done - old.done) / seconds
        speed = latest if speed is None else speed + SMOOTH * (latest - speed)
    return replace(new, speed=speed)


def _number(text: str | None) -> float:
    """Return a finite number of at least 0; 0 for whatever else is written there."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) and 0 <= value < 1e18 else 0.0
