"""What follows from the end of a run: the table of exit codes, and every silent death."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract.outcome import CATEGORIES, WEBHOOK_REFUSED, ExitCode, Outcome
from dispatcher.executors import Ending, Phase, Refused, Run
from dispatcher.record import Judged, Record
from dispatcher.settings import Limits
from dispatcher.verdict import (
    CRASHED,
    DEADLINE,
    DISRUPTED,
    LONGEST_WAIT,
    REFUSED,
    REMOVED,
    Verdict,
    free_restarts,
    judge,
    judge_refused,
    judge_removed,
    judge_report,
    sentence,
)
from tests.dispatcher.tasks import NOW, ending, run, task

LIMITS = Limits()
RECORD = Record(task())
FAILED = run(phase=Phase.FAILED)

RETRIED = [
    (ExitCode.BUG, LIMITS.temporary),
    (ExitCode.TEMPORARY, LIMITS.temporary),
    (ExitCode.NOT_DELIVERED, LIMITS.webhook),
    (ExitCode.STOPPED, free_restarts(LIMITS.stopped)),
]
FINAL = [
    ExitCode.BAD_INPUT,
    ExitCode.AUTH_EXPIRED,
    ExitCode.NOT_ENTITLED,
    ExitCode.BLOCKED,
    ExitCode.VOLUME_FULL,
]


def after(how: Ending, known: Record = RECORD, ended: Run = FAILED) -> Verdict:
    """The verdict on an ordinary run."""
    return judge(ended, how, known, LIMITS, NOW)


def with_words(code: ExitCode, **fields: object) -> Ending:
    """The end of a run that left last words."""
    words = Outcome(CATEGORIES[code], "What, where.", exit=int(code))
    return Ending(int(code), replace(words, **fields))  # type: ignore[arg-type]


def without_words(code: int) -> Ending:
    """The end of a run whose last words did not get through."""
    return Ending(int(code))


# --- done -----------------------------------------------------------------------------------------
def test_a_run_that_succeeded_is_done() -> None:
    verdict = after(ending(0), ended=run(phase=Phase.SUCCEEDED))
    assert verdict.done
    assert verdict.retry_at is None
    assert not verdict.report


@pytest.mark.parametrize(
    "how", [ending(), ending(137, reason="OOMKilled"), ending(75, "temporary")]
)
def test_a_run_that_died_after_it_let_go_of_the_volume_is_done(how: Ending) -> None:
    assert after(how, replace(RECORD, released=True)).done


# --- the table ------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [with_words, without_words])
@pytest.mark.parametrize("code", FINAL)
def test_what_cannot_get_better_by_itself_is_final(code: ExitCode, how: object) -> None:
    verdict = after(how(code))  # type: ignore[operator]
    assert verdict.retry_at is None
    assert not verdict.done
    assert verdict.report
    assert verdict.outcome.category == CATEGORIES[code]


def test_a_final_failure_that_the_run_itself_passed_on_needs_no_closing_run() -> None:
    assert not after(with_words(ExitCode.NOT_ENTITLED, told=True)).report


@pytest.mark.parametrize("how", [with_words, without_words])
@pytest.mark.parametrize(("code", "schedule"), RETRIED)
def test_what_may_get_better_is_tried_again_by_its_own_schedule(
    code: ExitCode, schedule: tuple[float, ...], how: object
) -> None:
    known = RECORD
    for wait in schedule:
        verdict = after(how(code), known)  # type: ignore[operator]
        assert verdict.retry_at == NOW + wait
        assert not verdict.report
        known = replace(known, failures=verdict.failures or {})
    last = after(how(code), known)  # type: ignore[operator]
    assert last.retry_at is None
    assert last.outcome.category == CATEGORIES[code]


@pytest.mark.parametrize("code", [ExitCode.BUG, ExitCode.TEMPORARY, ExitCode.STOPPED])
def test_a_used_up_budget_is_passed_on_by_a_closing_run(code: ExitCode) -> None:
    assert after(with_words(code), replace(RECORD, failures={CATEGORIES[code]: 99})).report


def test_a_webhook_that_was_never_taken_has_nothing_left_to_report() -> None:
    """The row says completed already; a failure event would contradict it."""
    known = replace(RECORD, failures={CATEGORIES[ExitCode.NOT_DELIVERED]: len(LIMITS.webhook)})
    verdict = after(with_words(ExitCode.NOT_DELIVERED), known)
    assert verdict.retry_at is None
    assert not verdict.report


def test_the_table_of_exit_codes_is_whole() -> None:
    assert {ExitCode.DONE, *FINAL, *(code for code, _ in RETRIED)} == set(ExitCode)


def test_the_webhook_is_redelivered_for_about_a_day() -> None:
    hours = sum(LIMITS.webhook) / 3600
    assert 23 <= hours <= 26
    assert list(LIMITS.webhook) == sorted(LIMITS.webhook)


# --- silent deaths --------------------------------------------------------------------------------
SILENT = [
    ending(137, reason="OOMKilled"),
    ending(137, reason="Killed"),
    ending(None, reason="Evicted"),
    ending(None, reason="Deleted"),
    ending(None, reason="BackoffLimitExceeded"),
    ending(139),
    ending(1),
    ending(0),
    ending(None),
]


@pytest.mark.parametrize("how", SILENT, ids=str)
def test_a_death_without_a_word_is_tried_again_and_then_it_is_a_poison_order(how: Ending) -> None:
    known = RECORD
    for wait in LIMITS.crash:
        verdict = after(how, known)
        assert verdict.outcome.category == CRASHED
        assert verdict.retry_at == NOW + wait
        known = replace(known, failures=verdict.failures or {})
    last = after(how, known)
    assert last.retry_at is None
    assert last.report


@pytest.mark.parametrize("how", SILENT, ids=str)
def test_a_death_without_a_word_is_described_by_what_is_known(how: Ending) -> None:
    summary = after(how).outcome.summary
    assert how.reason in summary
    assert how.exit is None or str(how.exit) in summary


@pytest.mark.parametrize("how", [ending(143, "stopped"), ending(143), ending(137)], ids=str)
def test_a_run_that_was_evicted_for_its_own_use_of_room_is_not_restarted_for_free(
    how: Ending,
) -> None:
    """It would fill its room again at once. All that it knows itself is that it was stopped."""
    said = 'Usage of EmptyDir volume "tmp" exceeds the limit "1Gi".'
    verdict = after(replace(how, reason="Evicted", said=said))
    assert verdict.outcome.category == CRASHED
    assert verdict.retry_at == NOW + LIMITS.crash[0]
    assert 'exceeds the limit "1Gi")' in verdict.outcome.summary
    assert "JOB_TMP_SIZE" in verdict.outcome.advice


def test_out_of_memory_comes_with_a_cure() -> None:
    assert "memory" in after(ending(137, reason="OOMKilled")).outcome.advice


@pytest.mark.parametrize(
    "how",
    [
        ending(None, reason="DeadlineExceeded"),
        ending(143, "stopped", reason="DeadlineExceeded"),
        ending(143, reason="DeadlineExceeded"),
    ],
    ids=str,
)
def test_a_run_that_took_too_long_is_told_so_and_not_restarted_for_free(how: Ending) -> None:
    """All that the run itself knows is that it was told to stop."""
    verdict = after(how)
    assert verdict.outcome.category == DEADLINE
    assert "RUN_DEADLINE" in verdict.outcome.advice
    assert verdict.retry_at == NOW + LIMITS.crash[0]


@pytest.mark.parametrize("category", ["done", "cancelled"])
def test_last_words_that_a_failed_run_cannot_mean_are_not_believed(category: str) -> None:
    """Taken at its word, "done" would lose the task: never retried, never removed."""
    verdict = after(ending(1, category))
    assert verdict.outcome.category == CRASHED
    assert verdict.retry_at is not None


def test_words_of_a_newer_program_are_tried_again_as_a_passing_failure() -> None:
    verdict = after(ending(79, "moonphase"))
    assert verdict.outcome.category == "moonphase"
    assert verdict.retry_at == NOW + LIMITS.temporary[0]


# --- taken away by others -------------------------------------------------------------------------
TAKEN = [
    Ending(None, None, "NodeLost", True, "PodGC: node no longer exists"),
    Ending(143, Outcome("stopped", "Told to stop."), "EvictionByEvictionAPI", True),
    Ending(None, None, "Disrupted", True),
    Ending(75, Outcome("temporary", "Connection reset."), "PreemptionByScheduler", True),
    Ending(137, None, "Evicted", True, "The node was low on resource: memory."),
]


@pytest.mark.parametrize("how", TAKEN, ids=str)
def test_what_the_cluster_takes_away_goes_on_for_free_but_not_for_ever(how: Ending) -> None:
    """Whatever the stopped program made of it; no other budget is touched."""
    known = replace(RECORD, failures={"temporary": 2, "crashed": 2, "stopped": 9})
    for wait in free_restarts(LIMITS.stopped):
        verdict = after(how, known)
        assert verdict.outcome.category == DISRUPTED
        assert verdict.retry_at == NOW + wait
        known = replace(known, failures=verdict.failures or {})
    last = after(how, known)
    assert (last.retry_at, last.report, last.outcome.category) == (None, True, DISRUPTED)
    counts = dict(last.failures or {})
    assert counts.pop(DISRUPTED) == LIMITS.stopped + 1
    assert counts == {"temporary": 2, "crashed": 2, "stopped": 9}


@pytest.mark.parametrize("how", TAKEN, ids=str)
def test_what_the_cluster_says_of_it_is_repeated(how: Ending) -> None:
    outcome = after(how).outcome
    assert how.reason in outcome.summary
    assert how.said.rstrip(".") in outcome.summary
    assert outcome.advice


def test_what_a_run_has_told_already_is_believed_even_if_it_was_taken_away() -> None:
    """Its row says failed; another run could not change that."""
    told = Outcome("not_entitled", "No such course.", exit=66, told=True)
    assert after(Ending(66, told, "EvictionByEvictionAPI", True)).outcome == told


def test_free_restarts_come_at_once_and_then_less_and_less_often() -> None:
    waits = free_restarts(20)
    assert len(waits) == 20
    assert waits[:6] == (0.0, 0.0, 0.0, 10.0, 20.0, 40.0)
    assert list(waits) == sorted(waits)
    assert max(waits) == 300
    assert free_restarts(0) == ()
    assert free_restarts(2) == (0.0, 0.0)
    assert len(free_restarts(100_000)) == 100_000


def test_a_run_that_others_remove_starts_again_but_not_for_ever() -> None:
    known = RECORD
    for _ in range(LIMITS.stopped + 1):
        verdict = judge_removed(known, LIMITS, NOW)
        assert verdict.retry_at == NOW
        known = replace(known, failures=verdict.failures or {})
    last = judge_removed(known, LIMITS, NOW)
    assert (last.retry_at, last.report, last.outcome.category) == (None, True, REMOVED)
    assert last.outcome.advice


def test_a_refused_run_ends_for_good_in_the_refusers_words() -> None:
    """Its closing run is asked for all the same; refused too, that is told as well."""
    error = Refused("Not on a Sunday.", advice="Ask again on Monday.")
    verdict = judge_refused(error, RECORD, closing=False)
    assert (verdict.retry_at, verdict.report) == (None, True)
    assert verdict.outcome == Outcome(REFUSED, "Not on a Sunday.", "Ask again on Monday.")
    known = replace(RECORD, outcome=Judged(REFUSED, "Not on a Sunday.", report=True))
    both = judge_refused(Refused("Nor this."), known, closing=True)
    assert (both.retry_at, both.report, both.outcome.category) == (None, False, REFUSED)
    assert both.outcome.summary == "Not on a Sunday. Not passed on: Nor this."


# --- waits and budgets ----------------------------------------------------------------------------
def test_a_wait_that_was_asked_for_is_kept_when_it_is_longer() -> None:
    assert after(with_words(ExitCode.TEMPORARY, retry_after=4000.0)).retry_at == NOW + 4000


def test_a_wait_that_was_asked_for_does_not_shorten_the_schedule() -> None:
    verdict = after(with_words(ExitCode.TEMPORARY, retry_after=1.0))
    assert verdict.retry_at == NOW + LIMITS.temporary[0]


@pytest.mark.parametrize("wait", [1e9, float("inf")])
def test_a_wait_of_years_is_cut_to_a_day(wait: float) -> None:
    verdict = after(with_words(ExitCode.TEMPORARY, retry_after=wait))
    assert verdict.retry_at == NOW + LONGEST_WAIT


def test_budgets_are_kept_per_cause() -> None:
    """A flaky webhook must not eat the retries of a download."""
    known = replace(RECORD, failures={"temporary": 99, "stopped": 3})
    verdict = after(with_words(ExitCode.NOT_DELIVERED), known)
    assert verdict.retry_at == NOW + LIMITS.webhook[0]
    assert verdict.failures == {"temporary": 99, "stopped": 3, "webhook_not_delivered": 1}


def test_with_empty_schedules_nothing_is_tried_again() -> None:
    limits = Limits(temporary=(), webhook=(), crash=(), stopped=0)
    for code, _ in RETRIED:
        assert judge(FAILED, with_words(code), RECORD, limits, NOW).retry_at is None
    assert judge(FAILED, ending(137), RECORD, limits, NOW).retry_at is None


# --- closing runs ---------------------------------------------------------------------------------
OWED = replace(RECORD, outcome=Judged("auth_expired", "Token refused.", "Renew it.", report=True))
CLOSING = run(2, Phase.FAILED, closing=True)


def test_a_closing_run_that_succeeded_leaves_the_outcome_as_it_is() -> None:
    passed_on = judge_report(replace(CLOSING, phase=Phase.SUCCEEDED), ending(0), OWED, LIMITS, NOW)
    assert passed_on.retry_at is None
    assert not passed_on.report
    assert not passed_on.done
    outcome = passed_on.outcome
    assert (outcome.category, outcome.summary) == ("auth_expired", "Token refused.")
    assert outcome.advice == "Renew it."


def test_a_closing_run_that_failed_is_tried_again_and_then_given_up_with_a_word() -> None:
    known = OWED
    for wait in LIMITS.temporary:
        verdict = judge_report(CLOSING, ending(75, "temporary"), known, LIMITS, NOW)
        assert verdict.report
        assert verdict.retry_at == NOW + wait
        assert verdict.outcome.category == "auth_expired"
        known = replace(known, failures=verdict.failures or {})
    last = judge_report(CLOSING, ending(75, "temporary"), known, LIMITS, NOW)
    assert last.retry_at is None
    assert not last.report
    assert "Token refused." in last.outcome.summary
    assert "It was temporary." in last.outcome.summary


@pytest.mark.parametrize(
    "how", [with_words(ExitCode.BAD_INPUT), Ending(76, Outcome(WEBHOOK_REFUSED, "answered 400"))]
)
def test_a_closing_run_that_fails_for_good_is_not_tried_again(how: Ending) -> None:
    """A receiver that refuses the event is not asked again and again either."""
    last = judge_report(CLOSING, how, OWED, LIMITS, NOW)
    assert (last.retry_at, last.report) == (None, False)
    assert last.outcome.category == "auth_expired"
    assert how.words is not None
    assert last.outcome.summary == f"Token refused. Not passed on: {how.words.summary}"


def test_a_closing_run_that_is_tried_again_tells_why_and_says_nothing_twice() -> None:
    again = judge_report(CLOSING, ending(75, "temporary"), OWED, LIMITS, NOW)
    assert again.why == "It was temporary."
    known = Judged("temporary", "It was temporary.", report=True)
    spent = replace(OWED, outcome=known, failures={"report": len(LIMITS.temporary)})
    last = judge_report(CLOSING, ending(75, "temporary"), spent, LIMITS, NOW)
    assert last.outcome.summary.count("It was temporary") == 1


def test_foreign_words_get_an_end_before_ours_follow() -> None:
    assert sentence("answered 400: scripted") == "answered 400: scripted."
    assert sentence("It was so.") == "It was so."
    assert sentence("") == ""


def test_a_closing_run_has_a_budget_of_its_own() -> None:
    known = replace(OWED, failures={"temporary": 99})
    verdict = judge_report(CLOSING, ending(75, "temporary"), known, LIMITS, NOW)
    assert verdict.retry_at == NOW + LIMITS.temporary[0]
    assert verdict.failures == {"temporary": 99, "report": 1}


@pytest.mark.parametrize("how", [TAKEN[0], with_words(ExitCode.STOPPED)], ids=str)
def test_a_closing_run_that_is_taken_away_goes_on_for_free_but_not_for_ever(how: Ending) -> None:
    known = OWED
    for wait in free_restarts(LIMITS.stopped):
        verdict = judge_report(CLOSING, how, known, LIMITS, NOW)
        assert (verdict.retry_at, verdict.report) == (NOW + wait, True)
        assert "report" not in (verdict.failures or {})
        known = replace(known, failures=verdict.failures or {})
    last = judge_report(CLOSING, how, known, LIMITS, NOW)
    assert (last.retry_at, last.report) == (None, False)


def test_a_closing_run_without_a_known_outcome_still_reports_a_failure() -> None:
    verdict = judge_report(replace(CLOSING, phase=Phase.SUCCEEDED), ending(0), RECORD, LIMITS, NOW)
    assert verdict.outcome.category == CRASHED
    assert not verdict.done


def test_a_refused_webhook_is_kept_and_not_hammered() -> None:
    """The receiver said no: no run follows by itself, and no closing run, for the row is right."""
    words = replace(Outcome("webhook_refused", "answered 400", exit=76), told=True)
    verdict = judge(FAILED, Ending(exit=76, words=words), RECORD, LIMITS, NOW)
    assert verdict.retry_at is None
    assert not verdict.report
