"""Where a task stands is read from its volume and its run, whatever either of them holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import names
from dispatcher.executors import Holding, Phase, Volume
from dispatcher.record import Judged, Stand, read, stamp, stand
from tests.dispatcher.tasks import (
    NOW,
    done,
    failed,
    hold,
    judged,
    record,
    reporting,
    run,
    task,
    volume,
    waiting,
    where,
)

BROKEN_TASK = volume(message="{}")

STANDS = [
    ("a volume without a run is to be started", hold(volume()), Stand.START),
    ("its run is alive", hold(volume(), run()), Stand.ACTIVE),
    ("a live run counts whatever the marks say", replace(waiting(), run=run(2)), Stand.ACTIVE),
    ("the run ended, no verdict", hold(volume(), run(phase=Phase.FAILED)), Stand.ENDED),
    ("the run succeeded, no verdict", hold(volume(), run(phase=Phase.SUCCEEDED)), Stand.ENDED),
    (
        "a later run ended than was judged",
        replace(waiting(), run=run(2, Phase.FAILED)),
        Stand.ENDED,
    ),
    ("a retry is due at a time", waiting(), Stand.WAITING),
    ("also when its run is gone", replace(waiting(), run=None), Stand.WAITING),
    ("a retry was begun", hold(volume(attempt="2"), run(phase=Phase.FAILED)), Stand.START),
    ("a closing run is owed", reporting(), Stand.REPORT),
    (
        "a run was given up, and has delivered after all",
        replace(reporting(), run=run(phase=Phase.SUCCEEDED)),
        Stand.ENDED,
    ),
    ("failed for good", failed(), Stand.FAILED),
    ("also when its run is gone", replace(failed(), run=None), Stand.FAILED),
    ("every step done", done(), Stand.DONE),
    ("a run without a volume", hold(None, run()), Stand.STRAY),
    ("nothing at all", hold(), Stand.STRAY),
    ("a volume that is going away", hold(replace(volume(), deleting=True), run()), Stand.STRAY),
    ("a volume whose order cannot be read", hold(BROKEN_TASK, run()), Stand.STRAY),
    ("a volume without marks", hold(Volume("v", NOW, {})), Stand.STRAY),
]


@pytest.mark.parametrize(("holding", "stands"), [s[1:] for s in STANDS], ids=[s[0] for s in STANDS])
def test_a_task_stands_where_its_volume_and_run_say(holding: Holding, stands: Stand) -> None:
    assert where(holding) is stands


def test_a_record_is_read_from_the_marks() -> None:
    failures = '{"temporary":2,"crashed":1}'
    held = volume(
        task("a b"),
        attempt="3",
        outcome=judged("temporary", 2),
        retry_at=stamp(NOW),
        expires_at=stamp(NOW + 1),
        released="2026-01-12T16:00:00+00:00",
        pinned="true",
        failures=failures,
    )
    found = read(held)
    assert found.task == task("a b")
    assert (found.attempt, found.retry_at, found.expires_at) == (3, NOW, NOW + 1)
    assert found.released
    assert found.pinned
    assert found.failures == {"temporary": 2, "crashed": 1}
    assert found.outcome == Judged("temporary", "So.", at=NOW - 60, run="run-2")


@given(st.builds(Judged, st.text(min_size=1), st.text(), st.text(), st.floats(0, 1e10), st.text()))
def test_a_verdict_written_is_the_verdict_read(verdict: Judged) -> None:
    assert read(volume(outcome=verdict.dump())).outcome == verdict


MARKS = [names.MESSAGE, names.ATTEMPT, names.OUTCOME, names.RETRY_AT, names.EXPIRES_AT]
MARKS += [names.RELEASED, names.PINNED, names.FAILURES]
NASTY = ["", "nan", "inf", "-inf", "1e400", "-5", "1.5", "[]", "{}", "null", "[" * 5000, "9" * 5000]
NASTY += [
    '{"category":"x","at":1e999}',
    '{"category":[1]}',
    '{"temporary":-9}',
    '{"a":true}',
    "\x00",
]
NASTY += ['{"category":"x","at":' + "9" * 400 + "}", '{"category":"x","summary":{"a":1}}']


@given(st.dictionaries(st.sampled_from(MARKS), st.sampled_from(NASTY) | st.text(max_size=30)))
def test_marks_that_somebody_edited_never_stop_the_dispatcher(marks: dict[str, str]) -> None:
    held = replace(volume(), marks={**volume().marks, **marks})
    found = read(held)
    assert found.attempt >= 1
    for moment in (found.retry_at, found.expires_at):
        assert moment is None or abs(moment) < 1e12
    assert all(count >= 0 for count in found.failures.values())
    assert isinstance(stand(hold(held, run()), found), Stand)


@pytest.mark.parametrize("word", ["false", "False", "no", "0", "off", "", " "])
def test_a_mark_that_is_set_to_no_is_not_set(word: str) -> None:
    found = record(volume(pinned=word, released=word))
    assert found is not None
    assert not found.pinned
    assert not found.released


@pytest.mark.parametrize("word", ["true", "yes", "1", "2026-01-12T16:00:00+00:00", "keep: audit"])
def test_any_other_mark_is_set(word: str) -> None:
    found = record(volume(pinned=word, released=word))
    assert found is not None
    assert found.pinned
    assert found.released
