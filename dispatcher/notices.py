"""What a dispatcher tells for `why`, which reaches Redis alone: its slots, and what holds up a run.

Goes in: views of what the executor holds. Comes out: one small text on slots and accounts, and the
field `obstacle` of tasks whose run was started and does not begin. Nothing is decided by either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dispatcher.executors import Executor
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import Store
from dispatcher.views import View, runs_by_account

REPEAT = 10.0
"""Seconds after which the same state is said again, so that it is known to be alive."""

PATIENCE = 10.0
"""Seconds that a run may take to begin before anybody asks what is in its way."""

LOOK = 5.0
"""Seconds between two looks for obstacles."""

ASKED = 32
"""Runs that are asked about in one look; the next ones in the next."""

NAMED = 100
"""Accounts at their limit that are named."""


class Notices:
    """Tells. Called from one thread."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._executor = executor
        self._limits = limits
        self._clock = clock
        self._said: dict[str, Any] = {}
        self._said_at = 0.0
        self._looked_at = 0.0
        self._obstacles: dict[str, str] = {}
        """The last word on each run that was asked about, by its id."""
        self._next = 0

    @property
    def obstacles(self) -> Mapping[str, str]:
        """The last word on each run that was asked about, by its id; "" is no obstacle."""
        return self._obstacles

    def tell(self, views: Sequence[View]) -> None:
        """Tell what has changed."""
        state, now = self._state(views), time.monotonic()
        if state != self._said or now - self._said_at > REPEAT:
            self._store.say_state({**state, "at": self._clock()})
            self._said, self._said_at = state, now
        if now - self._looked_at > LOOK:
            self._looked_at = now
            self._tell_obstacles(views)

    def _state(self, views: Sequence[View]) -> dict[str, Any]:
        limit = self._limits.max_per_account
        runs = runs_by_account(views) if limit else {}
        return {
            "active": sum(1 for view in views if view.stand is Stand.ACTIVE),
            "max_active": self._limits.max_active,
            "per_account": limit,
            "full_accounts": sorted(a for a, count in runs.items() if count >= limit)[:NAMED],
            "trouble": self._executor.trouble(),
        }

    def _tell_obstacles(self, views: Sequence[View]) -> None:
        late = [view for view in views if self._is_late(view)]
        ids = {view.holding.run.id for view in views if view.holding.run}
        self._obstacles = {run: text for run, text in self._obstacles.items() if run in ids}
        start = self._next if self._next < len(late) else 0
        self._next = start + ASKED
        for view in late[start : self._next]:
            self._tell_obstacle(view)

    def _is_late(self, view: View) -> bool:
        run = view.holding.run
        if view.stand is not Stand.ACTIVE or run is None or run.deleting:
            return False
        settled = run.working and self._obstacles.get(run.id) == ""
        return not settled and (run.started or 0.0) < self._clock() - PATIENCE

    def _tell_obstacle(self, view: View) -> None:
        run, task = view.holding.run, view.record.task if view.record else None
        if run is None or task is None:
            return
        found = None if run.working else self._executor.obstacle(view.name)
        text = found.summary if found else ""
        known = self._obstacles.get(run.id)
        if known is None:  # another dispatcher, or one before this, may have told
            known = self._store.show(task.key).get("obstacle", "")
        if text != known:
            self._store.set_obstacle(task.key, text)
        self._obstacles[run.id] = text
