"""Whether an order is run, and what to do with it otherwise. Pure.

Goes in: the order, what the executor holds under its name, what the board remembers. Comes out:
a `Decision`. The same order twice is one order: everything here errs towards not running twice,
and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from contract.task import Task
from dispatcher.executors import Holding
from dispatcher.record import CANCELLED, Record, Stand, stand


class Do(StrEnum):
    """What to do with an order."""

    ACCEPT = "accept"
    """Make its volume (or use the one it has) and start a run."""
    DROP = "drop"
    """Settle it without a run: it is a repeat."""
    RESUME = "resume"
    """Forced, and its failed volume is kept: go on there."""
    RENEW = "renew"
    """Forced, and a volume is there that is of no use to it: remove that first, then accept."""
    WAIT = "wait"
    """Look again later: what it had is still going away."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why in words that go behind "Task 999 "."""

    do: Do
    why: str = ""


def decide(
    task: Task,
    holding: Holding | None,
    record: Record | None,
    memory: Mapping[str, str],
    fingerprint: str = "",
) -> Decision:
    """Return what to do with `task`. `memory` is the task's hash; empty when nothing is known.

    `fingerprint`: of the very message, see `handover`.
    """
    if holding is None or (holding.volume is None and holding.run is None):
        return _unknown(task, memory)
    where = stand(holding, record)
    if where is Stand.STRAY:
        return Decision(Do.WAIT, "waits: what it left before is still going away.")
    if where is Stand.START:
        return Decision(Do.ACCEPT)
    ended = where in (Stand.DONE, Stand.FAILED)
    if ended and task.force and record and fingerprint and record.accepted == fingerprint:
        return Decision(Do.DROP, f"is not run twice: it was handed over, and is {where.value}.")
    if where is Stand.DONE:
        return _finished(task, record)
    if where is Stand.FAILED:
        return _failed(task, record)
    return Decision(Do.DROP, f"is not run twice: it is {where.value} already.")


def _unknown(task: Task, memory: Mapping[str, str]) -> Decision:
    if memory.get("status") == Stand.DONE.value and not task.force:
        when = _when(memory.get("updated", ""))
        return Decision(
            Do.DROP, f'was completed{when}; push it with "force": true to run it again.'
        )
    return Decision(Do.ACCEPT)


def _finished(task: Task, record: Record | None) -> Decision:
    if task.force:
        return _renew(task, record, "is forced; its finished volume goes first.")
    return Decision(Do.DROP, 'is completed; push it with "force": true to run it again.')


def _failed(task: Task, record: Record | None) -> Decision:
    if record is not None and record.outcome and record.outcome.category == CANCELLED:
        # Its row says cancelled for good; a success webhook beside it would be a lie.
        return Decision(Do.DROP, "was cancelled; order the course under a new taskId.")
    if task.force and record is not None and record.task is not None:
        if _wishes(task) == _wishes(record.task):
            return Decision(Do.RESUME, "is forced; it goes on where it failed.")
        return _renew(task, record, "is forced with other wishes; its failed volume goes first.")
    why = record.outcome.summary if record and record.outcome else ""
    return Decision(
        Do.DROP,
        f"has failed and its files are kept ({why}). Mend that, then `course-runner retry "
        f'{task.key}`, or push it with "force": true.',
    )


def _renew(task: Task, record: Record | None, why: str) -> Decision:
    if record is not None and record.pinned:
        return Decision(
            Do.DROP, f"is not run again: its volume is pinned. Unpin that, then push {task.key}."
        )
    return Decision(Do.RENEW, why)


def _wishes(task: Task) -> tuple[str | None, ...]:
    """Return what must be equal for a volume to be of use to another order of its task."""
    return task.course_url, task.quality, task.captions, task.volume_size


def _when(updated: str) -> str:
    try:
        return datetime.fromtimestamp(float(updated), UTC).strftime(" on %Y-%m-%d at %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return ""
