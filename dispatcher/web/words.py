"""How numbers, times and sizes are said to people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float | None) -> str:
    """Return bytes as people read them."""
    if count is None:
        return "–"
    if count < 1024:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1024
        if count < 1024 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}" if count < 100 else f"{count:.0f} {unit}"


def span(seconds: float | None, units: int = 2) -> str:
    """Return a duration in its largest units."""
    if seconds is None:
        return "–"
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= length or (unit == "s" and not parts):
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(parts[:units])


def moment(at: float | None) -> str:
    """Return a time, UTC."""
    return "–" if at is None else _date(at).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: float | None) -> str:
    """Return the time of the day, UTC."""
    return "–" if at is None else _date(at).strftime("%H:%M")


def iso(at: float | None) -> str:
    """Return a time for programs."""
    return "" if at is None else _date(at).isoformat()


def ago(at: float | None, now: float) -> str:
    """Return how long ago, or in how long, something is."""
    if at is None:
        return "–"
    return f"{span(now - at, 1)} ago" if at <= now else f"in {span(at - now, 1)}"


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(min(at, 32503680000.0), UTC)
