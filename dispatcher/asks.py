"""What operators ask for: retry and cancel, carried out by the dispatcher alone.

The command line only writes a request into Redis, so it needs no rights on the executor, and there
is one writer. A request is taken off the list after it is carried out; doing it twice is harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from contract import names
from contract.errors import BadMessage
from contract.log import Log
from contract.task import Task
from dispatcher.executors import Executor, Holding
from dispatcher.intake import again
from dispatcher.record import CANCELLED, Judged, Stand
from dispatcher.store import Store
from dispatcher.views import View, view

CANCEL = "cancel"
RETRY = "retry"


class Asks:
    """Carries out requests."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._executor = executor
        self._log = log
        self._clock = clock

    def answer(self) -> int:
        """Carry out what has been asked for since the last look; return how many requests."""
        asks = self._store.asks()
        for item, action, key in asks:
            found = self._find(key)
            if action == RETRY:
                self._retry(key, found)
            elif action == CANCEL:
                self._cancel(key, found)
            else:
                self._log.event("ERROR", "A request cannot be read and is dropped.")
            self._store.answered(item)
        return len(asks)

    def _find(self, key: str) -> View | None:
        holdings: Mapping[str, Holding] = self._executor.holdings()
        holding = holdings.get(names.object_name(key))
        return view(holding) if holding is not None and holding.volume is not None else None

    def _retry(self, key: str, found: View | None) -> None:
        if found is None:
            self._log.event("ERROR", "Task %s cannot be retried: its volume is gone.", key)
        elif found.stand not in (Stand.FAILED, Stand.WAITING, Stand.REPORT):
            self._log.event("CHECK", "Task %s is not retried: it is %s.", key, found.stand.value)
        else:
            self._executor.mark(found.name, again(found.record))
            self._store.write(key, {"status": Stand.START.value, "message": "Retry asked for."})
            self._log.event("RESUME", "Task %s is retried on the volume it has.", key)

    def _cancel(self, key: str, found: View | None) -> None:
        withdrawn = self._withdraw(key)
        if found is None and withdrawn is not None:
            # Its closing run, which sets the row to cancelled, needs a volume like any run.
            self._executor.ensure_volume(withdrawn)
            found = self._find(key)
        if found is None:
            self._log.event("ERROR", "Task %s cannot be cancelled: it is not known.", key)
        elif found.stand is Stand.DONE:
            self._log.event("CHECK", "Task %s is not cancelled: it is completed.", key)
        else:
            self._mark_cancelled(key, found)

    def _mark_cancelled(self, key: str, found: View) -> None:
        run, record = found.holding.run, found.record
        judged = Judged(
            CANCELLED,
            "Cancelled by an operator.",
            at=self._clock(),
            run=run.id if run else "",
            report=True,
        )
        attempt = max(record.attempt if record else 1, run.attempt if run else 0) + 1
        marks = {**again(record), names.OUTCOME: judged.dump(), names.ATTEMPT: str(attempt)}
        self._executor.mark(found.name, marks)  # first: a crash now still ends in a cancelled task
        if run is not None:
            self._executor.remove_run(found.name, run.id)
        self._store.write(key, {"status": CANCELLED, "message": judged.summary})
        self._log.event("CLEANUP", "Task %s is cancelled.", key)

    def _withdraw(self, key: str) -> Task | None:
        """Take every queued order of this id out of the queue; return one of them."""
        found: Task | None = None
        for raw in list(self._store.walk()):
            try:
                task = Task.parse(raw)
            except BadMessage:
                continue
            if task.key == key and self._store.withdraw(raw):
                found = task
        return found
