"""The same order again: run once, and the log says why not twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from contract import names
from dispatcher.admission import Decision, Do, decide
from dispatcher.executors import Holding, Phase
from dispatcher.record import CANCELLED, stamp
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


def admit(
    holding: Holding | None = None,
    *,
    memory: dict[str, str] | None = None,
    task_id: int | str = 999,
    **fields: object,
) -> Decision:
    """Decide about an order."""
    known = record(holding.volume) if holding else None
    return decide(task(task_id, **fields), holding, known, memory or {})


FORCED = {"force": True}


@pytest.mark.parametrize("ended", [done, failed])
def test_a_forced_order_that_was_handed_over_already_is_dropped(
    ended: Callable[..., Holding],
) -> None:
    """Its own mark is on the volume; with another's mark, or none, it is an order of its own."""
    again = ended(accepted="this one")
    known = record(again.volume)
    assert decide(task(force=True), again, known, {}, "this one").do is Do.DROP
    assert decide(task(force=True), again, known, {}, "another").do in (Do.RENEW, Do.RESUME)
    bare = ended()
    told = decide(task(force=True), bare, record(bare.volume), {}, "this one")
    assert told.do in (Do.RENEW, Do.RESUME)


BUSY = {
    "running": hold(volume(), run()),
    "running, a retry": hold(volume(attempt="2"), run(2)),
    "ended, not judged yet": hold(volume(), run(phase=Phase.FAILED)),
    "waiting for its retry": waiting(),
    "waiting, the retry is due": waiting(NOW - 1),
    "owing a closing run": reporting(),
}


def test_an_order_that_nothing_is_known_of_is_accepted() -> None:
    assert admit() == Decision(Do.ACCEPT)
    assert admit(hold()) == Decision(Do.ACCEPT)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("state", BUSY)
def test_what_is_under_way_is_not_run_twice_not_even_by_force(state: str, force: bool) -> None:
    decision = admit(BUSY[state], force=force)
    assert decision.do is Do.DROP
    assert where(BUSY[state]).value in decision.why


def test_an_order_whose_volume_was_made_before_a_crash_goes_on() -> None:
    assert admit(hold(volume())) == Decision(Do.ACCEPT)


def test_a_failed_task_whose_volume_is_kept_is_not_run_again_and_the_log_says_what_to_do() -> None:
    decision = admit(failed())
    assert decision.do is Do.DROP
    assert "So." in decision.why  # how it failed
    assert "course-runner retry 999" in decision.why
    assert '"force": true' in decision.why


def test_a_failed_task_goes_on_where_it_failed_when_forced() -> None:
    assert admit(failed(), **FORCED).do is Do.RESUME
    assert admit(failed(), email="other@example.com", **FORCED).do is Do.RESUME


OTHER_WISHES = [
    {"courseUrl": "https://www.udemy.com/course/another/"},
    {"quality": 360},
    {"captions": "all"},
    {"volumeSize": "50Gi"},
]


@pytest.mark.parametrize("wish", OTHER_WISHES, ids=lambda wish: next(iter(wish)))
def test_forced_with_other_wishes_a_failed_task_begins_anew_on_a_new_volume(
    wish: dict[str, object],
) -> None:
    """The old one holds another course, or is too small: going on there could only fail again."""
    assert admit(failed(), **wish, **FORCED).do is Do.RENEW
    assert admit(failed(), **wish).do is Do.DROP


def test_a_completed_task_whose_volume_is_still_there_is_not_run_again() -> None:
    decision = admit(done())
    assert decision.do is Do.DROP
    assert '"force": true' in decision.why


def test_a_completed_task_is_run_again_on_a_new_volume_when_forced() -> None:
    assert admit(done(), **FORCED).do is Do.RENEW


@pytest.mark.parametrize(
    "holding", [done(pinned="true"), failed(pinned="true")], ids=["done", "failed"]
)
def test_a_pinned_volume_is_not_given_up_for_a_forced_order(holding: Holding) -> None:
    decision = admit(holding, quality=360, **FORCED)
    assert decision.do is Do.DROP
    assert "pinned" in decision.why


def test_a_completed_task_is_remembered_when_nothing_is_held_any_more() -> None:
    memory = {"status": "completed", "updated": "1768233600.0"}
    decision = admit(memory=memory)
    assert decision.do is Do.DROP
    assert "2026-01-12 at 16:00" in decision.why
    assert admit(memory=memory, **FORCED) == Decision(Do.ACCEPT)


@pytest.mark.parametrize("updated", ["", "soon", "nan", "inf", "1e30"])
def test_a_memory_without_a_usable_time_still_counts(updated: str) -> None:
    assert admit(memory={"status": "completed", "updated": updated}).do is Do.DROP


@pytest.mark.parametrize("status", ["failed", "cancelled", "running", "queued", ""])
def test_only_a_completed_task_is_remembered_without_its_volume(status: str) -> None:
    """A failed one whose volume expired is an order like any other."""
    assert admit(memory={"status": status, "updated": "1"}) == Decision(Do.ACCEPT)


def test_a_cancelled_task_is_not_revived_for_its_row_says_cancelled_for_good() -> None:
    held = volume(outcome=judged(CANCELLED), expires_at=stamp(NOW + 9))
    assert admit(hold(held)).do is Do.DROP
    assert admit(hold(held), **FORCED).do is Do.DROP


@pytest.mark.parametrize(
    "holding",
    [
        hold(replace(volume(), deleting=True)),
        hold(replace(volume(), deleting=True), run()),
        hold(None, run()),
        hold(volume(message="")),
    ],
    ids=["volume going", "volume going, run alive", "run without volume", "unreadable"],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_is_still_going_away_is_waited_for(holding: Holding, force: bool) -> None:
    assert admit(holding, force=force).do is Do.WAIT


def test_two_ids_of_equal_text_are_one_task() -> None:
    held = hold(volume(task("999")), run())
    assert admit(held, task_id=999).do is Do.DROP
    assert names.object_name(task(999).key) == names.object_name(task("999").key)
