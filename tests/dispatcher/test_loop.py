"""The loop with everything real: every order ends once, whatever comes in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from contract import names
from dispatcher.record import Stand
from dispatcher.settings import Limits
from tests.dispatcher.tasks import order
from tests.dispatcher.town import QUEUE, Town

LIMITS = Limits(max_active=3, keep_completed=300, min_age=60)


@pytest.fixture
def place(redis7: str, tmp_path: Path) -> Iterator[Town]:
    """A town whose dispatcher has not started yet."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    town = Town(redis7, tmp_path, LIMITS)
    yield town
    town.leave()


@pytest.fixture
def town(place: Town) -> Town:
    """A town whose dispatcher is at work."""
    place.start()
    return place


# --- the happy path -------------------------------------------------------------------------------
def test_an_order_becomes_one_run_and_ends_completed(town: Town) -> None:
    town.push(999, email="test@example.com")
    town.until_ended(999, "completed")
    town.until_stand(999, Stand.DONE)
    assert town.starts(999) == [("run", 1)]
    shown = town.store.show("999")
    assert (shown["percent"], shown["email"]) == ("100.0", "test@example.com")
    town.assert_lawful()


def test_the_run_gets_the_order_whole(town: Town) -> None:
    town.push("a/b ü", tenant={"x": [1]}, quality=720)
    town.until_ended("a/b ü", "completed")
    (entry,) = town.journal("start")
    assert (entry["task"], entry["message"]["tenant"]) == ("a/b ü", {"x": [1]})


def test_no_more_runs_than_slots_and_the_backlog_stays_in_the_queue(place: Town) -> None:
    for number in (1, 2, 3):
        place.push(number, {"1": "hold"})
    place.start(max_active=2)
    place.until(lambda: len(place.journal("start")) == 2, "two runs start")
    place.turns()
    assert len(place.journal("start")) == 2
    assert (place.queued(), place.claimed()) == (1, 0)
    place.open(1)
    place.until(lambda: place.starts(3), "the third run starts")
    place.turns()
    running = [n for n in (1, 2, 3) if place.stand(n) is Stand.ACTIVE]
    assert running == [2, 3]


def test_orders_are_taken_oldest_first(place: Town) -> None:
    for number in range(5):
        place.push(number)
    place.start(max_active=1)
    place.until_ended(4, "completed")
    assert [entry["task"] for entry in place.journal("start")] == list("01234")


# --- what is no order, and what is a repeat -------------------------------------------------------
def test_what_is_no_order_goes_to_the_dead_list_and_keeps_nothing_up(place: Town) -> None:
    bad = [b"no json", b"\xff\xfe", b"{}", b'{"taskId":1}', order(1, email="half \ud800 pair")]
    place.raw.lpush(QUEUE, *bad)
    place.push(2)
    place.start(max_active=1)
    place.until_ended(2, "completed")
    place.until(lambda: len(place.store.dead()) == len(bad), "all are in the dead list")
    assert place.journal("start", 1) == []
    place.assert_lawful()


def test_the_same_message_many_times_is_one_run(place: Town) -> None:
    for _ in range(4):
        place.push(1, {"1": "hold"})
    place.push(1, {"1": "hold"}, email="another@example.com")
    place.push("1", {"1": "hold"})
    place.start()
    place.until(lambda: place.queued() + place.claimed() == 0, "all are settled")
    place.open(1)
    place.until_ended(1, "completed")
    assert place.starts(1) == [("run", 1)]
    assert place.log("not run twice") >= 1
    place.assert_lawful()


def test_a_repeat_within_the_remembered_time_is_not_run_and_the_log_says_why(town: Town) -> None:
    town.push(1)
    town.until_ended(1, "completed")
    town.until_stand(1, Stand.DONE)
    town.push(1)  # its volume is still there
    town.until(lambda: town.log("Task 1 is completed; push it with"), "the log says why")
    town.clock.shift = 3600
    town.until_stand(1, None)
    town.push(1)  # the board remembers
    town.until(lambda: town.log("Task 1 was completed on"), "the log says why")
    town.turns()
    assert town.starts(1) == [("run", 1)]
    town.assert_lawful()


def test_the_same_forced_order_twice_in_a_row_is_two_runs(town: Town) -> None:
    """Its mark is gone when it is settled, and no other order is taken for it."""
    for count in (1, 2, 3):
        town.push(1, force=True)
        town.until(lambda count=count: len(town.starts(1)) == count, f"run {count} starts")
        town.until(lambda: town.stand(1) is Stand.DONE and not town.claimed(), "it is over")
    town.turns()
    assert len(town.starts(1)) == 3


def test_a_completed_task_is_run_again_by_force_on_a_new_volume(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    before = town.holding(1)
    town.push(1, force=True)
    town.until(lambda: len(town.starts(1)) == 2, "it runs again")
    town.until_ended(1, "completed")
    after = town.holding(1)
    assert before and before.volume and after and after.volume
    assert before.volume.id != after.volume.id
    assert town.starts(1) == [("run", 1), ("run", 1)]
    assert town.claimed() == 0


# --- retries --------------------------------------------------------------------------------------
def test_a_passing_failure_is_tried_again_when_its_time_has_come_and_not_before(town: Town) -> None:
    town.push(1, {"1": "exit 75", "2": "exit 75"})
    town.until_stand(1, Stand.WAITING)
    town.turns()
    assert town.starts(1) == [("run", 1)]
    assert town.status(1) == "waiting"
    town.clock.shift += 301
    town.until(lambda: len(town.starts(1)) == 2, "the second run")
    town.until_stand(1, Stand.WAITING)
    town.clock.shift += 1801
    town.until_ended(1, "completed")
    assert town.starts(1) == [("run", 1), ("run", 2), ("run", 3)]
    town.assert_lawful()


def test_a_waiting_task_holds_no_slot(place: Town) -> None:
    place.push(1, {"1": "exit 75"})
    place.push(2)
    place.start(max_active=1)
    place.until_ended(2, "completed")
    assert place.stand(1) is Stand.WAITING


def test_an_undelivered_webhook_is_delivered_later_on_the_same_volume(town: Town) -> None:
    town.push(1, {"1": "exit 76"})
    town.until_stand(1, Stand.WAITING)
    holding = town.holding(1)
    town.clock.shift += 61
    town.until_ended(1, "completed")
    assert holding and holding.volume
    assert town.holding(1).volume.id == holding.volume.id  # type: ignore[union-attr]
    assert town.starts(1) == [("run", 1), ("run", 2)]


def test_a_webhook_that_is_never_taken_ends_without_a_closing_run(town: Town) -> None:
    town.stop()
    town.start(webhook=())
    town.push(1, {"1": "exit 76"})
    town.until_ended(1, "failed")
    town.turns()
    assert town.starts(1) == [("run", 1)]


def test_a_run_that_dies_without_a_word_is_tried_again_and_then_reported(town: Town) -> None:
    town.push(1, dict.fromkeys("1234", "die"))
    for number, wait in enumerate(LIMITS.crash, 1):
        town.until(lambda number=number: len(town.starts(1)) == number, f"run {number}")
        town.until_stand(1, Stand.WAITING)
        town.clock.shift += wait + 1
    town.until_ended(1, "failed")
    assert town.starts(1) == [("run", 1), ("run", 2), ("run", 3), ("run", 4), ("report", 5)]
    (report,) = [e for e in town.journal("start") if e["kind"] == "report"]
    assert report["report"]["category"] == "crashed"
    assert "Killed" in report["report"]["summary"]


def test_a_stopped_run_goes_on_at_once(town: Town) -> None:
    town.push(1, {"1": "hold"})
    town.until_stand(1, Stand.ACTIVE)
    town.until(lambda: town.starts(1), "it runs")
    os.kill(town.journal("start")[0]["pid"], signal.SIGTERM)  # as a drained node does
    town.until_ended(1, "completed")
    assert town.starts(1) == [("run", 1), ("run", 2)]
    assert town.log("the next run is in 0 s") == 1


# --- failures for good ----------------------------------------------------------------------------
def test_a_failure_for_good_is_reported_and_its_volume_is_kept(town: Town) -> None:
    town.push(1, {"1": "exit 65"})
    town.until_ended(1, "failed")
    town.until_stand(1, Stand.FAILED)
    assert town.starts(1) == [("run", 1), ("report", 2)]
    (report,) = [e for e in town.journal("start") if e["kind"] == "report"]
    assert report["report"]["category"] == "auth_expired"
    town.clock.shift = 86400
    town.turns()
    assert town.stand(1) is Stand.FAILED
    assert town.store.show("1")["category"] == "auth_expired"
    town.assert_lawful()


def test_a_failure_that_the_run_told_itself_needs_no_closing_run(town: Town) -> None:
    town.push(1, {"1": "told 65"})
    town.until_ended(1, "failed")
    town.until_stand(1, Stand.FAILED)
    town.turns()
    assert town.starts(1) == [("run", 1)]


def test_a_closing_run_that_fails_is_tried_again(town: Town) -> None:
    town.push(1, {"1": "exit 65", "report": "exit 75"})
    town.until(lambda: town.starts(1) == [("run", 1), ("report", 2)], "a closing run")
    town.until_stand(1, Stand.REPORT)
    town.until(lambda: town.log("its failure is not passed on:"), "the log says so")
    assert town.log("Files are kept") == 0
    town.clock.shift += 301
    town.until(lambda: len(town.starts(1)) == 3, "another closing run")
    assert town.starts(1)[2] == ("report", 3)
    assert town.status(1) == "reporting"


def test_a_failed_task_is_not_run_again_by_its_message_but_goes_on_by_force(town: Town) -> None:
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)
    holding = town.holding(1)
    town.push(1)
    town.until(lambda: town.log("has failed and its files are kept"), "the log says why")
    town.turns()
    assert town.starts(1) == [("run", 1)]
    town.push(1, force=True, email="mended@example.com")
    town.until_ended(1, "completed")
    assert town.starts(1) == [("run", 1), ("run", 2)]
    assert town.journal("start", 1)[1]["message"]["email"] == "mended@example.com"
    assert holding and holding.volume
    assert town.holding(1).volume.id == holding.volume.id  # type: ignore[union-attr]


def test_forced_with_another_quality_a_failed_task_gets_a_new_volume(town: Town) -> None:
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)
    holding = town.holding(1)
    town.push(1, force=True, quality=360)
    town.until_ended(1, "completed")
    assert holding and holding.volume
    assert town.holding(1).volume.id != holding.volume.id  # type: ignore[union-attr]


def test_one_order_in_trouble_keeps_no_other_from_its_slot(place: Town) -> None:
    """Their old volumes cannot be read: both orders must wait, as for a claim that is stuck."""
    place.start(max_active=2)
    assert place.executor is not None
    for number in (1, 2):
        place.push(number, {"1": "told 65"})
        place.until_stand(number, Stand.FAILED)
        place.executor.mark(names.object_name(str(number)), {names.MESSAGE: "?"})
        place.push(number, {"2": "hold"})
    place.until(lambda: place.claimed() == 2, "both wait")
    place.push(3)
    place.push(4)
    place.until_ended(3, "completed")
    place.until_ended(4, "completed")
    assert place.claimed() == 2  # and are not lost


# --- what operators ask for -----------------------------------------------------------------------
def test_retry_goes_on_with_a_failed_task_with_full_budgets(town: Town) -> None:
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)
    town.store.ask("retry", "1")
    town.until_ended(1, "completed")
    assert town.starts(1) == [("run", 1), ("run", 2)]
    assert town.store.asks() == []


def test_retry_brings_a_delayed_run_forward(town: Town) -> None:
    town.push(1, {"1": "exit 75"})
    town.until_stand(1, Stand.WAITING)
    town.store.ask("retry", "1")
    town.until_ended(1, "completed")


def test_retry_of_what_needs_none_changes_nothing_and_says_so(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    town.store.ask("retry", "1")
    town.store.ask("retry", "2")
    town.store.ask("dance", "1")
    town.until(lambda: not town.store.asks(), "all are answered")
    assert town.log("Task 1 is not retried: it is completed.") == 1
    assert town.log("Task 2 cannot be retried") == 1
    assert town.log("cannot be read and is dropped") == 1
    assert town.starts(1) == [("run", 1)]


def assert_cancelled(town: Town, task_id: int) -> None:
    """It is cancelled: reported, kept for its log alone, never run again."""
    town.until(lambda: not town.store.asks(), "the request is answered")
    town.until_stand(task_id, Stand.FAILED)
    assert town.status(task_id) == "cancelled"
    report = [e for e in town.journal("start", task_id) if e["kind"] == "report"][-1]
    assert report["report"]["category"] == "cancelled"
    started = town.starts(task_id)
    town.clock.shift += LIMITS.keep_completed + 1
    town.until_stand(task_id, None)
    assert town.starts(task_id) == started
    assert town.queued() + town.claimed() == 0


def queued(town: Town) -> None:
    """It waits in the queue, twice."""
    town.stop()
    town.push(1)
    town.push(1, email="b@example.com")


def active(town: Town) -> None:
    """It runs."""
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")


def waits(town: Town) -> None:
    """It waits for its next try."""
    town.push(1, {"1": "exit 75"})
    town.until_stand(1, Stand.WAITING)


def has_failed(town: Town) -> None:
    """It failed for good."""
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)


def is_reported(town: Town) -> None:
    """A closing run of it has failed and is due again."""
    town.push(1, {"1": "exit 65", "report": "exit 75"})
    town.until(lambda: len(town.journal("end", 1)) == 2, "a closing run failed")
    town.until_stand(1, Stand.REPORT)


@pytest.mark.parametrize("stage", [queued, active, waits, has_failed], ids=lambda f: f.__name__)
def test_a_task_is_cancelled_wherever_it_stands(town: Town, stage: Callable[[Town], None]) -> None:
    stage(town)
    town.store.ask("cancel", "1")
    if stage is queued:
        town.start()
    assert_cancelled(town, 1)
    assert [kind for kind, _ in town.starts(1)].count("run") == (0 if stage is queued else 1)


def test_a_task_that_is_being_reported_is_cancelled_instead(town: Town) -> None:
    is_reported(town)
    town.store.ask("cancel", "1")
    town.until(lambda: len(town.starts(1)) == 3, "another closing run")
    last = town.journal("start", 1)[-1]
    assert (last["kind"], last["report"]["category"]) == ("report", "cancelled")


def test_an_order_that_is_claimed_and_must_wait_can_be_cancelled(town: Town) -> None:
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)
    assert town.executor is not None
    town.executor.mark(names.object_name("1"), {names.MESSAGE: "?"})
    town.push(1)
    town.until(lambda: town.claimed() == 1, "it waits")
    town.store.ask("cancel", "1")
    town.until(lambda: town.claimed() == 0, "it is taken from the claimed list")
    town.until(lambda: not town.store.asks(), "the request is answered")


def test_an_order_that_another_dispatcher_has_claimed_is_cancelled_when_that_is_done(
    town: Town,
) -> None:
    other = names.claimed_list(QUEUE, "other")
    town.raw.sadd(names.dispatchers_set(QUEUE), "other")
    town.raw.set(names.heartbeat_key(QUEUE, "other"), "1")
    town.raw.lpush(other, order(1))
    town.store.ask("cancel", "1")
    town.until(lambda: town.log("handed over by another dispatcher"), "it is noted")
    assert len(town.store.asks()) == 1
    town.raw.delete(names.heartbeat_key(QUEUE, "other"))  # it died: its orders come back
    town.until(lambda: town.status(1), "something comes of it", 30)
    town.until(lambda: not town.store.asks(), "the request is answered")


def test_a_completed_task_is_not_cancelled(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    town.store.ask("cancel", "1")
    town.until(lambda: not town.store.asks(), "the request is answered")
    assert town.status(1) == "completed"
    assert town.log("Task 1 is not cancelled: it is completed.") == 1


def test_an_unknown_task_cannot_be_cancelled(town: Town) -> None:
    town.store.ask("cancel", "77")
    town.until(lambda: not town.store.asks(), "the request is answered")
    assert town.log("Task 77 cannot be cancelled: it is not known.") == 1
    assert town.holding(77) is None


def test_a_request_that_can_never_be_carried_out_is_dropped_with_a_word(place: Town) -> None:
    """A stranger's folder is in the way of the volume that the closing run would need."""
    (place.staging / names.folder_name("1")).mkdir(parents=True)
    place.push(1)
    place.store.ask("cancel", "1")
    place.start()
    place.until(lambda: not place.store.asks(), "the request is answered")
    assert place.log("the request to cancel it is dropped") == 1


# --- removal --------------------------------------------------------------------------------------
def test_a_completed_task_goes_after_its_time_and_not_before(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    town.clock.shift = LIMITS.keep_completed - 20
    town.turns(5)
    assert town.stand(1) is Stand.DONE
    town.clock.shift = LIMITS.keep_completed + 1
    town.until_stand(1, None)
    assert not (town.staging / "Task_1").exists()
    assert town.status(1) == "completed"


def test_no_volume_goes_below_the_age_floor(place: Town) -> None:
    place.start(keep_completed=0, min_age=3600)
    place.push(1)
    place.until_ended(1, "completed")
    place.until_stand(1, Stand.DONE)
    place.turns(5)
    assert place.stand(1) is Stand.DONE
    place.clock.shift = 3601
    place.until_stand(1, None)


def test_no_volume_goes_that_the_queue_speaks_of(place: Town) -> None:
    """The order that comes next waits behind a full house; its task's volume must be there."""
    place.start(max_active=1, keep_completed=0, min_age=0)
    place.push(2, {"1": "told 65"})
    place.until_stand(2, Stand.FAILED)
    place.push(1, {"1": "hold"})
    place.until(lambda: place.starts(1), "the house is full")
    place.push(2, force=True)
    place.clock.shift = LIMITS.keep_failed + 60
    place.turns(5)
    assert place.stand(2) is Stand.FAILED
    place.open(1)
    place.until_ended(2, "completed")


def test_a_pinned_volume_stays(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    assert town.executor is not None
    town.executor.mark(names.object_name("1"), {names.PINNED: "true"})
    town.clock.shift = 1e6
    town.turns(5)
    assert town.stand(1) is Stand.DONE


# --- restarts -------------------------------------------------------------------------------------
def test_a_stopped_dispatcher_leaves_runs_alone_and_the_next_one_takes_them_over(
    town: Town,
) -> None:
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    town.stop()
    town.start()
    town.turns()
    town.open(1)
    town.until_ended(1, "completed")
    assert town.starts(1) == [("run", 1)]
    town.assert_lawful()


def test_a_new_dispatcher_tells_a_board_that_knows_nothing_of_what_runs(town: Town) -> None:
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    town.stop()
    town.raw.flushall()
    town.start()
    town.until_ended(1, "running")
    assert town.store.show("1")["course"]


def test_what_a_dead_dispatcher_had_claimed_is_carried_out(town: Town) -> None:
    town.raw.sadd(names.dispatchers_set(QUEUE), "dead")
    town.raw.lpush(names.claimed_list(QUEUE, "dead"), order(1), order(2))
    town.until_ended(1, "completed")
    town.until_ended(2, "completed")
    assert town.log("that a dead dispatcher had claimed") >= 1


def test_two_dispatchers_on_one_queue_run_every_order_once(
    place: Town, redis7: str, tmp_path: Path
) -> None:
    second = Town(redis7, tmp_path, LIMITS, "d2")
    place.start()
    second.start()
    try:
        for number in range(12):
            place.push(number, {"1": "exit 75"} if number % 3 == 0 else None)
        place.until(
            lambda: all(place.status(n) in ("completed", "waiting") for n in range(12)), "all end"
        )
        for town in (place, second):
            town.clock.shift = 301
        place.until(lambda: all(place.status(n) == "completed" for n in range(12)), "all are done")
        place.assert_lawful()
        assert second.claimed() == 0
    finally:
        second.stop()
        second.raw.close()


def test_the_board_is_told_again_of_a_verdict_that_it_missed(town: Town) -> None:
    """Were the mark written first, nothing would ever tell the board, nor remember the end."""
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    key = names.task_hash("1")
    town.raw.delete(key)
    town.raw.set(key, "in the way")  # Redis refuses to write the board
    town.open(1)
    town.until(lambda: town.log("WRONGTYPE"), "the board refuses")
    town.turns()
    town.raw.delete(key)
    town.until_ended(1, "completed")
    town.until_stand(1, Stand.DONE)


def test_the_events_tell_a_task_s_life(town: Town) -> None:
    town.push(1, {"1": "exit 75"})
    town.until_stand(1, Stand.WAITING)
    town.clock.shift = 301
    town.until_ended(1, "completed")
    entries: list[tuple[bytes, dict[bytes, bytes]]] = town.raw.xrange(names.EVENTS_KEY)  # type: ignore[assignment]
    told = [fields[b"status"] for _, fields in entries if fields[b"task"] == b"1"]
    assert told == [b"running", b"waiting", b"running", b"completed"]
