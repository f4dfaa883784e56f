"""The law of conservation, held against what is there. Pure.

    orders = queued + claimed + active + waiting + finished + dead

Goes in: a snapshot of queue, claimed lists, board, and what the executor holds. Comes out: how many
orders are in each place, and findings: orders in no place, things that belong to no order, and
what the system will do about each by itself. Every known id is counted in one place, the furthest
on its way; one that is in none is lost, and breaks the law.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dispatcher.executors import Phase
from dispatcher.record import CANCELLED, Stand
from dispatcher.views import View

LOST = "lost"
SILENT = "silent claim"
UNLISTED = "unlisted claim"
BEHIND = "board behind"
ORPHAN = "run without volume"
UNREADABLE = "unreadable volume"
ETERNAL = "volume without end"
CROWDED = "too many runs"
NOBODY = "nobody at work"

KINDS = (LOST, SILENT, UNLISTED, BEHIND, ORPHAN, UNREADABLE, ETERNAL, CROWDED, NOBODY)

PLACES = ("queued", "claimed", "active", "waiting", "finished", "dead", LOST)

_UNDER_WAY = (Stand.ACTIVE.value, Stand.START.value, Stand.WAITING.value, Stand.REPORT.value)
_ENDED = (Stand.DONE.value, Stand.FAILED.value, CANCELLED)
_PLACE = {
    Stand.ACTIVE: "active",
    Stand.START: "waiting",
    Stand.ENDED: "waiting",
    Stand.WAITING: "waiting",
    Stand.REPORT: "waiting",
    Stand.FAILED: "finished",
    Stand.DONE: "finished",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there. `queued`: ids. `claimed`: ids by dispatcher; `alive`, `listed`: dispatchers.

    `board`: status by id. `dead`: how many dead letters. `max_active`: 0 when it is not known.
    """

    queued: Collection[str] = ()
    claimed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    alive: Collection[str] = ()
    listed: Collection[str] = ()
    board: Mapping[str, str] = field(default_factory=dict)
    views: Sequence[View] = ()
    dead: int = 0
    max_active: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: kind, what it is about, words, what follows."""

    kind: str
    about: str
    what: str
    follows: str


@dataclass(frozen=True, slots=True)
class Audit:
    """How many orders are in each place, and what was found."""

    counts: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    def dump(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"counts": dict(self.counts), "findings": [asdict(f) for f in self.findings]}


def audit(snapshot: Snapshot) -> Audit:
    """Hold the law against a snapshot."""
    views = {v.record.task.key: v for v in snapshot.views if v.record and v.record.task}
    claimed = {key for keys in snapshot.claimed.values() for key in keys}
    ids = {*claimed, *views, *snapshot.board}
    places = {key: _place(key, snapshot, views, claimed) for key in ids}
    counts = Counter(place for place in places.values() if place)
    # What is queued and no more may be a hundred thousand, and is held once.
    counts["queued"] += sum(key not in ids for key in snapshot.queued)
    counts["dead"] = snapshot.dead
    findings = [
        *(_lost(key, snapshot.board[key]) for key in sorted(ids) if places[key] == LOST),
        *_of_claims(snapshot),
        *(finding for key, view in views.items() for finding in _of_view(key, view, snapshot)),
        *(finding for view in snapshot.views for finding in _of_stray(view)),
        *_of_all(snapshot, counts),
    ]
    return Audit({place: counts[place] for place in PLACES}, tuple(findings))


def expected(view: View) -> tuple[str, ...]:
    """Return what the board may say of a task; empty when it may say anything."""
    outcome = view.record.outcome if view.record else None
    if outcome is not None and outcome.category == CANCELLED:
        return (CANCELLED, Stand.REPORT.value)
    if view.stand is Stand.ACTIVE:
        closing = view.holding.run is not None and view.holding.run.closing
        return ((Stand.REPORT if closing else Stand.ACTIVE).value,)
    settled = (Stand.WAITING, Stand.REPORT, Stand.FAILED, Stand.DONE)
    return (view.stand.value,) if view.stand in settled else ()


def _place(
    key: str, snapshot: Snapshot, views: Mapping[str, View], claimed: Collection[str]
) -> str:
    """Return where an order is; "" for the trace of one that never had a run."""
    place = _PLACE.get(views[key].stand) if key in views else None
    if place:
        return place
    if key in claimed:
        return "claimed"
    if key in snapshot.queued:
        return "queued"
    status = snapshot.board.get(key, "")
    if status in _ENDED or key in views:  # its volume is on its way out
        return "finished"
    return LOST if status in _UNDER_WAY else ""


def _lost(key: str, status: str) -> Finding:
    return Finding(
        LOST,
        key,
        f"Task {key} is {status} by the board, but no volume, queue or claimed list has it.",
        "Nothing by itself: its volume was removed by other hands. Push its order again.",
    )


def _of_claims(snapshot: Snapshot) -> list[Finding]:
    found = []
    for dispatcher, keys in snapshot.claimed.items():
        count = f"{len(keys)} orders are claimed by dispatcher {dispatcher}"
        if keys and dispatcher not in snapshot.listed:
            follows = "A dispatcher at work lists it again, and its orders go back to the queue."
            found.append(Finding(UNLISTED, dispatcher, f"{count}, which is not listed.", follows))
        elif keys and dispatcher not in snapshot.alive:
            follows = "They go back to the queue within 90 s of its last heartbeat."
            found.append(Finding(SILENT, dispatcher, f"{count}, which is silent.", follows))
    return found


def _of_view(key: str, view: View, snapshot: Snapshot) -> list[Finding]:
    found = []
    may_be, status = expected(view), snapshot.board.get(key, "")
    if may_be and status not in may_be:
        what = f"Task {key} is {view.stand.value}, but the board says {status or 'nothing'}."
        found.append(Finding(BEHIND, key, what, "The dispatcher writes the board again."))
    record = view.record
    ended = view.stand in (Stand.DONE, Stand.FAILED)
    if ended and record is not None and record.expires_at is None and not record.pinned:
        what = f"The volume of task {key} has no date on which it may go."
        cure = f"Nothing by itself; `course-runner forget {key}` removes it."
        found.append(Finding(ETERNAL, key, what, cure))
    return found


def _of_stray(view: View) -> list[Finding]:
    volume, run = view.holding.volume, view.holding.run
    if volume is None and run is not None and not run.deleting:
        follows = "Retention removes the run once it is older than REAP_MIN_AGE."
        return [Finding(ORPHAN, view.name, f"Run {view.name} has no volume.", follows)]
    if volume is not None and not volume.deleting and view.record and view.record.task is None:
        what = f"The volume {view.name} does not say whose it is."
        return [Finding(UNREADABLE, view.name, what, "Never removed by itself: look at it.")]
    return []


def _of_all(snapshot: Snapshot, counts: Mapping[str, int]) -> list[Finding]:
    found = []
    active = sum(
        v.holding.run is not None and v.holding.run.phase is Phase.ACTIVE for v in snapshot.views
    )
    if snapshot.max_active and active > snapshot.max_active:
        what = f"{active} runs are active; MAX_ACTIVE is {snapshot.max_active}."
        follows = (
            "No run begins until fewer are active; a dispatcher slept right before it started "
            "them, or Redis forgot promises (docs/chaos.md)."
        )
        found.append(Finding(CROWDED, "", what, follows))
    left = sum(counts[place] for place in ("queued", "claimed", "active", "waiting"))
    if left and not snapshot.alive:
        what = f"{left} orders are not finished and no dispatcher is at work."
        found.append(Finding(NOBODY, "", what, "Nothing until one is started."))
    return found
