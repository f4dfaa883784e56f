"""From texts of the board and of events to what is shown: rows, speeds, timelines. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dispatcher.record import Stand
from dispatcher.web.facts import Moment, TaskRow

SMOOTH = 0.3
"""Weight of the newest speed: about the last ten seconds count."""

REMEMBERED = 60
"""Entries of one task's timeline that are kept."""

_TEXTS = {
    "status": "status",
    "phase": "phase",
    "email": "account",
    "course": "course",
    "message": "message",
    "obstacle": "obstacle",
    "category": "category",
    "skipped_reasons": "skipped_reasons",
}
_WHOLE = ("bytes", "total_bytes", "items_done", "items_total", "attempt", "skipped")
_NUMBERS = ("percent", "retry_at", "updated")


def changed(old: TaskRow | None, task: str, fields: Mapping[str, str]) -> TaskRow:
    """Return the task's row with some fields of its hash set anew, and its speed."""
    base = old or TaskRow(task, "queued")
    new = replace(base, **_values(fields))
    return _with_speed(old, new)


def _values(fields: Mapping[str, str]) -> dict[str, Any]:
    texts = {ours: fields[name] for name, ours in _TEXTS.items() if name in fields}
    whole = {n: _whole(fields[n]) for n in _WHOLE if n in fields}
    return {**texts, **whole, **{n: number(fields[n]) for n in _NUMBERS if n in fields}}


def number(text: object) -> float | None:
    """Return a finite number of at least 0 that a clock can take; None for anything else."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < 1e15 else None


def _whole(text: str) -> int | None:
    value = number(text)
    return None if value is None else int(value)


def _with_speed(old: TaskRow | None, new: TaskRow) -> TaskRow:
    """Return the row with the speed of its phase, smoothed, and the time that it still takes."""
    speed = _speed(old, new) if new.status == Stand.ACTIVE.value else None
    left = (new.total_bytes or 0) - (new.bytes or 0)
    eta = left / speed if speed and left > 0 else None
    return replace(new, speed=speed, eta=eta)


def _speed(old: TaskRow | None, new: TaskRow) -> float | None:
    if old is None or (old.phase, old.attempt) != (new.phase, new.attempt):
        return None
    if None in (old.bytes, new.bytes, old.updated, new.updated):
        return None
    seconds = (new.updated or 0.0) - (old.updated or 0.0)
    if seconds <= 0:
        return old.speed
    latest = max(0, (new.bytes or 0) - (old.bytes or 0)) / seconds
    return latest if old.speed is None else old.speed + SMOOTH * (latest - old.speed)


def told(story: tuple[Moment, ...], event: Mapping[str, str], at: float) -> tuple[Moment, ...]:
    """Return the timeline with what an event adds; most progress adds nothing."""
    what = event.get("status") or event.get("phase", "")
    attempt = _whole(event.get("attempt", ""))
    if attempt is None and story:
        attempt = story[-1].attempt
    detail = event.get("message", "") if "status" in event else ""
    new = Moment(at, what, attempt, detail)
    if not what or any(_same(new, one) for one in story[-2:]):
        return story
    return (*story, new)[-REMEMBERED:]


def _same(one: Moment, other: Moment) -> bool:
    return (one.what, one.attempt, one.detail) == (other.what, other.attempt, other.detail)
