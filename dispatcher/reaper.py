"""The removal of what `retention` chooses: the run first, then its volume, each by its own id."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from contract import fault, names
from contract.log import Log
from dispatcher.crew import Crew
from dispatcher.executors import Executor
from dispatcher.retention import VOLUME, Removal, candidates, choose
from dispatcher.settings import Limits
from dispatcher.spoken import task_key
from dispatcher.store import Store
from dispatcher.views import View


class Reaper:
    """Removes runs and volumes; says each with its reason."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        crew: Crew,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._executor = executor
        self._limits = limits
        self._crew = crew
        self._log = log
        self._clock = clock

    def reap(self, views: Iterable[View]) -> int:
        """Remove what may go; return how many removals were begun."""
        return self.remove(self.removable(views))

    def remove(self, chosen: Iterable[Removal]) -> int:
        """Carry out what `removable` has returned; return how many removals were begun."""
        return self._crew.each(chosen, lambda removal: removal.name, self._remove)

    def removable(self, views: Iterable[View]) -> list[Removal]:
        """Return what may go now. The queue is walked only when something might."""
        held = [(view.holding, view.record) for view in views]
        now = self._clock()
        if not candidates(held, self._limits, now):
            return []
        return choose(held, self._needed(), self._limits, now)

    def _needed(self) -> set[str]:
        """Return the names of all tasks that the queue and the claimed lists speak of."""
        return {names.object_name(key) for key in set(map(task_key, self._store.walk())) if key}

    def _remove(self, removal: Removal) -> None:
        if removal.what == VOLUME:
            fault.point("reap:volume")
            self._executor.remove_volume(removal.name, removal.id, removal.version)
            fault.point("reap:gone")
            self._log.event("CLEANUP", "Volume %s is removed: %s.", removal.name, removal.reason)
        else:
            fault.point("reap:run")
            self._executor.remove_run(removal.name, removal.id)
            self._log.event("CLEANUP", "Run of %s is removed: %s.", removal.name, removal.reason)
