"""The last words of a run: never too long, never lost, never a trap for who reads them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import errors
from contract.errors import CourseRunnerError
from contract.outcome import CATEGORIES, MESSAGE_LIMIT, ExitCode, Outcome

any_text = st.text(st.characters(exclude_categories=[]), max_size=40)
texts = st.builds(lambda text, times: text * times, any_text, st.sampled_from([1, 1, 1, 200]))
encodable = st.text(max_size=60)


@given(
    st.builds(
        Outcome,
        category=texts,
        summary=texts,
        advice=texts,
        exit=st.none() | st.integers(0, 255),
        step=texts,
        retry_after=st.none() | st.floats() | st.floats(0, 1e9),
        told=st.booleans(),
    )
)
def test_the_dump_is_never_over_2_kib_and_always_utf_8(outcome: Outcome) -> None:
    text = outcome.dump()
    assert len(text.encode("utf-8")) <= MESSAGE_LIMIT
    again = Outcome.parse(text)
    assert again is not None
    assert again.exit == outcome.exit


@given(
    st.builds(
        Outcome,
        category=encodable,
        summary=encodable,
        advice=encodable,
        exit=st.none() | st.sampled_from([int(code) for code in ExitCode]),
        step=st.sampled_from(["", "fetch", "announce"]),
        retry_after=st.none() | st.floats(0, 1e9),
        told=st.booleans(),
    )
)
def test_what_is_short_comes_back_the_same(outcome: Outcome) -> None:
    assert Outcome.parse(outcome.dump()) == outcome


def test_a_long_summary_is_cut_and_says_so() -> None:
    again = Outcome.parse(Outcome("temporary", "x" * 5000, "do this", 75, "fetch").dump())
    assert again is not None
    assert again.summary.startswith("x" * 100)
    assert again.summary.endswith("…")
    assert (again.advice, again.exit, again.step) == ("do this", 75, "fetch")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Killed",
        "Traceback (most recent call last):\n  File",
        "null",
        "[]",
        "{}",
        '{"category": 5}',
        '{"category": null}',
        '{"category": "temporary"',
        "[" * 2000,
        '{"category":' + "[" * 2000,
        "9" * 4500,
    ],
)
def test_what_a_crash_prints_is_no_outcome(text: str) -> None:
    assert Outcome.parse(text) is None


@given(st.text(max_size=300))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    Outcome.parse(text)
    Outcome.parse('{"category":"x","summary":' + text + "}")


@pytest.mark.parametrize(
    "wait", ["NaN", "Infinity", "-Infinity", "-1", "1e999", "9" * 400, "true", '"5"', "[]", "null"]
)
def test_a_wait_that_is_none_is_ignored(wait: str) -> None:
    """A wait of Infinity, taken at its word, would be a retry that never comes."""
    outcome = Outcome.parse(f'{{"category":"temporary","retry_after":{wait}}}')
    assert outcome is not None
    assert outcome.retry_after is None


@pytest.mark.parametrize("code", ["true", "1.5", '"75"', "-1", "256", "9" * 400])
def test_an_exit_code_that_is_none_is_ignored(code: str) -> None:
    outcome = Outcome.parse(f'{{"category":"temporary","exit":{code}}}')
    assert outcome is not None
    assert outcome.exit is None


def test_half_a_surrogate_pair_does_not_reach_what_cannot_encode_it() -> None:
    outcome = Outcome.parse('{"category":"x\\ud800","summary":"\\udfff","advice":"\\ud83d"}')
    assert outcome is not None
    (outcome.category + outcome.summary + outcome.advice).encode("utf-8")


def test_exit_codes_are_those_that_users_script_against() -> None:
    codes = {code.name: int(code) for code in ExitCode}
    assert codes == {
        "DONE": 0,
        "BAD_INPUT": 64,
        "AUTH_EXPIRED": 65,
        "NOT_ENTITLED": 66,
        "BLOCKED": 67,
        "BUG": 70,
        "VOLUME_FULL": 73,
        "TEMPORARY": 75,
        "NOT_DELIVERED": 76,
        "STOPPED": 143,
    }
    assert set(CATEGORIES) == set(ExitCode)
    assert len(set(CATEGORIES.values())) == len(ExitCode)


# --- errors become outcomes -----------------------------------------------------------------------
def every_error() -> list[CourseRunnerError]:
    """One of each class of the tree."""
    classes = [errors.Misconfigured, errors.AuthExpired, errors.NotEntitled, errors.Stopped]
    classes += [errors.BlockedByPlatform, errors.VolumeFull, errors.Temporary, errors.NotDelivered]
    plain: list[CourseRunnerError] = [kind("What, where.", advice="Do this.") for kind in classes]
    return [*plain, errors.BadMessage("No.", b"raw"), errors.BadSettings(["A is bad.", "B too."])]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_an_error_says_in_its_outcome_what_it_is_and_where(error: CourseRunnerError) -> None:
    error.step = "upload"
    outcome = error.outcome()
    assert outcome.exit == error.code != ExitCode.BUG
    assert outcome.category == CATEGORIES[error.code]
    assert (outcome.summary, outcome.advice) == (str(error), error.advice)
    assert outcome.step == "upload"
    assert json.loads(outcome.dump())["category"] == outcome.category


def test_a_wait_that_was_asked_for_is_part_of_the_outcome() -> None:
    assert errors.Temporary("Later.", retry_after=90).outcome().retry_after == 90


def test_whether_the_failure_was_passed_on_is_part_of_the_outcome() -> None:
    error = errors.NotEntitled("Not yours.")
    assert not error.outcome().told
    error.told = True
    assert error.outcome().told


def test_bad_settings_say_every_fault() -> None:
    error = errors.BadSettings(["A is bad.", "B too."])
    assert error.faults == ("A is bad.", "B too.")
    assert "A is bad. B too." in str(error)
