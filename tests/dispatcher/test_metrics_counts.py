"""What is counted, and that it is counted once: verdicts with closing runs, waits, runs' numbers.

The tally is the process's, so each test looks at what was added to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.outcome import Outcome
from contract.task import Task
from dispatcher import ledger
from dispatcher.executors import Phase, Run
from dispatcher.record import Record, Stand
from dispatcher.settings import Limits
from dispatcher.sightings import LOOK, Sightings
from dispatcher.store import Store, connect
from dispatcher.tally import (
    ENDED,
    FAILURES,
    FETCHED,
    HANDOVER,
    QUEUE_WAIT,
    RETRIES,
    STEP,
    TALLY,
    WEBHOOKS,
    Event,
    Tally,
)
from dispatcher.verdict import Verdict
from tests.dispatcher.town import QUEUE, Town

COUNTED = (ENDED, FAILURES, RETRIES, WEBHOOKS, FETCHED)


class Added:
    """What is added to the tally from now on."""

    def __init__(self) -> None:
        self._before = {event.name: dict(TALLY.count(event)) for event in COUNTED}

    def __call__(self, event: Event) -> dict[str, int]:
        """By kind, without those of which there are none."""
        before = self._before[event.name]
        now = TALLY.count(event).items()
        return {kind: count - before[kind] for kind, count in now if count != before[kind]}


@pytest.fixture
def url(redis7: str) -> str:
    """URL of an empty server."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    return redis7


@pytest.fixture
def town(url: str, tmp_path: Path) -> Iterator[Town]:
    """A dispatcher at work that tries nothing again by itself for an hour."""
    made = Town(url, tmp_path, Limits(temporary=(3600,), crash=(3600,), keep_completed=300))
    made.start()
    yield made
    made.leave()


# --- verdicts -------------------------------------------------------------------------------------
def test_a_failure_that_a_closing_run_passes_on_is_one_failure(town: Town) -> None:
    added = Added()
    town.push(1, {"1": "exit 65"})
    town.until_stand(1, Stand.FAILED)
    town.turns()
    assert [kind for kind, _ in town.starts(1)] == ["run", "report"]
    assert added(FAILURES) == {"auth_expired": 1}
    assert (added(ENDED), added(RETRIES)) == ({"failed": 1}, {})


def test_a_death_that_is_tried_again_is_a_retry_and_no_end(town: Town) -> None:
    added = Added()
    town.push(2, {"1": "die"})
    town.until_stand(2, Stand.WAITING)
    town.turns()
    assert (added(RETRIES), added(FAILURES), added(ENDED)) == ({"crashed": 1}, {}, {})


def test_a_cancelled_order_is_an_end_and_no_failure(town: Town) -> None:
    added = Added()
    town.push(3, {"1": "hold"})
    town.until(lambda: town.starts(3), "the run starts")
    town.store.ask("cancel", "3")
    town.until_stand(3, Stand.FAILED)
    town.turns()
    assert (added(ENDED), added(FAILURES), added(RETRIES)) == ({"cancelled": 1}, {}, {})


# --- what runs say of themselves ------------------------------------------------------------------
RECORD = Record(Task(5, "https://courses.example/course/x/"), attempt=2)
DONE = Verdict(Outcome("done", "Every step is done."))


def enter(url: str, said: str) -> Added:
    """Enter the verdict on run 2 of a task, in whose hash the run has said something."""
    store = Store(connect(Secret(url)), "q:ledger", "d1")
    store.write("5", {names.NUMBERS: said})
    added = Added()
    ledger.enter(store, Run("r", 2, Phase.SUCCEEDED, started=10.0, ended=20.0), RECORD, DONE)
    return added


def test_what_this_run_says_is_counted(url: str) -> None:
    said = {"run": 2, "seconds": {"fetch": 1.5, "announce": 0.1}, "bytes": {"fetched": 77}}
    added = enter(url, json.dumps(said))
    assert added(FETCHED) == {"": 77}
    assert added(WEBHOOKS) == {"delivered": 1}


@pytest.mark.parametrize(
    "said",
    [
        '{"run": 1, "seconds": {"announce": 1}, "bytes": {"fetched": 77}}',
        '{"run": 2, "seconds": [1], "bytes": {"fetched": -77}}',
        '{"run": 2, "seconds": null, "bytes": {"fetched": 1e300, "uploaded": "7"}}',
        '{"run": 2, "bytes": {"fetched": NaN}}',
        "[2]",
        "no JSON",
        "[" * 100_000,
        "",
    ],
    ids=["an earlier run", "negative", "huge", "nan", "a list", "text", "deep", "nothing"],
)
def test_what_cannot_be_meant_is_not_counted(url: str, said: str) -> None:
    """The hash may be an earlier run's, or anybody's; the verdict itself counts all the same."""
    added = enter(url, said)
    assert (added(FETCHED), added(WEBHOOKS)) == ({}, {})
    assert added(ENDED) == {"completed": 1}


def test_a_redis_that_is_away_costs_the_numbers_and_no_more(url: str) -> None:
    store = Store(connect(Secret("redis://127.0.0.1:1/0")), "q:ledger", "d1")
    added = Added()
    ledger.enter(store, Run("r", 2, Phase.SUCCEEDED), RECORD, DONE)
    assert added(ENDED) == {"completed": 1}


# --- waits ----------------------------------------------------------------------------------------
class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_wait_is_counted_from_the_first_sight_in_the_queue() -> None:
    clock = Clock()
    sightings = Sightings(clock)
    waits, handed = _sum(QUEUE_WAIT), _sum(HANDOVER)
    sightings.queued([b"a", b"b"])
    clock.now += 30.0
    sightings.queued([b"a", b"b", b"c"])
    clock.now += 12.0
    sightings.claimed([b"a"])
    clock.now += 5.0
    sightings.claimed([b"a", b"c"])  # of "a" it is counted once
    sightings.handed_over(b"a")
    assert _sum(QUEUE_WAIT) - waits == pytest.approx(42.0 + 17.0)
    assert _sum(HANDOVER) - handed == pytest.approx(47.0)


def test_an_order_that_comes_while_a_slot_is_free_has_not_waited() -> None:
    sightings = Sightings(Clock())
    before = _sum(QUEUE_WAIT)
    sightings.claimed([b"a"])
    assert _sum(QUEUE_WAIT) == before


def test_what_others_claimed_is_forgotten() -> None:
    """Seen again later, the same bytes are another order: its wait begins anew."""
    clock = Clock()
    sightings = Sightings(clock)
    sightings.queued([b"a"])
    clock.now += 1000.0
    sightings.queued([])
    clock.now += 1000.0
    sightings.queued([b"a"])
    before = _sum(QUEUE_WAIT)
    sightings.claimed([b"a"])
    assert _sum(QUEUE_WAIT) == before


def test_a_queue_that_nothing_is_claimed_from_is_looked_at_now_and_then() -> None:
    clock = Clock()
    sightings = Sightings(clock)
    assert sightings.due()
    sightings.queued([])
    assert not sightings.due()
    clock.now += LOOK
    assert sightings.due()


def test_orders_that_wait_for_a_slot_are_seen_waiting(url: str, tmp_path: Path) -> None:
    """A real dispatcher whose one slot is taken looks at the queue all the same."""
    town = Town(url, tmp_path, Limits(max_active=1))
    town.start()
    before = TALLY.measured(QUEUE_WAIT)[""]
    try:
        town.push(1, {"1": "hold"})
        town.until(lambda: town.starts(1), "the first run starts")
        town.push(2)
        with town.raw.monitor() as heard:
            look = f"LRANGE {QUEUE} "
            next(said for said in heard.listen() if said["command"].startswith(look))
        town.turns()
        town.open(1)
        town.until(lambda: town.starts(2), "the second run starts")
    finally:
        town.leave()
    after = TALLY.measured(QUEUE_WAIT)[""]
    assert sum(after.counts) - sum(before.counts) == 2
    assert after.sum > before.sum


def _sum(event: Event) -> float:
    return TALLY.measured(event)[""].sum


# --- the tally ------------------------------------------------------------------------------------
def test_buckets_hold_what_is_at_most_their_bound() -> None:
    tally = Tally()
    for seconds in (0.0, 1.0, 1.1, 1e9, -5.0):
        tally.observe(STEP, seconds, "fetch")
    found = tally.measured(STEP)["fetch"]
    assert found.counts[0] == 3  # 0, 1, and a clock that went back
    assert (found.counts[1], found.counts[-1]) == (1, 1)
    assert found.sum == pytest.approx(1e9 + 2.1)
    assert sum(tally.measured(STEP)["upload"].counts) == 0
