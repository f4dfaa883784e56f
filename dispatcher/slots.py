"""The slots of MAX_ACTIVE, shared by all dispatchers of a queue.

Goes in: what is alive at a look, what others have promised to start. Comes out: how many slots are
free, and leave for runs by name. A slot is taken by a live run that can be seen, or by a promise of
one that cannot be seen yet; promises lapse by themselves, so there is nothing to leak. Counting
live runs alone let every dispatcher fill the same free slots, MAX_ACTIVE each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from dispatcher.executors import Busy
from dispatcher.promises import LASTS, Promise
from dispatcher.record import Stand
from dispatcher.store import Store
from dispatcher.views import View

TRIES = 3
"""Times that leave is asked for anew when other dispatchers were faster."""

STALE = LASTS / 2
"""Seconds after which a look, or a grant, is too old to start a run by."""

WARY = 10.0
"""Seconds without a grant after so long a sleep: what others have started meanwhile is promised no
more, and the news of it are still on their way."""


class Slots:
    """Gives leave to start runs. Called from one thread, but for `unused` and `check`."""

    def __init__(
        self,
        store: Store,
        most: int,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._looked_at: float | None = None
        self._wary_until = float("-inf")
        self._store = store
        self._most = most
        self._identity = identity
        self._alive: frozenset[str] = frozenset()
        self._due: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._mine: dict[str, Promise] = {}
        self._unused: set[Promise] = set()
        self._lock = threading.Lock()
        self._granted_at = 0.0

    def free(self, views: Iterable[View]) -> int:
        """Return how many runs may be started by what is alive at this look."""
        self._look(views)
        _, promised = self._promised()
        return max(0, self._most - len(self._taken(promised))) if self._is_awake() else 0

    def grant(self, wanted: Sequence[str]) -> set[str]:
        """Return which of the tasks of these names may start their next run now."""
        for _ in range(TRIES if wanted and self._is_awake() else 0):
            asked_at = self._clock()
            state, promised = self._promised()
            made = self._choose(wanted, self._taken(promised))
            if not made or self._store.promise(state, made):
                self._granted_at = asked_at
                self._mine.update({one.name: one for one in made if one not in promised})
                return {one.name for one in made}.union(self._alive.intersection(wanted))
        return set()

    def check(self) -> None:
        """Raise `Busy` when leave was given so long ago that it may have lapsed."""
        if self._clock() - self._granted_at > STALE:
            raise Busy("The slot was granted too long ago; it is asked for anew.")

    def unused(self, name: str) -> None:
        """Take note that a task for which leave was given has started no run."""
        with self._lock:
            promise = self._mine.pop(name, None)
            if promise is not None:
                self._unused.add(promise)

    def _is_awake(self) -> bool:
        """Whether what was seen last tells what is alive now."""
        now = self._clock()
        fresh = self._looked_at is not None and now - self._looked_at <= STALE
        return fresh and now >= self._wary_until

    def _look(self, views: Iterable[View]) -> None:
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at > STALE:
            self._wary_until = now + WARY
        self._looked_at = now
        alive, self._due, self._ended = set(), {}, {}
        for view in views:
            if view.record is not None:
                self._due[view.name] = view.record.attempt
            if view.stand is Stand.ACTIVE:
                alive.add(view.name)
            elif view.holding.run is not None:
                self._ended[view.name] = view.holding.run.attempt
        self._alive = frozenset(alive)

    def _promised(self) -> tuple[str, frozenset[Promise]]:
        """Read the promises; those that are over are taken back, whoever made them."""
        state, promised = self._store.promised()
        over = {p for p in promised if p in self._unused or self._is_over(p)}
        self._store.take_back(sorted(over))
        self._unused.clear()
        promised -= over
        self._mine = {name: p for name, p in self._mine.items() if p in promised}
        return state, promised

    def _is_over(self, promise: Promise) -> bool:
        return self._ended.get(promise.name, 0) >= promise.attempt

    def _taken(self, promised: Iterable[Promise]) -> frozenset[str]:
        return self._alive | {promise.name for promise in promised}

    def _choose(self, wanted: Sequence[str], taken: frozenset[str]) -> list[Promise]:
        """Promise what is free to the first ones; a name that has a slot needs no other."""
        room = max(0, self._most - len(taken))
        new = [name for name in wanted if name not in taken][:room]
        again = [name for name in wanted if name in taken and name not in self._alive]
        return [Promise(n, self._due.get(n, 1), self._identity) for n in (*again, *new)]
