"""What follows from how a run ended: done, a retry at a time, or a failure for good. Pure.

Goes in: the run, its ending, the task's record, the limits, the time. Comes out: a `Verdict`.
Budgets are kept per cause, so that a flaky webhook does not eat the retries of a download.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract.outcome import CATEGORIES, WEBHOOK_REFUSED, ExitCode, Outcome
from dispatcher.executors import Ending, Obstacle, Phase, Refused, Run
from dispatcher.record import CANCELLED, DONE, Record
from dispatcher.settings import Limits

CRASHED = "crashed"
DEADLINE = "deadline"
DISRUPTED = "disrupted"
REFUSED = "refused"
REMOVED = "removed"

LONGEST_WAIT = 86400.0
"""Seconds, one day: what another side may make a task wait. A mistaken header asks for years."""

_DEADLINE = "DeadlineExceeded"
_EVICTED = "Evicted"
"""Without a disruption: for the run's own use of room. All it knows is that it was stopped."""
_SAID = 200
"""Characters of the cluster's own sentence about a death that are repeated."""
_NOT_FAILURES = (DONE, CANCELLED)
"""Words that a failed run cannot mean: the first would lose it, the second is an operator's."""

_ADVICE = {
    "OOMKilled": "Give the job more memory, or lower DOWNLOAD_CONCURRENCY.",
    _EVICTED: "If the run outgrew its own room, raise JOB_TMP_SIZE; else look at the node.",
    _DEADLINE: "Raise RUN_DEADLINE if the course is that large, then retry the task.",
    DISRUPTED: "Look what drains or empties nodes, or give the runs a higher JOB_PRIORITY_CLASS.",
    REMOVED: "Find out who removes it (an operator, a script, a policy), then retry the task.",
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
_FREE = (_STOPPED, DISRUPTED)
"""Ends that are no failure of the run: they cost no budget but their own."""
GROWTH = 2
"""A full volume is made this many times as large, once."""
_NOT_DELIVERED = CATEGORIES[ExitCode.NOT_DELIVERED]
AT_ONCE = 3
"""Free restarts without a wait: a drain of several nodes meets a run about as often."""
_FREE_WAIT, _FREE_WAIT_MOST = 10.0, 300.0
"""Seconds before the first free restart that waits, and the most that doubling makes of it."""


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
    grown = record.grow_to or record.size * GROWTH
    may_grow = 0 < grown <= limits.volume_limit and not record.failures.get(_FULL)
    if outcome.category == _FULL and may_grow:
        return Verdict(outcome, now, failures={**record.failures, _FULL: 1}, grow=grown)
    if outcome.category in _FINAL:
        return Verdict(outcome, report=not outcome.told)
    return _again(outcome, record, limits, now)


def judge_report(run: Run, ending: Ending, record: Record, limits: Limits, now: float) -> Verdict:
    """Return what follows from the end of a closing run. The task's own outcome stays."""
    outcome = _known(record)
    if run.phase is Phase.SUCCEEDED:
        return Verdict(outcome)
    words = last_words(ending)
    why = words.summary
    is_free = words.category in _FREE
    cause = f"report_{words.category}" if is_free else "report"
    schedule = free_restarts(limits.stopped) if is_free else limits.temporary
    count = record.failures.get(cause, 0)
    failures = {**record.failures, cause: count + 1}
    if count >= len(schedule) or words.category in _FINAL:
        return Verdict(_not_passed_on(outcome, why), failures=failures)
    return Verdict(outcome, now + schedule[count], True, failures, why=why)


def _known(record: Record) -> Outcome:
    """Return the verdict that a closing run is to pass on."""
    known = record.outcome
    if known is None:
        return Outcome(CRASHED, "The task failed.")
    return Outcome(known.category, known.summary, known.advice)


def _not_passed_on(outcome: Outcome, why: str) -> Outcome:
    rest = "That could not be passed on, for the same reason."
    if why != outcome.summary:
        rest = f"Not passed on: {why}"
    return Outcome(outcome.category, f"{sentence(outcome.summary)} {rest}", outcome.advice)


def judge_refused(error: Refused, record: Record, *, closing: bool) -> Verdict:
    """Return what follows when the executor will never accept a run: an end for good.

    A closing run is asked for all the same, once: what refuses the one may admit the other.
    """
    if not closing:
        return Verdict(Outcome(REFUSED, error.summary, error.advice), report=True)
    return Verdict(_not_passed_on(_known(record), error.summary))


def judge_removed(record: Record, limits: Limits, now: float) -> Verdict:
    """Return what follows when a run was removed by other hands before it ended.

    It starts again, as it would after a death of ours before its start; but not for ever.
    """
    count = record.failures.get(REMOVED, 0)
    failures = {**record.failures, REMOVED: count + 1}
    summary = f"The run was removed before it ended, {count} times."
    outcome = Outcome(REMOVED, summary, _ADVICE[REMOVED])
    if count > limits.stopped:
        return Verdict(outcome, report=True, failures=failures)
    return Verdict(outcome, now, failures=failures)


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
    if ending.disrupted and not (words is not None and words.told):
        # Whatever else the run said is what its being stopped looked like from inside.
        summary = f"The cluster took the run away ({_how(ending)})."
        return Outcome(DISRUPTED, summary, _ADVICE[DISRUPTED], code)
    own = _own_words(ending)
    if own is not None:
        return own
    summary = f"The run died without a word ({_how(ending) or 'nothing is known about it'})."
    return Outcome(CRASHED, summary, _ADVICE.get(ending.reason, ""), code)


def _own_words(ending: Ending) -> Outcome | None:
    """Return what the run itself said, at least by its exit code; None when that is nothing."""
    words, code = ending.words, ending.exit
    if ending.reason == _EVICTED and (words is None or words.category == _STOPPED):
        return None
    if words is not None and words.category not in _NOT_FAILURES:
        return words
    if code is None or code not in set(ExitCode) or code == ExitCode.DONE:
        return None
    return Outcome(CATEGORIES[ExitCode(code)], f"The run ended with exit code {code}.", "", code)


def _how(ending: Ending) -> str:
    code = "" if ending.exit is None else f"exit code {ending.exit}"
    facts = ", ".join(filter(None, (ending.reason, code)))
    return ": ".join(filter(None, (facts, " ".join(ending.said.split())[:_SAID].rstrip("."))))


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


def free_restarts(count: int) -> tuple[float, ...]:
    """Return the waits before `count` restarts that cost nothing: at once, then less and less so.

    What is taken away over and over would else be started as fast as the cluster can.
    """
    waits = (_FREE_WAIT * 2.0 ** min(n, 9) for n in range(max(0, count - AT_ONCE)))
    return (*(0.0,) * min(count, AT_ONCE), *(min(wait, _FREE_WAIT_MOST) for wait in waits))


def _schedule(category: str, limits: Limits) -> tuple[float, ...]:
    if category in _FREE:
        return free_restarts(limits.stopped)
    if category == _NOT_DELIVERED:
        return limits.webhook
    return limits.crash if category in (CRASHED, DEADLINE) else limits.temporary
