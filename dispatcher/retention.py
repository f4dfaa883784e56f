"""Which run or volume may go now. Pure; the choice is the only thing made here.

Goes in: everything held, the names that the queue still speaks of, the limits, the time. Comes
out: removals, each with the id of the very object and the reason in words. A volume goes only on
two independent proofs, its own record and the queue's silence, above an age floor; of a task, the
run goes first and the volume in a later look, when the run is really gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from dispatcher.executors import Holding
from dispatcher.record import Record, Stand, stand
from dispatcher.settings import Limits

RUN = "run"
VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Removal:
    """One object to remove: `what` is RUN or VOLUME, `id` that very object's.

    `version`: what was seen of a volume. Of a run the id is enough: a revived task gets another.
    """

    what: str
    name: str
    id: str
    reason: str
    version: str | None = None


def candidates(
    held: Iterable[tuple[Holding, Record | None]], limits: Limits, now: float
) -> list[Removal]:
    """Return what may go by its own record alone (the first proof), before the queue is asked."""
    found = (_removal(holding, record, limits, now) for holding, record in held)
    return [removal for removal in found if removal is not None]


def choose(
    held: Iterable[tuple[Holding, Record | None]],
    needed: Collection[str],
    limits: Limits,
    now: float,
) -> list[Removal]:
    """Return what may go. `needed`: names of all tasks in the queue and the claimed lists."""
    return [r for r in candidates(held, limits, now) if r.name not in needed]


def _removal(holding: Holding, record: Record | None, limits: Limits, now: float) -> Removal | None:
    volume, run = holding.volume, holding.run
    if volume is None:
        return _orphan(holding, limits, now)
    if record is None or not _expired(holding, record, now):
        return None
    if volume.created > now - limits.min_age:
        return None
    why = "completed" if stand(holding, record) is Stand.DONE else "failed, and kept long enough"
    if run is None:
        return Removal(VOLUME, holding.name, volume.id, why, volume.version)
    return None if run.deleting else Removal(RUN, holding.name, run.id, why)


def _expired(holding: Holding, record: Record, now: float) -> bool:
    if record.pinned or record.expires_at is None or record.expires_at > now:
        return False
    return stand(holding, record) in (Stand.DONE, Stand.FAILED)


def _orphan(holding: Holding, limits: Limits, now: float) -> Removal | None:
    """A run whose volume is gone can do nothing any more."""
    run = holding.run
    if run is None or run.deleting or run.started is None:
        return None
    if run.started > now - limits.min_age:
        return None
    return Removal(RUN, holding.name, run.id, "its volume is gone")
