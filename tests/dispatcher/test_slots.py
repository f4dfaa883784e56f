"""The slots of MAX_ACTIVE, shared by dispatchers: never more runs than slots, none leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from contract import names
from contract.env import Secret
from dispatcher.executors import Busy, Holding, Phase
from dispatcher.promises import LASTS, Promise
from dispatcher.slots import STALE, WARY, Slots
from dispatcher.store import Store, connect
from dispatcher.views import View, view
from tests.dispatcher.tasks import failed, hold, judged, run, task, volume, waiting

QUEUE = "q:slots"


@pytest.fixture(params=["redis62", "redis7", "valkey9"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of each age."""
    found: str = request.getfixturevalue(request.param)
    with redis.Redis.from_url(found) as client:
        client.flushdb()
        yield found
        client.flushdb()


def slots(url: str, identity: str, most: int = 5) -> Slots:
    """The slots as one dispatcher sees them."""
    return Slots(Store(connect(Secret(url)), QUEUE, identity), most, identity)


def views(*holdings: Holding) -> list[View]:
    return [view(holding) for holding in holdings]


def alive(key: str, attempt: int = 1) -> Holding:
    return hold(volume(task(key), attempt=str(attempt)), run(attempt), key)


def ended(key: str, attempt: int = 1) -> Holding:
    return hold(volume(task(key)), run(attempt, Phase.FAILED), key)


def named(*keys: str) -> list[str]:
    return [names.object_name(key) for key in keys]


def test_only_live_runs_take_slots_when_nothing_is_promised(url: str) -> None:
    one = slots(url, "a")
    assert one.free(views(alive("1"), waiting(), failed(), alive("2"))) == 3
    assert slots(url, "b", 1).free(views(alive("1"), alive("2"))) == 0
    assert one.free([]) == 5


def test_two_dispatchers_never_fill_the_same_slot(url: str) -> None:
    """Neither sees what the other is about to start: only its promise."""
    one, other = slots(url, "a"), slots(url, "b")
    assert one.free([]) == other.free([]) == 5
    assert one.grant(named("1", "2", "3")) == set(named("1", "2", "3"))
    assert other.grant(named("4", "5", "6", "7")) == set(named("4", "5"))
    assert one.free([]) == other.free([]) == 0


def test_ten_dispatchers_at_once_are_granted_no_more_than_there_is(url: str) -> None:
    many = [slots(url, f"d{n}", 7) for n in range(10)]
    for one in many:
        one.free([])

    def ask(number: int) -> set[str]:
        return many[number].grant(named(*(f"{number}-{n}" for n in range(3))))

    with ThreadPoolExecutor(10) as pool:
        granted = list(pool.map(ask, range(10)))
    assert 0 < sum(map(len, granted)) <= 7


def test_a_promise_and_the_run_that_came_of_it_take_one_slot(url: str) -> None:
    one, other = slots(url, "a"), slots(url, "b")
    one.free([])
    one.grant(named("1"))
    assert other.free(views(alive("1"))) == 4
    assert one.free(views(alive("1"))) == 4


def test_an_ended_run_frees_its_slot_at_once(url: str) -> None:
    one, other = slots(url, "a"), slots(url, "b")
    one.free([])
    one.grant(named("1"))
    assert other.free(views(ended("1"))) == 5
    assert one.free([]) == 5


def test_the_end_of_an_earlier_run_does_not_free_the_slot_of_the_next(url: str) -> None:
    due = hold(volume(task("1"), attempt="2", outcome=judged("temporary")), run(phase=Phase.FAILED))
    one, other = slots(url, "a"), slots(url, "b")
    one.free(views(due))
    assert one.grant([due.name]) == {due.name}
    assert other.free(views(due)) == 4


def test_leave_that_was_not_used_is_taken_back(url: str) -> None:
    one = slots(url, "a", 1)
    one.free([])
    one.grant(named("1"))
    assert one.free([]) == 0
    one.unused(names.object_name("1"))
    assert one.free([]) == 1
    assert one.grant(named("2")) == set(named("2"))


def test_a_repeat_of_a_started_order_does_not_take_its_promise_back(url: str) -> None:
    one, other = slots(url, "a"), slots(url, "b")
    one.free([])
    one.grant(named("1"))
    assert one.grant(named("1")) == set(named("1"))
    one.unused(names.object_name("1"))
    assert other.free([]) == 5 - 1


def test_a_task_that_has_a_slot_needs_no_other(url: str) -> None:
    one, other = slots(url, "a", 1), slots(url, "b", 1)
    one.free([])
    one.grant(named("1"))
    other.free([])
    assert other.grant(named("2", "1")) == set(named("1"))
    other.free(views(alive("1")))
    assert other.grant(named("1")) == set(named("1"))


def test_promises_of_the_dead_lapse_by_themselves(url: str) -> None:
    one = slots(url, "a", 1)
    one.free([])
    one.grant(named("1"))
    with redis.Redis.from_url(url) as client:
        key = names.slots_key(QUEUE)
        member = f"{names.object_name('1')}/1/a"
        now = client.time()[0]  # type: ignore[index]
        lapses = client.zscore(key, member)
        assert lapses is not None and LASTS - 5 <= float(lapses) - now <= LASTS  # type: ignore[arg-type]
        client.zadd(key, {member: now})
    assert slots(url, "b", 1).free([]) == 1


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class LateStore(Store):
    """Redis whose answer to a promise is read late: the process was stopped in between."""

    clock: Clock
    late = 0.0

    def promise(self, state: str, promises: Sequence[Promise]) -> bool:
        made = super().promise(state, promises)
        self.clock.now += self.late
        return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def timed(url: str, clock: Clock) -> tuple[Slots, LateStore]:
    """The slots of a dispatcher whose time is the clock's."""
    store = LateStore(connect(Secret(url)), QUEUE, "a")
    store.clock = clock
    return Slots(store, 5, "a", clock), store


def test_an_old_look_is_no_ground_for_a_run(url: str, clock: Clock) -> None:
    """Who slept between look and grant does not know what others have started since."""
    one, _ = timed(url, clock)
    assert one.free([]) == 5
    clock.now += STALE + 1
    assert one.grant(named("1")) == set()


def test_after_a_sleep_news_are_awaited_first(url: str, clock: Clock) -> None:
    """What others started during it is promised no more, and not seen yet."""
    one, _ = timed(url, clock)
    assert one.free([]) == 5
    clock.now += 90
    assert one.free([]) == 0
    assert one.grant(named("1")) == set()
    clock.now += WARY
    assert one.free(views(alive("2"))) == 4
    assert one.grant(named("1")) == set(named("1"))


def test_turns_that_follow_each_other_are_no_sleep(url: str, clock: Clock) -> None:
    one, _ = timed(url, clock)
    for _turn in range(5):
        clock.now += STALE - 1
        one.free([])
    assert one.grant(named("1")) == set(named("1"))


def test_a_grant_counts_from_when_it_was_asked_for(url: str, clock: Clock) -> None:
    """Its answer may be read when it has lapsed."""
    one, store = timed(url, clock)
    one.free([])
    store.late = STALE + 1
    one.grant(named("1"))
    with pytest.raises(Busy):
        one.check()


def test_a_fresh_grant_may_be_used(url: str, clock: Clock) -> None:
    one, _ = timed(url, clock)
    one.free([])
    one.grant(named("1"))
    clock.now += STALE - 1
    one.check()
