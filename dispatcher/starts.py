"""The starts of runs that are due: delayed retries, closing runs, and runs that were taken away.

Goes in: views of what the executor holds, and how many slots are free. Comes out: runs started, and
said so on the board and in the log. Which runs are due is in the volumes' marks; whether there is
room is for `slots` and `fairness` to say; what a refusal means, for `verdict`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from contract import fault, names
from contract.handoff import Assignment
from contract.log import Log
from contract.outcome import Outcome
from contract.task import Task
from dispatcher.board import told
from dispatcher.conclusions import Conclusions, failures
from dispatcher.crew import Crew
from dispatcher.executors import Busy, Executor, Refused
from dispatcher.fairness import account_of, may_run
from dispatcher.record import Judged, Record, Stand
from dispatcher.settings import Limits
from dispatcher.slots import Slots
from dispatcher.store import Store
from dispatcher.verdict import judge_refused, judge_removed
from dispatcher.views import View, runs_by_account


class Starts:
    """Starts what is due."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        crew: Crew,
        log: Log,
        slots: Slots,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._executor = executor
        self._limits = limits
        self._crew = crew
        self._log = log
        self._slots = slots
        self._clock = clock
        self._conclusions = Conclusions(store, executor, limits, log, clock)

    def start_due(self, views: Sequence[View], slots: int) -> int:
        """Start runs that are due, oldest volume first, at most `slots`; return how many."""
        now = self._clock()
        due = [v for v in views if _is_due(v, now) and not self._crew.resting(v.name)]
        if not due:
            return 0
        due.sort(key=lambda view: view.holding.volume.created if view.holding.volume else 0.0)
        due = self._allowed(due, runs_by_account(views))[: max(0, slots)]
        granted = self._slots.grant([view.name for view in due])
        due = [view for view in due if view.name in granted]
        return self._crew.each(due, _name, self._start, _task)

    def _allowed(self, due: Iterable[View], runs: Counter[str]) -> list[View]:
        """Return what the limit of each account allows; a closing run is free."""
        allowed = []
        for view in due:
            task = view.record.task if view.record else None
            account = account_of(task) if task and view.stand is not Stand.REPORT else None
            if may_run(account, runs, self._limits.max_per_account):
                allowed.append(view)
                if account is not None:
                    runs[account] += 1
        return allowed

    def _start(self, view: View) -> None:
        try:
            self._begin(view)
        except Busy:
            self._slots.unused(view.name)
            raise

    def _begin(self, view: View) -> None:
        record = view.record
        if record is None or record.task is None:
            return
        self._slots.check()
        version = self._conclusions.version(view)
        removed = judge_removed(record, self._limits, self._clock()) if _is_removed(view) else None
        if removed is not None and removed.report:
            self._slots.unused(view.name)
            self._conclusions.conclude(view, None, record, removed)
            return
        if view.stand is Stand.WAITING:
            self._executor.mark(view.name, {names.OUTCOME: None, names.RETRY_AT: None}, version)
            fault.point("retry:marked")
            self._slots.check()
        try:
            began = self._start_run(record, record.task, view.stand is Stand.REPORT)
        except Refused as exc:
            self._slots.unused(view.name)
            self._refused(view, record, exc)
            return
        if began and removed is not None:
            self._executor.mark(view.name, {names.FAILURES: failures(removed)})
        fault.point("retry:run")
        self._tell_start(record.attempt, record.task, view.stand is Stand.REPORT)

    def _refused(self, view: View, record: Record, error: Refused) -> None:
        """End a task whose next run is refused. By now its marks may be those of `_begin`."""
        verdict = judge_refused(error, record, closing=view.stand is Stand.REPORT)
        if view.stand is Stand.WAITING:
            view = replace(view, record=replace(record, outcome=None, retry_at=None))
        self._conclusions.conclude(view, None, record, verdict)

    def _start_run(self, record: Record, task: Task, closing: bool) -> bool:
        report = _report(record) if closing else None
        with told(self._store, task):
            return self._executor.start_run(Assignment(task, record.attempt, report))

    def _tell_start(self, attempt: int, task: Task, closing: bool) -> None:
        status = Stand.REPORT if closing else Stand.ACTIVE
        fields = {"status": status.value, "attempt": str(attempt), "retry_at": "", "obstacle": ""}
        self._store.write(task.key, fields)
        what = "The closing run" if closing else "Run"
        self._log.event("ATTEMPT", "%s %d of task %s begins.", what, attempt, task.key)


def _name(view: View) -> str:
    return view.name


def _task(view: View) -> Task | None:
    return view.task


def _is_removed(view: View) -> bool:
    """Whether the run that should be there is not: removed by others, or never started by us."""
    return view.stand is Stand.START and view.holding.run is None


def _is_due(view: View, now: float) -> bool:
    if view.record is None:
        return False
    if view.stand is Stand.START:
        return True
    retry_at = view.record.retry_at or 0.0
    return view.stand in (Stand.WAITING, Stand.REPORT) and retry_at <= now


def _report(record: Record) -> str:
    known = record.outcome or Judged(Stand.FAILED.value, "The task failed.")
    return Outcome(known.category, known.summary, known.advice).dump()
