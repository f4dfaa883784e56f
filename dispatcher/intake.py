"""From the queue to a run: claim, read, admit, submit, settle.

    LMOVE queue -> claimed | parse | admission | volume | run | LREM claimed

Nothing is claimed without a free slot, so the backlog stays visible in the queue. The item leaves
the claimed list only when its run exists; a crash anywhere before that repeats the whole line,
which the deterministic names make harmless.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

from contract import fault, names
from contract.errors import BadMessage
from contract.handoff import Assignment
from contract.log import Log
from contract.task import Task
from dispatcher.admission import Do, decide
from dispatcher.board import recall, running, told
from dispatcher.claims import Claims
from dispatcher.crew import Crew
from dispatcher.executors import Busy, Executor, Holding, Phase, Refused
from dispatcher.fairness import WINDOW
from dispatcher.handover import fingerprint
from dispatcher.record import Record, Stand, read
from dispatcher.sightings import Sightings
from dispatcher.slots import Slots
from dispatcher.store import HEARTBEAT, Store
from dispatcher.views import view

BATCH = 64
"""Orders claimed at once: enough to keep every thread of the crew busy."""


SLEPT = HEARTBEAT / 2
"""Seconds after which what was read of the claimed list is read again: a dispatcher that was only
paused must not carry out what others have carried out meanwhile."""


@dataclass(frozen=True, slots=True)
class Order:
    """A claimed message with all that admission looked at."""

    task: Task
    raw: bytes
    holding: Holding | None
    record: Record | None


class Intake:
    """Feeds the executor from one queue. Called from one thread; submits from several."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        crew: Crew,
        log: Log,
        slots: Slots,
        per_account: int = 0,
    ) -> None:
        self._store = store
        self._executor = executor
        self._crew = crew
        self._log = log
        self._slots = slots
        self._sightings = Sightings()
        self._claims = Claims(store, per_account, self._sightings)
        self._choosy = per_account > 0
        self._read_at = 0.0
        self.may_wait = True
        """Whether nothing is left to do but to wait for an order and take whichever comes."""

    def take(
        self, slots: int, runs: Mapping[str, int] | None = None, *, paused: bool = False
    ) -> int:
        """Handle claimed orders and claim new ones, at most `slots`; return how many went well.

        Orders in trouble rest in the claimed list and keep no other from its slot, up to a batch
        of them: more than that, and the trouble is everybody's. `runs`: how many each account has.
        """
        counts = Counter(runs or {})
        claimed = self._claimed(counts, paused)
        ready = self._ready(claimed)
        wanted = 0 if paused else min(slots - len(ready), BATCH - len(claimed))
        if wanted > 0 and self._claims.claim(wanted, counts):
            claimed = self._store.claimed()
            ready = self._ready(claimed)
        self._sightings.claimed(claimed)
        granted = self._granted(dict.fromkeys(ready[:slots]))
        handled = self._crew.each(granted, _label, self._handle, _task)
        self.may_wait = not (paused or self._claims.held_back or len(claimed) > handled)
        return handled

    def watch(self) -> None:
        """Look now and then who waits, while nothing may be claimed."""
        if self._sightings.due():
            self._sightings.queued(self._store.window(WINDOW))

    def _claimed(self, counts: Counter[str], paused: bool) -> list[bytes]:
        """Return what is claimed, without what may not go now: that goes back to the queue.

        What has begun already stays: the queue must not hold an order that is handed over.
        """
        self._read_at = time.monotonic()
        claimed = self._store.claimed()
        held = self._executor.holdings() if claimed and (paused or self._choosy) else {}
        return [raw for raw in claimed if self._goes_on(raw, held, counts, paused)]

    def _goes_on(
        self, raw: bytes, held: Mapping[str, Holding], counts: Counter[str], paused: bool
    ) -> bool:
        holding = held.get(_name(raw)) if held else None
        if holding is not None:  # only a run that has yet to begin needs its account's leave
            return view(holding).stand is not Stand.START or self._claims.fits(raw, counts)
        if self._claims.fits(raw, counts) and not paused:
            return True
        self._store.give_back(raw)
        return False

    def _ready(self, claimed: list[bytes]) -> list[bytes]:
        return [raw for raw in claimed if not self._crew.resting(_label(raw))]

    def _granted(self, ready: Iterable[bytes]) -> list[bytes]:
        """Return which orders may be handled; one without leave stays claimed for a later turn."""
        wanted = {raw: _name(raw) for raw in ready}
        granted = self._slots.grant([name for name in wanted.values() if name])
        return [raw for raw, name in wanted.items() if not name or name in granted]

    def _handle(self, raw: bytes) -> None:
        """Handle one claimed message. It stays claimed on any error but the final ones."""
        try:
            task = Task.parse(raw)
            with told(self._store, task):
                self._admit(task, raw)
        except BadMessage as exc:
            self._bury(exc)
        except Refused as exc:
            self._slots.unused(_name(raw))
            self._bury(BadMessage(exc.summary, raw, advice=exc.advice))
        except Busy:
            self._slots.unused(_name(raw))
            raise

    def _admit(self, task: Task, raw: bytes) -> None:
        holding = self._executor.holdings().get(names.object_name(task.key))
        record = read(holding.volume) if holding and holding.volume else None
        decision = decide(task, holding, record, self._memory(task, holding), fingerprint(raw))
        if decision.why:
            self._log.event("QUEUE", "Task %s %s", task.key, decision.why)
        _ACTIONS[decision.do](self, Order(task, raw, holding, record))

    def _memory(self, task: Task, holding: Holding | None) -> Mapping[str, str]:
        """Ask the board only when no object can tell: the common case costs one round trip."""
        return {} if holding is not None else self._store.show(task.key)

    def _accept(self, order: Order) -> None:
        task = order.task
        fault.point("intake:claimed")
        self._check_awake(task)
        self._executor.ensure_volume(task)
        if task.force:
            mark = {names.ACCEPTED: fingerprint(order.raw)}
            self._executor.mark(names.object_name(task.key), mark)
        fault.point("intake:volume")
        attempt = order.record.attempt if order.record else 1
        self._slots.check()  # last: only a sleep between this and the request goes unseen
        began = self._executor.start_run(Assignment(task, attempt))
        self._sightings.handed_over(order.raw)
        fault.point("intake:run")
        self._store.write(task.key, running(task, attempt))
        fault.point("intake:board")
        self._settle(order, marked=task.force)
        say = "is handed over: run %d." if began else "was handed over already: run %d."
        self._log.event("QUEUE", "Task %s " + say, task.key, attempt)

    def _check_awake(self, task: Task) -> None:
        if time.monotonic() - self._read_at > SLEPT:
            raise Busy(f"Task {task.key} was claimed too long ago; others may have adopted it.")

    def _settle(self, order: Order, *, marked: bool) -> None:
        """Let go of the item, and then of the mark that tells it from a second order."""
        self._store.settle(order.raw)
        fault.point("intake:settled")
        if marked:
            self._executor.mark(names.object_name(order.task.key), {names.ACCEPTED: None})

    def _drop(self, order: Order) -> None:
        self._slots.unused(names.object_name(order.task.key))
        self._recall(order)
        accepted = order.record.accepted if order.record else ""
        self._settle(order, marked=accepted == fingerprint(order.raw))

    def _recall(self, order: Order) -> None:
        """Tell the board of a run that it may not know: a crash, or Redis, came in between."""
        run = order.holding.run if order.holding else None
        task = order.record.task if order.record else None
        if run is not None and run.phase is Phase.ACTIVE and task is not None:
            recall(self._store, [(task, run)])

    def _resume(self, order: Order) -> None:
        """Go on as this message says: its account or fields may be what was mended.

        Only on the volume as it was looked at: another dispatcher may have cancelled the task.
        """
        self._check_awake(order.task)
        self._slots.unused(names.object_name(order.task.key))
        marks = {
            **again(order.record),
            names.MESSAGE: order.task.dump(),
            names.ACCEPTED: fingerprint(order.raw),
        }
        volume = order.holding.volume if order.holding else None
        version = volume.version if volume else None
        self._executor.mark(names.object_name(order.task.key), marks, version)
        self._settle(order, marked=True)

    def _renew(self, order: Order) -> None:
        """Remove what the task left, run first; the order stays claimed meanwhile."""
        holding = order.holding
        if holding and holding.run:
            self._executor.remove_run(holding.name, holding.run.id)
        elif holding and holding.volume:
            volume = holding.volume
            self._executor.remove_volume(holding.name, volume.id, volume.version)
        self._wait(order)

    def _wait(self, order: Order) -> None:
        raise Busy(f"Task {order.task.key} waits until what it left before is gone.")

    def _bury(self, error: BadMessage) -> None:
        self._store.bury(error)
        self._log.event(
            "ERROR", "A message goes to the dead list: %s %s", error.summary, error.advice
        )


def _name(raw: bytes) -> str:
    """Return the name of an order's objects; "" for what is no order."""
    task = _task(raw)
    return names.object_name(task.key) if task else ""


def _task(raw: bytes) -> Task | None:
    try:
        return Task.parse(raw)
    except BadMessage:
        return None


def _label(raw: bytes) -> str:
    """A claimed message's name while it rests: its beginning, and a checksum of the whole."""
    return f"{raw[:80].decode('utf-8', 'replace')} ({crc32(raw):08x})"


def again(record: Record | None) -> dict[str, str | None]:
    """Return the marks that make a failed or waiting task start anew with full budgets."""
    attempt = record.attempt if record else 1
    return {
        names.ATTEMPT: str(attempt + 1),
        names.OUTCOME: None,
        names.RETRY_AT: None,
        names.EXPIRES_AT: None,
        names.FAILURES: None,
    }


_ACTIONS = {
    Do.ACCEPT: Intake._accept,
    Do.DROP: Intake._drop,
    Do.RESUME: Intake._resume,
    Do.RENEW: Intake._renew,
    Do.WAIT: Intake._wait,
}
