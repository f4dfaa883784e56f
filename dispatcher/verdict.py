"""What follows from how a run ended: done, a retry at a time, or a failure for good. Pure.

Goes in: the run, its ending, the task's record, the limits, the time. Comes out: a `Verdict`.
Budgets are kept per cause, so that a flaky webhook does not eat the retries of a download.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract.outcome import CATEGORIES, WEBHOOK_REFUSED, ExitCode, Outcome
from dispatcher.executors import Ending, Obstacle, Phase, Run
from dispatcher.record import CANCELLED, DONE, Record
from dispatcher.settings import Limits

CRASHED = "crashed"
DEADLINE = "deadline"

LONGEST_WAIT = 86400.0
"""Seconds, one day: what another side may make a task wait. A mistaken header asks for years."""

_DEADLINE = "DeadlineExceeded"
_NOT_FAILURES = (DONE, CANCELLED)
"""Words that a failed run cannot mean: the first would lose it, the second is an operator's."""

_ADVICE = {
    "OOMKilled": "Give the job more memory, or lower DOWNLOAD_CONCURRENCY.",
    "Evicted": "The node ran out of memory or disk; look at its conditions.",
    _DEADLINE: "Raise RUN_DEADLINE if the course is that large, then retry the task.",
}
_FINAL = frozenset({WEBHOOK_REFUSED}) | frozenset(
    CATEGORIES[code]
    for code in (
        ExitCode.BAD_INPUT,
        ExitCode.AUTH_EXPIRED,
        ExitCode.NOT_ENTITLED,
        ExitCode.BLOCKED,
        ExitCode.VOLUME_FULL,
    )
)
_STOPPED = CATEGORIES[ExitCode.STOPPED]
_FULL = CATEGORIES[ExitCode.VOLUME_FULL]
GROWTH = 2
"""A full volume is made this many times as large, once."""
_NOT_DELIVERED = CATEGORIES[ExitCode.NOT_DELIVERED]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`retry_at` in Unix seconds, None for an end for good; `report`: a closing run is owed;
    `grow`: bytes that the volume must have for the retry, 0 for as it is; `why`: what kept a
    closing run from passing the failure on, where that is tried again.
    """

    outcome: Outcome
    retry_at: float | None = None
    report: bool = False
    failures: Mapping[str, int] | None = None
    grow: int = 0
    why: str = ""

    @property
    def done(self) -> bool:
        """Whether every step is done."""
        return self.outcome.category == DONE


def judge(run: Run, ending: Ending, record: Record, limits: Limits, now: float) -> Verdict:
    """Return what follows from the end of an ordinary run."""
    if record.released or run.phase is Phase.SUCCEEDED:
        return Verdict(Outcome(DONE, "Every step is done.", exit=0))
    outcome = last_words(ending)
    grown = record.size * GROWTH
    may_grow = 0 < grown <= limits.volume_limit and not record.failures.get(_FULL)
    if outcome.category == _FULL and may_grow:
        return Verdict(outcome, now, failures={**record.failures, _FULL: 1}, grow=grown)
    if outcome.category in _FINAL:
        return Verdict(outcome, report=not outcome.told)
    return _again(outcome, record, limits, now)


def judge_report(run: Run, ending: Ending, record: Record, limits: Limits, now: float) -> Verdict:
    """Return what follows from the end of a closing run. The task's own outcome stays."""
    known = record.outcome
    outcome = Outcome(
        known.category if known else CRASHED,
        known.summary if known else "The task failed.",
        known.advice if known else "",
    )
    if run.phase is Phase.SUCCEEDED:
        return Verdict(outcome)
    count = record.failures.get("report", 0)
    failures = {**record.failures, "report": count + 1}
    why = last_words(ending).summary
    if count >= len(limits.temporary):
        rest = "That could not be passed on, for the same reason."
        if why != outcome.summary:
            rest = f"Not passed on: {why}"
        outcome = Outcome(outcome.category, f"{sentence(outcome.summary)} {rest}", outcome.advice)
        return Verdict(outcome, failures=failures)
    return Verdict(outcome, now + limits.temporary[count], True, failures, why=why)


def sentence(words: str) -> str:
    """Return `words`, which may be another's, with an end that lets ours follow."""
    return words if not words or words[-1] in ".!?:;…" else words + "."


def is_late(run: Run | None, limits: Limits, now: float) -> bool:
    """Whether an active run has not begun for so long that its obstacle is worth a look."""
    if run is None or run.working or run.deleting or run.phase is not Phase.ACTIVE:
        return False
    return now - (run.started or now) >= limits.pending


def judge_obstacle(
    run: Run, obstacle: Obstacle | None, record: Record, limits: Limits, now: float
) -> Verdict | None:
    """Return the verdict on a run that `obstacle` has kept from beginning; None: it may wait on.

    The slot is for those that can run: the task is tried again by its cause's schedule instead.
    """
    if obstacle is None or not obstacle.category:
        return None
    if now - max(obstacle.since or 0.0, run.started or 0.0) < limits.pending:
        return None
    words = Outcome(obstacle.category, obstacle.summary, obstacle.advice)
    decide = judge_report if run.closing else judge
    return decide(run, Ending(words=words), record, limits, now)


def last_words(ending: Ending) -> Outcome:
    """Return the run's last words, or words for a run that died without any."""
    words, code = ending.words, ending.exit
    if ending.reason == _DEADLINE:  # first: all that the run itself knew is that it was stopped
        summary = "The run was ended because it took longer than RUN_DEADLINE."
        return Outcome(DEADLINE, summary, _ADVICE[ending.reason], code)
    if words is not None and words.category not in _NOT_FAILURES:
        return words
    if code is not None and code in set(ExitCode) and code != ExitCode.DONE:
        return Outcome(
            CATEGORIES[ExitCode(code)], f"The run ended with exit code {code}.", "", code
        )
    how = ", ".join(filter(None, (ending.reason, f"exit code {code}" if code is not None else "")))
    summary = f"The run died without a word ({how or 'nothing is known about it'})."
    return Outcome(CRASHED, summary, _ADVICE.get(ending.reason, ""), code)


def _again(outcome: Outcome, record: Record, limits: Limits, now: float) -> Verdict:
    """Schedule the next try of `outcome`'s cause, or end when its budget is used up."""
    schedule = _schedule(outcome.category, limits)
    count = record.failures.get(outcome.category, 0)
    failures = {**record.failures, outcome.category: count + 1}
    if count >= len(schedule):
        # An undelivered webhook has nothing left to report: the row is completed already.
        report = outcome.category != _NOT_DELIVERED
        return Verdict(outcome, report=report, failures=failures)
    wait = max(schedule[count], min(outcome.retry_after or 0.0, LONGEST_WAIT))
    return Verdict(outcome, now + wait, failures=failures)


def _schedule(category: str, limits: Limits) -> tuple[float, ...]:
    if category == _STOPPED:
        return (0.0,) * limits.stopped
    if category == _NOT_DELIVERED:
        return limits.webhook
    return limits.crash if category in (CRASHED, DEADLINE) else limits.temporary
