"""The care for tasks that have been handed over: verdicts, delayed retries, closing runs.

Goes in: views of what the executor holds. Comes out: marks on volumes, runs started, states on the
board. It decides nothing itself: `record` and `verdict` do; this module acts on them and says what
it did. Every act is repeated safely after a crash.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from contract import fault, names
from contract.handoff import Assignment
from contract.log import Log
from contract.outcome import Outcome
from contract.task import Task
from dispatcher import ledger
from dispatcher.board import told
from dispatcher.crew import Crew
from dispatcher.executors import Busy, Executor, Outdated, Phase, Refused, Run
from dispatcher.fairness import account_of, may_run
from dispatcher.record import CANCELLED, Judged, Record, Stand, read, stamp
from dispatcher.settings import Limits
from dispatcher.slots import Slots
from dispatcher.store import Store
from dispatcher.verdict import (
    Verdict,
    is_late,
    judge,
    judge_obstacle,
    judge_refused,
    judge_removed,
    judge_report,
    sentence,
)
from dispatcher.views import View, runs_by_account

LOOK = 5.0
"""Seconds between two looks at what keeps a run from beginning."""

SOON = 0.1
"""Seconds of rest after a look that was too old: what is true by now is known already."""


class Supervisor:
    """Acts on what the pure modules decide."""

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
        self._looked: dict[str, float] = {}

    # --- verdicts ---------------------------------------------------------------------------------
    def give_verdicts(self, views: Iterable[View]) -> int:
        """Judge every ended run that has no verdict yet; return how many."""
        ended = [view for view in views if view.stand is Stand.ENDED]
        return self._crew.each(ended, _name, self._judge, _task)

    def _judge(self, view: View) -> None:
        record, run = view.record, view.holding.run
        if record is None or run is None or record.task is None:
            return
        ending = self._executor.ending(view.name, run)
        decide = judge_report if run.closing else judge
        verdict = decide(run, ending, record, self._limits, self._clock())
        if verdict.grow and not self._grow(view.name, verdict.grow):
            fixed = replace(record, size=0, grow_to=0)
            verdict = decide(run, ending, fixed, self._limits, self._clock())
        fault.point("verdict:judged")
        self._conclude(view, run, record, verdict)

    def _grow(self, name: str, size: int) -> bool:
        """Note the aim first: judged again after a crash, the volume must not grow twice."""
        self._executor.mark(name, {names.GROW_TO: str(size)})
        fault.point("grow:marked")
        grown = self._executor.grow(name, size)
        fault.point("grow:asked")
        return grown

    def _conclude(self, view: View, run: Run | None, record: Record, verdict: Verdict) -> None:
        """Publish and mark. Raise `Outdated` when the task is not any more as it was judged."""
        if record.task is None:
            return
        version = self._version(view)
        # The board first: a crash after it repeats the verdict, a crash before it would, were the
        # mark there already, leave the board behind for ever, and the memory of what is completed.
        self._publish(record.task, verdict)
        fault.point("verdict:published")
        marks = self._marks(verdict, run or _removed(record), record)
        self._executor.mark(view.name, marks, version)
        fault.point("verdict:marked")
        ledger.enter(self._store, run, record, verdict)
        self._say(record.task, run or _removed(record), verdict)

    def _version(self, view: View) -> str | None:
        """Return the newest version of the volume that says what `view` says; None if it is gone.

        Raise `Outdated` when another dispatcher, or the run, has changed what it says. What a
        cluster notes on a claim (that it is bound, its size) changes its version and nothing here.
        """
        holding = self._executor.holdings().get(view.name)
        volume = holding.volume if holding else None
        if volume is None:
            return None
        if view.record is None or _marked(read(volume)) != _marked(view.record):
            message = f"The record of {view.name} has changed since it was looked at."
            raise Outdated(message, retry_after=SOON)
        return volume.version

    # --- runs that do not begin -------------------------------------------------------------------
    def end_late(self, views: Iterable[View]) -> int:
        """End runs that something keeps from beginning for too long; return how many were asked.

        Each is looked at every `LOOK` seconds: the answer costs a few questions. One that goes on
        although it was judged is ended `LOOK` seconds after it is first seen so: perhaps it has
        ended, was judged by another dispatcher, and only that news is still on its way.
        """
        now = self._clock()
        late = [view for view in views if self._is_late(view, now)]
        self._looked = {
            view.name: self._looked.get(view.name, self._first(view, now)) for view in late
        }
        due = [view for view in late if now - self._looked[view.name] >= LOOK]
        self._looked.update((view.name, now) for view in due)
        return self._crew.each(due, _name, self._end_late, _task)

    def _is_late(self, view: View, now: float) -> bool:
        """Also one that was judged, and whose removal did not get through: it may work by now."""
        if view.stand is not Stand.ACTIVE:
            return False
        return is_late(view.holding.run, self._limits, now) or is_condemned(view)

    def _first(self, view: View, now: float) -> float:
        """When a run that is seen as late for the first time counts as looked at."""
        return 0.0 if is_late(view.holding.run, self._limits, now) else now

    def _end_late(self, view: View) -> None:
        """Mark first, then remove: the other way round, a crash would start the run again."""
        record, run = view.record, view.holding.run
        if record is None or run is None:
            return
        if record.outcome is None or record.outcome.run != run.id:
            obstacle = self._executor.obstacle(view.name)
            verdict = judge_obstacle(run, obstacle, record, self._limits, self._clock())
            if verdict is None:
                return
            self._conclude(view, run, record, verdict)
            fault.point("late:marked")
        self._executor.remove_run(view.name, run.id)

    def _marks(self, verdict: Verdict, run: Run, record: Record) -> dict[str, str | None]:
        now, outcome = self._clock(), verdict.outcome
        judged = Judged(
            outcome.category, outcome.summary, outcome.advice, now, run.id, verdict.report
        )
        goes_on = verdict.report or verdict.retry_at is not None
        marks: dict[str, str | None] = {
            names.OUTCOME: judged.dump(),
            names.RETRY_AT: None if verdict.retry_at is None else stamp(verdict.retry_at),
            names.EXPIRES_AT: None if goes_on else stamp(now + self._keep(verdict)),
            names.GROW_TO: None,
        }
        if goes_on:  # the next run's number: it tells the ended run from the one that is due
            marks[names.ATTEMPT] = str(max(record.attempt, run.attempt) + 1)
        if verdict.failures is not None:
            marks[names.FAILURES] = _failures(verdict)
        return marks

    def _keep(self, verdict: Verdict) -> float:
        """A completed or cancelled task's volume is kept only as long as its log is read."""
        short = verdict.done or verdict.outcome.category == CANCELLED
        return self._limits.keep_completed if short else self._limits.keep_failed

    def _publish(self, task: Task, verdict: Verdict) -> None:
        state, outcome = _state(verdict), verdict.outcome
        fields = {
            "status": CANCELLED if outcome.category == CANCELLED else state.value,
            "message": outcome.summary,
            "category": outcome.category,
            "retry_at": "" if verdict.retry_at is None else stamp(verdict.retry_at),
        }
        if verdict.done:
            fields["percent"] = "100.0"
        ended = state not in (Stand.WAITING, Stand.REPORT)
        self._store.write(task.key, fields, forget_in=self._limits.remember if ended else 0)

    def _say(self, task: Task, run: Run, verdict: Verdict) -> None:
        log = self._log.bind(task_id=task.task_id, attempt=run.attempt)
        outcome = verdict.outcome
        if verdict.done:
            log.event("SUCCESS", "Task %s is completed.", task.key)
        elif verdict.retry_at is not None:
            wait = max(0.0, verdict.retry_at - self._clock())
            message = "Task %s: %s Files are kept; the next run is in %.0f s."
            if run.closing:
                message = "Task %s: its failure is not passed on: %s That is tried again in %.0f s."
            why = sentence(verdict.why or outcome.summary)
            log.event("KEEP", message, task.key, why, wait)
        else:
            message = "Task %s has ended as %s: %s %s"
            words = sentence(outcome.summary), outcome.advice
            log.event("ERROR", message, task.key, outcome.category, *words)

    # --- runs that are due ------------------------------------------------------------------------
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
        version = self._version(view)
        removed = judge_removed(record, self._limits, self._clock()) if _is_removed(view) else None
        if removed is not None and removed.report:
            self._slots.unused(view.name)
            self._conclude(view, None, record, removed)
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
            self._executor.mark(view.name, {names.FAILURES: _failures(removed)})
        fault.point("retry:run")
        self._tell_start(record.attempt, record.task, view.stand is Stand.REPORT)

    def _refused(self, view: View, record: Record, error: Refused) -> None:
        """End a task whose next run is refused. By now its marks may be those of `_begin`."""
        verdict = judge_refused(error, record, closing=view.stand is Stand.REPORT)
        if view.stand is Stand.WAITING:
            view = replace(view, record=replace(record, outcome=None, retry_at=None))
        self._conclude(view, None, record, verdict)

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


def _marked(record: Record) -> Record:
    """Return what others may have changed of a record, without what this module changes."""
    return replace(record, size=0, grow_to=0)


def is_condemned(view: View) -> bool:
    """Whether a run that is alive has been judged already, and nobody has told it to stop.

    Of a cancelled task, any but the closing run: another dispatcher started it meanwhile.
    """
    run, outcome = view.holding.run, view.record.outcome if view.record else None
    if run is None or run.deleting or outcome is None:
        return False
    return outcome.run == run.id or (outcome.category == CANCELLED and not run.closing)


def _name(view: View) -> str:
    return view.name


def _task(view: View) -> Task | None:
    return view.task


def _failures(verdict: Verdict) -> str:
    return json.dumps(dict(verdict.failures or {}), separators=(",", ":"))


def _is_removed(view: View) -> bool:
    """Whether the run that should be there is not: removed by others, or never started by us."""
    return view.stand is Stand.START and view.holding.run is None


def _removed(record: Record) -> Run:
    """Stands for a run of which nothing is left."""
    return Run("", record.attempt, Phase.FAILED)


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


def _state(verdict: Verdict) -> Stand:
    if verdict.done:
        return Stand.DONE
    if verdict.report:
        return Stand.REPORT
    return Stand.FAILED if verdict.retry_at is None else Stand.WAITING
