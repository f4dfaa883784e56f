"""The dispatcher's turn, in one place.

    asks -> verdicts -> retries and closing runs -> intake -> removal -> wait

One thread takes the turns; a few more carry out what a turn decides. Everything is derived from
live objects and lists at each turn, so that a restart, or a second dispatcher, changes nothing.
Slots go to runs that are due before new orders are claimed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contract.errors import Retryable, Stopped
from contract.log import Log
from dispatcher.asks import Asks
from dispatcher.auditor import Audited, Auditor
from dispatcher.board import recall
from dispatcher.crew import Crew
from dispatcher.executors import Executor
from dispatcher.handover import clear_settled
from dispatcher.intake import Intake
from dispatcher.notices import Notices
from dispatcher.reaper import Reaper
from dispatcher.settings import Limits
from dispatcher.slots import Slots
from dispatcher.starts import Starts
from dispatcher.store import BLOCK, Store
from dispatcher.supervisor import Supervisor
from dispatcher.views import View, Views, alive, runs_by_account


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are done, in seconds."""

    block: float = BLOCK
    """Longest wait at the end of a turn."""
    beat: float = 10.0
    """Between heartbeats: six chances before others adopt what is claimed here."""
    adopt: float = 20.0
    """Between looks for dead dispatchers: with the heartbeat's 60 s, at most 80 s in all."""
    reap: float = 5.0
    """Between looks at what may be removed."""
    audit: float = 300.0
    """Between audits: at 100,000 orders one takes about a second."""
    recheck: float = 5.0
    """From an audit that has found something to the look that confirms it."""
    gather: float = 0.25
    """Longest time that news are gathered before the next look."""


BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds of rest after the first, second, … turn in a row that failed."""


@dataclass(slots=True)
class Pulse:
    """What health asks: when the last turn ended (monotonic seconds), and what ails, if anything.

    A turn that failed is one too: what it needs is away, and a restart would not bring it back.
    """

    last: float = 0.0
    trouble: str = "The first turn is not over yet."
    note: str = ""
    """What is well and worth knowing: that intake is paused."""

    def beat(self, trouble: str = "") -> None:
        """Note that a turn has ended, and how."""
        self.last, self.trouble = time.monotonic(), trouble


class Loop:
    """Takes turns until told to stop."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        log: Log,
        clock: Callable[[], float] = time.time,
        pace: Pace = Pace(),
    ) -> None:
        self._store = store
        self._executor = executor
        self._limits = limits
        self._log = log
        self._pace = pace
        self._stop = threading.Event()
        self._crew = Crew(log, clock, self._stop)
        self._views = Views()
        self._free = Slots(store, limits.max_active, store.identity)
        self._asks = Asks(store, executor, limits, self._crew, log, clock)
        self._supervisor = Supervisor(store, executor, limits, self._crew, log, clock)
        self._starts = Starts(store, executor, limits, self._crew, log, self._free, clock)
        self._intake = Intake(store, executor, self._crew, log, self._free, limits.max_per_account)
        self._auditor = Auditor(store, limits, log, clock)
        self._notices = Notices(store, executor, limits, clock)
        self._reaper = Reaper(store, executor, limits, self._crew, log, clock)
        # Not in the first turn: with 100,000 orders queued, an audit would keep them waiting.
        self._due = {"audit": time.monotonic() + pace.recheck}
        self._recalled = False
        self.seen: Sequence[View] = ()
        """What the last look found; never changed, only replaced."""
        self.pulse = Pulse()

    def stop(self) -> None:
        """Ask the loop to end after its turn (safe in a signal handler)."""
        self._stop.set()

    @property
    def audited(self) -> Audited | None:
        """The last audit, None before the first."""
        return self._auditor.last

    @property
    def obstacles(self) -> Mapping[str, str]:
        """The last word on what keeps a run from beginning, by the run's id; "" is nothing."""
        return self._notices.obstacles

    @property
    def stopping(self) -> bool:
        """Whether the loop was told to stop."""
        return self._stop.is_set()

    def rest(self, seconds: float | None = None) -> None:
        """Wait until told to stop, at most `seconds`."""
        self._stop.wait(seconds)

    def run(self) -> bool:
        """Take turns until told to stop. Runs go on; nothing claimed is lost.

        Return whether it ended in order: the last turn went well, and nothing is under way.
        """
        failed = 0
        while not self._stop.is_set():
            try:
                self.turn()
                failed = 0
                self.pulse.beat(self._crew.trouble())
            except Stopped as exc:
                self._log.event("CHECK", "%s They are done again later.", exc.summary)
            except Retryable as exc:
                self._rest(exc, failed)
                failed += 1
        return self._crew.close() and not failed

    def turn(self) -> None:
        """Take one turn, then wait for a new order or a change, about a second at most."""
        began_at = time.monotonic()
        self._keep_alive()
        self._asks.answer()
        views = self._look()
        self._notices.tell(views)
        if not self._recalled:
            recall(self._store, alive(views))
            self._recalled = True
        if self._supervisor.give_verdicts(views) + self._supervisor.end_late(views):
            views = self._look()
        slots = self._slots(views)
        if self._starts.start_due(views, slots):
            views = self._look()
            slots = self._slots(views)
        paused = self._is_paused()
        began = self._take(views, slots, paused=paused) if slots or paused else 0
        if paused or not slots:
            self._intake.watch()
        if self._is_time("reap", self._pace.reap):
            clear_settled(self._store, self._executor, self._crew, self._look())
            self._reaper.reap(self._look())
        self._audit()
        if not began:
            self._wait(slots, time.monotonic() - began_at)

    def _take(self, views: Sequence[View], slots: int, *, paused: bool) -> int:
        return self._intake.take(slots, runs_by_account(views), paused=paused)

    def _wait(self, slots: int, took: float) -> None:
        """Wait where the next thing comes from: the queue while a slot is free, else a run.

        A look at thousands of tasks takes its time. Where news come one by one, looks wait for each
        other's: `took`, the seconds of the last one, is at most a third of the time.
        """
        if slots and self._intake.may_wait:
            self._store.claim_or_wait(self._pace.block)
        elif self._executor.wait(self._pace.block):
            self._stop.wait(min(2 * took, self._pace.gather))

    def _audit(self) -> None:
        """Audit now and then, and soon after any trouble with Redis; never on a stale view."""
        if not self._is_time("audit", self._pace.audit) or self._executor.trouble():
            return
        if not self._auditor.audit(self._look):
            self._due["audit"] = time.monotonic() + self._pace.recheck

    def _is_paused(self) -> bool:
        """Whether nothing may be claimed; said when it changes, and to whoever asks health."""
        pause = self._store.paused()
        note = f"Intake is paused. {pause['why']}".rstrip() if pause else ""
        if note != self.pulse.note:
            self._log.event("QUEUE", "%s", note or "Intake goes on.")
        self.pulse.note = note
        return bool(pause)

    def _keep_alive(self) -> None:
        if self._is_time("beat", self._pace.beat):
            self._store.beat()
        if self._is_time("adopt", self._pace.adopt):
            count = self._store.adopt_orphans()
            if count:
                message = "%d orders that a dead dispatcher had claimed are back in the queue."
                self._log.event("RESUME", message, count)

    def _look(self) -> Sequence[View]:
        self.seen = self._views.look(self._executor.holdings())
        return self.seen

    def _slots(self, views: Sequence[View]) -> int:
        return self._free.free(views)

    def _is_time(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if self._due.get(what, 0.0) > now:
            return False
        self._due[what] = now + every
        return True

    def _rest(self, error: Retryable, failed: int) -> None:
        """Say the trouble once, not at every turn, and rest longer each time."""
        if self.pulse.trouble != error.summary:
            self._log.event("ERROR", "%s Nothing is lost; trying again.", error.summary)
        self.pulse.beat(error.summary)
        self._due.clear()
        self._stop.wait(error.retry_after or BACK_OFF[min(failed, len(BACK_OFF) - 1)])


def warn_about(limits: Limits, log: Log) -> None:
    """Say at start what an operator may not have meant."""
    if limits.keep_completed < limits.min_age:
        message = "KEEP_COMPLETED is below REAP_MIN_AGE; volumes are kept %g s all the same."
        log.event("CHECK", message, limits.min_age, level=logging.WARNING)
