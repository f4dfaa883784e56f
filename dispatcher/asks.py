"""What operators ask for (retry, cancel, pin, forget), carried out by the dispatcher alone.

The command line only writes a request into Redis, so it needs no rights on the executor, and there
is one writer. A request is taken off the list after it is carried out; doing it twice is harmless.
One that cannot be carried out now stays and keeps no other waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from contract import fault, names
from contract.errors import BadMessage, Permanent
from contract.log import Log
from contract.task import Task
from dispatcher.crew import Crew
from dispatcher.executors import Busy, Executor, Holding
from dispatcher.intake import again
from dispatcher.record import CANCELLED, Judged, Stand
from dispatcher.settings import Limits
from dispatcher.store import Answer, Store
from dispatcher.views import View, view

CANCEL = "cancel"
RETRY = "retry"
PIN = "pin"
UNPIN = "unpin"
FORGET = "forget"
FORGET_FORCED = "forget-forced"

_CANCELLED = "Cancelled by an operator."

Ask = tuple[bytes, str, str]
"""The item in Redis, the action, the task's id."""


class Asks:
    """Carries out requests."""

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
        self._crew = crew
        self._log = log
        self._clock = clock
        self._limits = limits

    def answer(self) -> int:
        """Carry out what has been asked for since the last look; return how many requests."""
        asks = self._store.asks()  # one after the other: "retry" and "cancel" may be of one task
        return sum(self._crew.each([ask], _label, self._carry_out) for ask in asks)

    def _carry_out(self, ask: Ask) -> None:
        item, action, key = ask
        try:
            answer = self._do(action, key)
        except Permanent as exc:
            message = "Task %s: the request to %s it is dropped: %s %s"
            answer = self._say("ERROR", False, message, key, action, exc.summary, exc.advice)
        self._store.answered(item, answer)

    def _do(self, action: str, key: str) -> Answer:
        act = _ACTIONS.get(action)
        if act is None:
            return self._say("ERROR", False, "A request cannot be read and is dropped.")
        return act(self, key, self._find(key))

    def _say(self, tag: str, done: bool, message: str, *values: object) -> Answer:
        """Log what came of a request, and answer with the same words."""
        self._log.event(tag, message, *values)
        return Answer(done, (message % values).rstrip())

    def _find(self, key: str) -> View | None:
        holdings: Mapping[str, Holding] = self._executor.holdings()
        holding = holdings.get(names.object_name(key))
        return view(holding) if holding is not None and holding.volume is not None else None

    # --- retry ------------------------------------------------------------------------------------
    def _retry(self, key: str, found: View | None) -> Answer:
        if found is None:
            return self._say("ERROR", False, "Task %s cannot be retried: its volume is gone.", key)
        if found.stand not in (Stand.FAILED, Stand.WAITING, Stand.REPORT):
            message = "Task %s is not retried: it is %s."
            return self._say("CHECK", False, message, key, found.stand.value)
        if found.record and found.record.outcome and found.record.outcome.category == CANCELLED:
            message = "Task %s is not retried: it was cancelled, and so its row. Order it anew."
            return self._say("CHECK", False, message, key)
        self._executor.mark(found.name, again(found.record), _version(found))
        self._store.write(key, {"status": Stand.START.value, "message": "Retry asked for."})
        return self._say("RESUME", True, "Task %s is retried on the volume it has.", key)

    # --- cancel -----------------------------------------------------------------------------------
    def _cancel(self, key: str, found: View | None) -> Answer:
        orders = self._orders(key, self._store.walk_own())
        if found is None and orders:
            # Its closing run, which sets the row to cancelled, needs a volume like any run.
            self._executor.ensure_volume(next(iter(orders.values())))
            fault.point("cancel:volume")
            found = self._find(key)
        if found is None and self._orders(key, self._store.walk()):
            raise Busy(f"Task {key} is being handed over by another dispatcher.")
        answer = self._end(key, found)
        self._withdraw(key, orders)  # last: a crash before leaves the request, and the order
        fault.point("cancel:withdrawn")
        return answer

    def _end(self, key: str, found: View | None) -> Answer:
        if found is None:
            return self._say("ERROR", False, "Task %s cannot be cancelled: it is not known.", key)
        if found.stand is Stand.DONE:
            return self._say("CHECK", False, "Task %s is not cancelled: it is completed.", key)
        self._mark_cancelled(key, found)
        return self._say("CLEANUP", True, "Task %s is cancelled.", key)

    def _mark_cancelled(self, key: str, found: View) -> None:
        """Mark first: a crash after it still ends in a cancelled task. Repeated, it goes on."""
        known, before = is_cancelled(found), found.holding.run
        if not known:
            self._executor.mark(found.name, self._cancelled(found), _version(found))
            fault.point("cancel:marked")
            found = self._find(key) or found  # another dispatcher may have started a run meanwhile
        run = found.holding.run
        tells = run is not None and run.closing and (known or before is None or before.id != run.id)
        if run is not None and not tells:
            self._executor.remove_run(found.name, run.id)
        fault.point("cancel:stopped")
        if not known or found.stand is not Stand.FAILED:  # else it is told, and forgotten in time
            self._store.write(key, {"status": CANCELLED, "message": _CANCELLED, "obstacle": ""})
        fault.point("cancel:told")

    def _cancelled(self, found: View) -> dict[str, str | None]:
        run, record = found.holding.run, found.record
        run_id = run.id if run else ""
        judged = Judged(CANCELLED, _CANCELLED, at=self._clock(), run=run_id, report=True)
        attempt = max(record.attempt if record else 1, run.attempt if run else 0) + 1
        return {**again(record), names.OUTCOME: judged.dump(), names.ATTEMPT: str(attempt)}

    # --- what is kept -----------------------------------------------------------------------------
    def _pin(self, key: str, found: View | None) -> Answer:
        return self._set_pin(key, found, "true", "Task %s is pinned: its volume stays.")

    def _unpin(self, key: str, found: View | None) -> Answer:
        message = "Task %s is no longer pinned: its volume goes when its time has come."
        return self._set_pin(key, found, None, message)

    def _set_pin(self, key: str, found: View | None, text: str | None, message: str) -> Answer:
        if found is None:
            return self._say("ERROR", False, "Task %s has no volume (any more) to be kept.", key)
        self._executor.mark(found.name, {names.PINNED: text})
        return self._say("KEEP", True, message, key)

    def _forget(self, key: str, found: View | None, *, force: bool = False) -> Answer:
        """Remove one task's volume by hand: the run first, then the volume, over several looks."""
        if found is None:
            return self._say("ERROR", False, "Task %s has no volume (any more) to be removed.", key)
        if found.record is not None and found.record.pinned:
            return self._say("CHECK", False, "Task %s is pinned; `unpin` it first.", key)
        orders = self._orders(key, self._store.walk())
        if not force and (orders or found.stand not in (Stand.DONE, Stand.FAILED)):
            state = (
                "is waited for by an order in the queue" if orders else f"is {found.stand.value}"
            )
            message = "Task %s %s; `cancel` it first, or use --force."
            return self._say("CHECK", False, message, key, state)
        self._make_ready(key, found, orders)
        self._remove(found)
        message = "Its volume was removed by an operator."
        self._store.write(key, {"message": message}, forget_in=self._limits.remember)
        return self._say("CLEANUP", True, "Volume of task %s is removed by hand.", key)

    def _forget_forced(self, key: str, found: View | None) -> Answer:
        return self._forget(key, found, force=True)

    def _make_ready(self, key: str, found: View, orders: Mapping[bytes, Task]) -> None:
        """Cancel what is not over, and wait until its closing run has set the row."""
        if found.stand not in (Stand.DONE, Stand.FAILED, Stand.STRAY):
            if not is_cancelled(found):
                self._cancel(key, found)
            raise Busy(f"Task {key} is cancelled, and removed when that has been passed on.")
        self._withdraw(key, orders)
        if self._orders(key, self._store.walk()):
            raise Busy(f"Task {key} is being handed over by another dispatcher.")

    def _remove(self, found: View) -> None:
        run, volume = found.holding.run, found.holding.volume
        if run is not None:
            self._executor.remove_run(found.name, run.id)
            raise Busy(f"The volume of {found.name} is removed when its run is gone.")
        if volume is not None:
            self._executor.remove_volume(found.name, volume.id, volume.version)

    # --- orders -----------------------------------------------------------------------------------
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


def is_cancelled(found: View) -> bool:
    """Whether a task has been marked as cancelled."""
    outcome = found.record.outcome if found.record else None
    return outcome is not None and outcome.category == CANCELLED


def _version(found: View) -> str | None:
    """What a mark depends on: a verdict that another dispatcher gave meanwhile must not be lost."""
    return found.holding.volume.version if found.holding.volume else None


def _label(ask: Ask) -> str:
    _, action, key = ask
    return f"The request to {action} task {key}"


_ACTIONS: dict[str, Callable[[Asks, str, View | None], Answer]] = {
    RETRY: Asks._retry,
    CANCEL: Asks._cancel,
    PIN: Asks._pin,
    UNPIN: Asks._unpin,
    FORGET: Asks._forget,
    FORGET_FORCED: Asks._forget_forced,
}
