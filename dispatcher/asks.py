"""What operators ask for: retry and cancel, carried out by the dispatcher alone.

The command line only writes a request into Redis, so it needs no rights on the executor, and there
is one writer. A request is taken off the list after it is carried out; doing it twice is harmless.
One that cannot be carried out now stays and keeps no other waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from contract import names
from contract.errors import BadMessage, Permanent
from contract.log import Log
from contract.task import Task
from dispatcher.crew import Crew
from dispatcher.executors import Busy, Executor, Holding
from dispatcher.intake import again
from dispatcher.record import CANCELLED, Judged, Stand
from dispatcher.store import Store
from dispatcher.views import View, view

CANCEL = "cancel"
RETRY = "retry"

Ask = tuple[bytes, str, str]
"""The item in Redis, the action, the task's id."""


class Asks:
    """Carries out requests."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        crew: Crew,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._executor = executor
        self._crew = crew
        self._log = log
        self._clock = clock

    def answer(self) -> int:
        """Carry out what has been asked for since the last look; return how many requests."""
        asks = self._store.asks()  # one after the other: "retry" and "cancel" may be of one task
        return sum(self._crew.each([ask], _label, self._carry_out) for ask in asks)

    def _carry_out(self, ask: Ask) -> None:
        item, action, key = ask
        try:
            self._do(action, key)
        except Permanent as exc:
            message = "Task %s: the request to %s it is dropped: %s %s"
            self._log.event("ERROR", message, key, action, exc.summary, exc.advice)
        self._store.answered(item)

    def _do(self, action: str, key: str) -> None:
        if action == RETRY:
            self._retry(key, self._find(key))
        elif action == CANCEL:
            self._cancel(key, self._find(key))
        else:
            self._log.event("ERROR", "A request cannot be read and is dropped.")

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
        orders = self._orders(key, self._store.walk_own())
        if found is None and orders:
            # Its closing run, which sets the row to cancelled, needs a volume like any run.
            self._executor.ensure_volume(next(iter(orders.values())))
            found = self._find(key)
        if found is None and self._orders(key, self._store.walk()):
            raise Busy(f"Task {key} is being handed over by another dispatcher.")
        if found is None:
            self._log.event("ERROR", "Task %s cannot be cancelled: it is not known.", key)
        elif found.stand is Stand.DONE:
            self._log.event("CHECK", "Task %s is not cancelled: it is completed.", key)
        else:
            self._mark_cancelled(key, found)
        self._withdraw(key, orders)  # last: a crash before leaves the request, and the order

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

    def _withdraw(self, key: str, orders: Mapping[bytes, Task]) -> None:
        count = sum(self._store.withdraw(raw) for raw in orders)
        if count:
            self._log.event("QUEUE", "Task %s: %d orders are taken from the queue.", key, count)

    def _orders(self, key: str, messages: Iterable[bytes]) -> dict[bytes, Task]:
        """Return the orders of a task among some messages."""
        found: dict[bytes, Task] = {}
        for raw in messages:
            try:
                task = Task.parse(raw)
            except BadMessage:
                continue
            if task.key == key:
                found[raw] = task
        return found


def _label(ask: Ask) -> str:
    _, action, key = ask
    return f"The request to {action} task {key}"
