"""The board as the page has it: read whole now and then, and kept up to date by the events between.

Goes in: the store and the stream of events, from one thread of its own. Comes out: `Seen`, replaced
as a whole, so that a request never waits for Redis and sees one state. When Redis is away the last
state stays, with the trouble and the time of the last good look.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dispatcher import known
from dispatcher.spoken import task_key
from dispatcher.store import Store
from dispatcher.web import rows
from dispatcher.web.edge import Edge
from dispatcher.web.facts import Freshness, Moment, Oldest, TaskRow
from dispatcher.web.stream import Event, Stream

TICK = 0.5
"""Seconds between two looks at what has happened."""

LEAST = 3.0
"""Seconds between two readings of the whole board, or ten times what one takes."""

SLICE = 300
"""Seconds of one bar of the chart."""


NOTHING = Freshness(ready=False, at=None, trouble="", revision=0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen. `arrivals`: new tasks by slice of time since `began`."""

    rows: Mapping[str, TaskRow] = field(default_factory=dict)
    stories: Mapping[str, tuple[Moment, ...]] = field(default_factory=dict)
    queued: int = 0
    dead: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)
    pause: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    alive: tuple[str, ...] = ()
    oldest: Oldest | None = None
    arrivals: Mapping[int, int] = field(default_factory=dict)
    began: float = 0.0
    fresh: Freshness = NOTHING


class Board:
    """Looks, from a thread."""

    def __init__(
        self, store: Store, stream: Stream, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._stream = stream
        self._clock = clock
        self._stop = threading.Event()
        self._edge = Edge("The board")
        self._last = ""
        self._whole_at = -1e9
        self._cost = 0.0
        self._arrivals: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self.seen = Seen()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()

    def look(self) -> None:
        """Look once; trouble is kept, not raised."""
        trouble = self._edge(lambda: self._take(self._look(self.seen)))
        if trouble:
            self._take(replace(self.seen, fresh=replace(self.seen.fresh, trouble=trouble)))
            self._whole_at = -1e9  # what happened meanwhile may be missing from the stream

    def _take(self, seen: Seen) -> None:
        before = self.seen
        revision = before.fresh.revision + (_shown(seen) != _shown(before))
        self.seen = replace(seen, fresh=replace(seen.fresh, revision=revision))

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(TICK)

    def _look(self, before: Seen) -> Seen:
        now, store = self._clock(), self._store
        events = self._events()
        whole = time.monotonic() - self._whole_at >= max(LEAST, 10 * self._cost)
        # What is read whole was read after these events, and knows which tasks are forgotten.
        found = self._read_whole(before.rows) if whole else _with_events(before.rows, events)
        self._count(before, found, now)
        return Seen(
            rows=found,
            stories=_stories(before, found, events, now),
            queued=store.waiting(),
            dead=store.dead_count(),
            state=store.state(),
            pause=store.paused(),
            audit=store.audit(),
            alive=tuple(sorted(store.alive())),
            oldest=self._oldest(before.oldest, now),
            arrivals=dict(self._arrivals),
            began=before.began or now,
            fresh=Freshness(True, now, "", before.fresh.revision),
        )

    def _events(self) -> list[Event]:
        events: list[Event] = []
        while batch := self._stream.after(self._last):
            events += batch
            self._last = batch[-1][0]
        return events

    def _read_whole(self, before: Mapping[str, TaskRow]) -> dict[str, TaskRow]:
        started = time.monotonic()
        found: dict[str, TaskRow] = {}
        for fields in known.rows(self._store):
            key = fields["task"]
            found[key] = rows.changed(found.get(key) or before.get(key), key, fields)
        self._whole_at = time.monotonic()
        self._cost = self._whole_at - started
        return found

    def _count(self, before: Seen, found: Mapping[str, TaskRow], now: float) -> None:
        new = found.keys() - before.rows.keys() if before.fresh.ready else ()
        if new:
            self._arrivals[int(now // SLICE)] += len(new)

    def _oldest(self, before: Oldest | None, now: float) -> Oldest | None:
        waiting = self._store.window(1)
        if not waiting:
            return None
        key = task_key(waiting[0])
        return before if before is not None and before.task == key else Oldest(key, now)


def _shown(seen: Seen) -> tuple[object, ...]:
    """What a person can see; the time of the look alone is no news."""
    return (
        *(seen.rows, seen.queued, seen.dead, seen.pause, seen.audit, seen.alive, seen.oldest),
        {name: value for name, value in seen.state.items() if name != "at"},
        *(seen.fresh.ready, seen.fresh.trouble),
    )


def _with_events(found: Mapping[str, TaskRow], events: list[Event]) -> Mapping[str, TaskRow]:
    """Return the rows with what has happened; an event older than its row adds nothing."""
    if not events:
        return found
    merged = dict(found)
    for _, fields in events:
        key = fields.get("task", "")
        old, at = merged.get(key), rows.number(fields.get("updated"))
        if old is None or at is None or at > (old.updated or 0.0):
            merged[key] = rows.changed(old, key, fields)
    return merged


def _stories(
    before: Seen, found: Mapping[str, TaskRow], events: list[Event], now: float
) -> dict[str, tuple[Moment, ...]]:
    if found is before.rows and not events:
        return dict(before.stories)
    stories = {key: story for key, story in before.stories.items() if key in found}
    if before.fresh.ready:
        for key in found.keys() - before.rows.keys():
            if found[key].status == known.QUEUED:
                stories[key] = (Moment(now, known.QUEUED),)
    for _, fields in events:
        key, at = fields.get("task", ""), rows.number(fields.get("updated"))
        if key in found:
            stories[key] = rows.told(stories.get(key, ()), fields, now if at is None else at)
    return stories
