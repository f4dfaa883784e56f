"""What a verdict does: the board, the volume's marks, the ledger and the log, in that order.

Goes in: a task as it was looked at, and the verdict on it. Comes out: the same word in every place
that tells of it. It decides nothing: `verdict` does. Every act is repeated safely after a crash.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

from contract import fault, names
from contract.log import Log
from contract.task import Task
from dispatcher import ledger
from dispatcher.executors import Executor, Outdated, Phase, Run
from dispatcher.record import CANCELLED, Judged, Record, Stand, read, stamp
from dispatcher.settings import Limits
from dispatcher.store import Store
from dispatcher.verdict import Verdict, sentence
from dispatcher.views import View

SOON = 0.1
"""Seconds of rest after a look that was too old: what is true by now is known already."""


class Conclusions:
    """Puts verdicts into effect."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._executor = executor
        self._limits = limits
        self._log = log
        self._clock = clock

    def conclude(self, view: View, run: Run | None, record: Record, verdict: Verdict) -> None:
        """Publish and mark. Raise `Outdated` when the task is not any more as it was judged."""
        if record.task is None:
            return
        version = self.version(view)
        # The board first: a crash after it repeats the verdict, a crash before it would, were the
        # mark there already, leave the board behind for ever, and the memory of what is completed.
        self._publish(record.task, verdict)
        fault.point("verdict:published")
        marks = self._marks(verdict, run or _removed(record), record)
        self._executor.mark(view.name, marks, version)
        fault.point("verdict:marked")
        ledger.enter(self._store, run, record, verdict)
        self._say(record.task, run or _removed(record), verdict)

    def version(self, view: View) -> str | None:
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
            marks[names.FAILURES] = failures(verdict)
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


def failures(verdict: Verdict) -> str:
    """Return the mark that counts what went wrong, by cause."""
    return json.dumps(dict(verdict.failures or {}), separators=(",", ":"))


def _marked(record: Record) -> Record:
    """Return what others may have changed of a record, without what this module changes."""
    return replace(record, size=0, grow_to=0)


def _removed(record: Record) -> Run:
    """Stands for a run of which nothing is left."""
    return Run("", record.attempt, Phase.FAILED)


def _state(verdict: Verdict) -> Stand:
    if verdict.done:
        return Stand.DONE
    if verdict.report:
        return Stand.REPORT
    return Stand.FAILED if verdict.retry_at is None else Stand.WAITING
