"""The read model: board, executor and audit put together, for the page and the API alike.

Goes in: `Board` (Redis, remembered) and `Sight` (the executor, watched). Comes out: the classes of
`facts`. Nothing here decides or changes anything; what a task's `why` says is what
`course-runner why` says.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from contract import names
from dispatcher.audit import Finding
from dispatcher.dead_letters import Letter as DeadLetter
from dispatcher.executors import Holding
from dispatcher.inquiry import inquire
from dispatcher.record import Stand
from dispatcher.settings import Settings
from dispatcher.store import Store, StoreUnavailable
from dispatcher.views import View, Views, view
from dispatcher.web import settings as web_settings
from dispatcher.web.board import SLICE, Board, Seen
from dispatcher.web.facts import (
    Bucket,
    Doctor,
    Freshness,
    Item,
    Letter,
    Moment,
    Overview,
    SettingRow,
    TaskDetail,
    TaskPage,
    TaskRow,
    VolumeRow,
)
from dispatcher.web.query import Query, counts, select
from dispatcher.web.rows import number
from dispatcher.web.sight import Sight
from dispatcher.why import why

SLICES = 48
"""Bars of the chart: four hours."""

ITEMS = 500
"""Items of a manifest that are shown; those that are not complete come first."""

LETTERS = 200
"""Dead letters that are shown; each look asks Redis for them."""

HOUR = 3600.0
_FAILED = (Stand.FAILED.value, "cancelled")
_TROUBLE_FIRST = {"failed": 0, "skipped": 1, "planned": 2}


class Model:
    """What can be asked. Thread-safe."""

    def __init__(
        self,
        board: Board,
        sight: Sight,
        store: Store,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._board = board
        self._sight = sight
        self._store = store
        self._settings = settings
        self._clock = clock
        self._views = Views()
        self._views_lock = threading.Lock()

    def fresh(self) -> Freshness:
        """Return how old what is shown is."""
        return self._board.seen.fresh

    # --- the whole --------------------------------------------------------------------------------
    def overview(self) -> Overview:
        """Return the state of the whole."""
        seen, now, volumes = self._board.seen, self._clock(), self.volumes()
        hours = _hours(seen, now)
        last = [bucket for bucket in hours if bucket.at > now - HOUR]
        known = [bucket.came for bucket in last if bucket.came is not None]
        return Overview(
            counts=counts(seen.rows),
            queued=seen.queued,
            slots_used=_whole(seen.state.get("active")),
            slots=_whole(seen.state.get("max_active")),
            trouble=str(seen.state.get("trouble") or ""),
            dispatchers=seen.alive,
            paused_since=number(seen.pause.get("at", 0)) if seen.pause else None,
            paused_why=str(seen.pause.get("why", "")),
            came_last_hour=sum(known) if known else None,
            ended_last_hour=sum(bucket.completed + bucket.failed for bucket in last),
            oldest=seen.oldest,
            dead=seen.dead,
            volumes=None if volumes is None else len(volumes),
            volume_bytes=None if volumes is None else sum(v.used or v.size or 0 for v in volumes),
            volumes_note=self._sight.trouble(),
            doctor=self.doctor(),
            hours=hours,
        )

    def tasks(self, query: Query) -> TaskPage:
        """Return a page of tasks."""
        return select(self._board.seen.rows, query)

    def volumes(self) -> tuple[VolumeRow, ...] | None:
        """Return the volumes, oldest first; None when nothing has been seen of them."""
        holdings = self._sight.holdings()
        if holdings is None:
            return None
        with self._views_lock:  # records are parsed again only when they have changed
            views = self._views.look(holdings)
        found = [row for row in map(self._volume, views) if row is not None]
        return tuple(sorted(found, key=lambda volume: volume.created))

    def volumes_note(self) -> str:
        """Return why the volumes cannot be seen, or only as they were; "" when all is well."""
        return self._sight.trouble()

    def dead(self) -> tuple[Letter, ...]:
        """Return the newest dead letters, newest first. Raise `StoreUnavailable`."""
        return tuple(map(_letter, self._store.newest(LETTERS)))

    def doctor(self) -> Doctor:
        """Return the dispatcher's last verdict."""
        verdict = self._board.seen.audit
        found = verdict.get("findings") or ()
        return Doctor(
            at=number(verdict.get("at")) if verdict else None,
            found=_whole(verdict.get("found")) or 0,
            counts={str(place): int(n) for place, n in (verdict.get("counts") or {}).items()},
            findings=tuple(Finding(**{n: str(one.get(n, "")) for n in _FINDING}) for one in found),
        )

    def settings(self) -> tuple[SettingRow, ...]:
        """Return every setting, secrets hidden."""
        return web_settings.rows(self._settings)

    # --- one task ---------------------------------------------------------------------------------
    def task(self, key: str) -> TaskDetail | None:
        """Return all that is known of a task; None when nothing is."""
        seen, name = self._board.seen, names.object_name(key)
        holding = (self._sight.holdings() or {}).get(name)
        row, sentence = seen.rows.get(key), self._why(key, seen)
        if row is None and holding is None and not sentence:
            return None
        log, log_note = self._sight.tail(name) if holding else ((), _NO_VOLUME)
        manifest = self._sight.manifest(name)
        story = (*seen.stories.get(key, ()), *manifest.steps, *_of_run(holding))
        return TaskDetail(
            row=row or TaskRow(key, view(holding).stand.value if holding else "dead"),
            why=sentence,
            timeline=tuple(sorted(story, key=lambda moment: moment.at)),
            volume=self._volume(view(holding)) if holding else None,
            items=tuple(sorted(manifest.items, key=_urgency)[:ITEMS]),
            item_counts=dict(Counter(item.state for item in manifest.items)),
            items_note=manifest.note,
            log=log,
            log_note=log_note,
            deliveries=tuple(line for line in log if any(mark in line for mark in _DELIVERY)),
            events=self._sight.events(name),
        )

    def _why(self, key: str, seen: Seen) -> str:
        if seen.fresh.trouble:
            return ""
        try:
            return why(inquire(self._store, key), self._clock())
        except StoreUnavailable:  # the next look tells of it
            return ""

    def _volume(self, seen: View) -> VolumeRow | None:
        record, volume = seen.record, seen.holding.volume
        if volume is None or record is None:
            return None
        return VolumeRow(
            name=seen.name,
            task=record.task.key if record.task else "",
            stand=seen.stand.value,
            created=volume.created,
            size=record.size or None,
            used=self._sight.used(seen.name),
            expires_at=record.expires_at,
            pinned=record.pinned,
            released=record.released,
            deleting=volume.deleting,
        )


_NO_VOLUME = "The task has no volume now, so no run's log is here."
_DELIVERY = ("[WEBHOOK", '"event": "webhook"')
"""What the log's lines on deliveries hold, as text and as JSON."""
_FINDING = ("kind", "about", "what", "follows")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _urgency(item: Item) -> tuple[int, str]:
    return _TROUBLE_FIRST.get(item.state, 3), item.path


def _of_run(holding: Holding | None) -> list[Moment]:
    """Return begin and end of the newest run, as the executor has them."""
    run = holding.run if holding else None
    if run is None:
        return []
    what = "closing run" if run.closing else "run"
    pairs = ((run.started, f"{what} begun"), (run.ended, f"{what} ended: {run.phase.value}"))
    return [Moment(at, text, run.attempt) for at, text in pairs if at]


def _letter(letter: DeadLetter) -> Letter:
    data: Mapping[str, Any] = letter.data
    return Letter(
        number=letter.number,
        mark=mark_of(letter),
        at=number(data.get("at")),
        reason=str(data.get("reason", "")),
        advice=str(data.get("advice", "")),
        message=letter.message.decode("utf-8", "replace"),
    )


def mark_of(letter: DeadLetter) -> str:
    """Return what tells this letter from another that has its number later."""
    return hashlib.sha256(letter.item).hexdigest()[:16]


def _hours(seen: Seen, now: float) -> tuple[Bucket, ...]:
    """Return the last hours in slices; what ended is told by the board, so it survives restarts."""
    last = int(now // SLICE)
    completed: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for row in seen.rows.values():
        if row.updated is not None and row.status == Stand.DONE.value:
            completed[int(row.updated // SLICE)] += 1
        elif row.updated is not None and row.status in _FAILED:
            failed[int(row.updated // SLICE)] += 1
    began = int(seen.began // SLICE)
    return tuple(
        Bucket(
            at=float(number_ * SLICE),
            seconds=SLICE,
            completed=completed[number_],
            failed=failed[number_],
            came=seen.arrivals.get(number_, 0) if number_ >= began else None,
        )
        for number_ in range(last - SLICES + 1, last + 1)
    )
