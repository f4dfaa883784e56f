"""What may be removed: never what anybody still needs, and of a task the run before the volume."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import names
from dispatcher.executors import Holding, Phase, Run, Volume
from dispatcher.record import CANCELLED, Stand, read, stamp, stand
from dispatcher.retention import RUN, VOLUME, Removal, candidates, choose
from dispatcher.settings import Limits
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
)

LIMITS = Limits(min_age=60)


def chosen(*held: Holding, needed: set[str] | None = None, now: float = NOW) -> list[Removal]:
    """What retention chooses."""
    seen = [(holding, record(holding.volume)) for holding in held]
    return choose(seen, needed or set(), LIMITS, now)


def expired(holding: Holding) -> Holding:
    """The same, kept long enough."""
    assert holding.volume is not None
    marks = {**holding.volume.marks, names.EXPIRES_AT: stamp(NOW - 1)}
    return replace(holding, volume=replace(holding.volume, marks=marks))


# --- what may go ----------------------------------------------------------------------------------
def test_of_an_expired_task_the_run_goes_first() -> None:
    assert [(r.what, r.id) for r in chosen(done())] == [(RUN, "run-1")]
    assert [(r.what, r.id) for r in chosen(expired(failed()))] == [(RUN, "run-1")]


def test_the_volume_goes_when_its_run_is_really_gone() -> None:
    going = done()
    assert going.run is not None
    assert chosen(replace(going, run=replace(going.run, deleting=True))) == []
    assert [(r.what, r.id) for r in chosen(replace(going, run=None))] == [(VOLUME, "volume-1")]


def test_a_removal_says_why() -> None:
    assert "completed" in chosen(done())[0].reason
    assert "failed" in chosen(expired(failed()))[0].reason


def test_a_cancelled_task_goes_like_a_failed_one() -> None:
    held = volume(outcome=judged(CANCELLED), expires_at=stamp(NOW - 1))
    assert [r.what for r in chosen(hold(held))] == [VOLUME]


def test_a_run_without_a_volume_goes() -> None:
    assert [r.what for r in chosen(hold(None, run()))] == [RUN]


# --- what may not ---------------------------------------------------------------------------------
KEPT = {
    "not expired": done(NOW + 1),
    "failed, still kept": failed(),
    "pinned": done(pinned="true"),
    "without an end": hold(volume(outcome=judged("done"))),
    "running": hold(volume(expires_at=stamp(NOW - 1)), run()),
    "running again after it was completed": replace(done(), run=run(2)),
    "ended without a verdict": hold(volume(expires_at=stamp(NOW - 1)), run(phase=Phase.FAILED)),
    "released, no verdict yet": hold(volume(released="true"), run(phase=Phase.SUCCEEDED)),
    "waiting": expired(waiting()),
    "owing a closing run": expired(reporting()),
    "accepted, no run yet": hold(volume(expires_at=stamp(NOW - 1))),
    "going already": replace(done(), volume=replace(volume(), deleting=True)),
    "of an unreadable order": hold(volume(message="?", expires_at=stamp(NOW - 1))),
    "younger than the floor": replace(done(), volume=replace(done().volume, created=NOW - 59)),
    "a young run without a volume": hold(None, run(started=NOW - 59)),
    "a run without a volume, never started": hold(None, run(started=None)),
    "a run without a volume, going already": hold(None, run(deleting=True)),
    "nothing": hold(),
}


@pytest.mark.parametrize("why", KEPT)
def test_it_is_kept(why: str) -> None:
    assert chosen(KEPT[why]) == []


def test_it_is_kept_while_the_queue_speaks_of_its_task() -> None:
    going = done()
    assert chosen(going, needed={going.name}) == []
    assert chosen(going, needed={"course-1000"}) != []


def test_a_floor_of_zero_is_a_choice() -> None:
    young = replace(done(), volume=replace(done().volume, created=NOW))
    seen = [(young, record(young.volume))]
    assert candidates(seen, Limits(min_age=0), NOW)


# --- the law --------------------------------------------------------------------------------------
def mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    """The value that lets a volume go, and now and then one that may not."""
    return st.sampled_from([usual] * 12 + list(others))


PAST, FUTURE = stamp(NOW - 1), stamp(NOW + 1)
OUTCOMES = [judged(c) for c in ("temporary", "auth_expired", CANCELLED, "webhook_not_delivered")]
marks = st.fixed_dictionaries(
    {
        names.MESSAGE: mostly(task().dump(), "no order"),
        names.ATTEMPT: mostly("1", "2", "3"),
        names.OUTCOME: mostly(
            judged("done"), *OUTCOMES, judged("x", report=True), judged("x", 2), ""
        ),
        names.EXPIRES_AT: mostly(PAST, FUTURE, "", "soon"),
        names.RETRY_AT: mostly("", PAST, FUTURE),
        names.RELEASED: mostly("", "true"),
        names.PINNED: mostly("", "false", "true"),
    }
)
volumes = st.builds(
    Volume,
    st.just("volume-1"),
    st.floats(NOW - 1e6, NOW - 60) | st.floats(NOW - 60, NOW + 10),
    marks,
    mostly(False, True),
)
runs = st.integers(1, 3).flatmap(
    lambda n: st.builds(
        Run,
        st.just(f"run-{n}"),
        st.just(n),
        st.sampled_from(Phase),
        st.booleans(),
        st.none() | st.floats(NOW - 1e6, NOW),
        st.none(),
        st.booleans(),
    )
)
holdings = st.builds(
    Holding,
    st.sampled_from(["course-1", "course-2"]),
    st.none() | volumes | volumes | volumes,
    st.none() | st.none() | runs,
)
held_lists = st.lists(holdings, max_size=2, unique_by=lambda holding: holding.name)


@settings(max_examples=600)
@given(held_lists, st.sets(st.sampled_from(["course-1", "course-2"])))
def test_no_volume_is_chosen_that_anybody_needs(held: list[Holding], needed: set[str]) -> None:
    """Not of a queued, claimed, active or waiting task; not pinned; not younger than the floor."""
    seen = {
        holding.name: (holding, read(holding.volume) if holding.volume else None)
        for holding in held
    }
    for removal in choose(seen.values(), needed, LIMITS, NOW):
        holding, known = seen[removal.name]
        if removal.what == VOLUME:
            assert known is not None
            assert removal.name not in needed
            assert stand(holding, known) in (Stand.DONE, Stand.FAILED)
            assert known.outcome is not None
            assert not known.outcome.report
            assert known.outcome.category == "done" or known.retry_at is None
            assert known.task is not None
            assert not known.pinned
            assert known.expires_at is not None
            assert known.expires_at <= NOW
            assert holding.volume is not None
            assert holding.volume.created <= NOW - LIMITS.min_age
            assert removal.id == holding.volume.id
            assert holding.run is None


@given(held_lists)
def test_no_live_run_is_chosen_that_still_has_its_volume(held: list[Holding]) -> None:
    seen = [(holding, read(holding.volume) if holding.volume else None) for holding in held]
    by_id = {(holding.name, holding.run.id): holding for holding in held if holding.run}
    for removal in choose(seen, set(), LIMITS, NOW):
        if removal.what == RUN:
            holding = by_id[removal.name, removal.id]
            assert holding.run is not None
            assert holding.volume is None or holding.run.phase is not Phase.ACTIVE
            assert not holding.run.deleting


@given(held_lists, st.sets(st.sampled_from(["course-1", "course-2"])))
def test_what_the_queue_says_only_ever_saves(held: list[Holding], needed: set[str]) -> None:
    seen = [(holding, read(holding.volume) if holding.volume else None) for holding in held]
    assert {r.name for r in choose(seen, needed, LIMITS, NOW)}.isdisjoint(needed)
    assert set(choose(seen, needed, LIMITS, NOW)) <= set(candidates(seen, LIMITS, NOW))
