"""Numbers as people read them, and the lines made of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.terminal.lookout import Sight
from dispatcher.terminal.moving import Moving


def size(count: float) -> str:
    """Return bytes, with three digits: 999 B, 1.50 KB, 20.0 MB, 300 GB."""
    units = ("B", "KB", "MB", "GB", "TB")
    for unit in units:
        if count < 999.5 or unit == units[-1]:
            break
        count /= 1000
    digits = 0 if unit == "B" or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{count:.{digits}f} {unit}"


def speed(per_second: float | None) -> str:
    """Return bytes per second; "" when not known."""
    return "" if per_second is None else f"{size(per_second)}/s"


def lasts(seconds: float | None) -> str:
    """Return a time as 59s, 2m05s, 1h02m; "" when not known."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def amount(task: Moving) -> str:
    """Return how much of the phase is done, where that is counted in bytes."""
    if task.total:
        return f"{size(task.done)} of {size(task.total)}"
    return size(task.done) if task.done else ""


def line(task: Moving, now: float) -> str:
    """Return one line about a task."""
    parts = [f"task {task.task}", task.status]
    if not task.over:
        left = lasts(task.left_at(now))
        parts += [task.phase, f"{task.percent:.1f}%", amount(task), speed(task.speed_at(now))]
        parts += [f"{left} left" if left else ""]
        parts += [f"run {task.attempt}" if task.attempt not in ("", "1") else ""]
    return one_line("  ".join(filter(None, (*parts, task.says))))


def one_line(text: str) -> str:
    """Return a text that came from outside without what moves a terminal's cursor or colours."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def slots(sight: Sight) -> str:
    """Return how the slots stand, in a line."""
    if sight.state:
        taken = (
            f"{sight.state.get('active', '?')} of {sight.state.get('max_active', '?')} slots in use"
        )
    else:
        taken = f"{len(sight.moving)} running, no dispatcher has spoken for a minute"
    parts = [taken, f"{sight.queued} queued", *counted(sight.counts, ("waiting", "failed"))]
    if sight.pause:
        parts.append(f"intake is paused {one_line(str(sight.pause.get('why', '')))}".rstrip())
    if sight.state.get("trouble"):
        parts.append(one_line(str(sight.state["trouble"])))
    return ", ".join([*parts, *filter(None, (one_line(sight.trouble),))])


def rates(sight: Sight) -> str:
    """Return what comes and goes per second, by phase, and what ended within an hour."""
    total: dict[str, float] = {}
    for task in sight.moving:
        total[task.phase] = total.get(task.phase, 0.0) + (task.speed_at(sight.at) or 0.0)
    moving = [f"{phase} {speed(total[phase])}" for phase in ("fetch", "upload") if phase in total]
    ended = counted(sight.ended, ("completed", "failed", "cancelled"))
    hour = "last hour: " + (", ".join(ended) or "nothing ended")
    return "; ".join([", ".join(moving) or "nothing moves", hour])


def counted(counts: Mapping[str, int], which: Sequence[str]) -> list[str]:
    """Return the counts that are not 0, in words."""
    return [f"{counts[name]} {name}" for name in which if counts.get(name)]
