"""Orders are claimed in the right order, each in one step, at a cost that no backlog changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from contract import names
from contract.env import Secret
from dispatcher.claims import Claims
from dispatcher.fairness import WINDOW
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import WINDOW_BYTES, Store, StoreUnavailable, connect
from tests.dispatcher.tasks import order
from tests.dispatcher.town import QUEUE, Town
from tests.services import until


@pytest.fixture(params=["redis7", "redis62", "valkey9"])
def raw(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """An empty server, as a backend sees it."""
    with redis.Redis.from_url(request.getfixturevalue(request.param)) as client:
        client.flushall()
        yield client


@pytest.fixture
def open_store(raw: redis.Redis) -> Iterator[Callable[[str], Store]]:
    """Open stores under names of dispatchers."""
    known = raw.connection_pool.connection_kwargs
    clients: list[redis.Redis] = []

    def make(identity: str) -> Store:
        clients.append(connect(Secret(f"redis://{known['host']}:{known['port']}/0")))
        return Store(clients[-1], QUEUE, identity)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def store(open_store: Callable[[str], Store]) -> Store:
    """The store of dispatcher d1."""
    return open_store("d1")


def items(raw: redis.Redis, key: str) -> list[bytes]:
    """A list in Redis, oldest first."""
    found: list[bytes] = raw.lrange(key, 0, -1)  # type: ignore[assignment]
    return found[::-1]


# --- the step -------------------------------------------------------------------------------------
def test_chosen_orders_move_from_the_middle_and_the_rest_stays_as_it_was(
    store: Store, raw: redis.Redis
) -> None:
    orders = [order(number) for number in range(6)]
    raw.lpush(QUEUE, *orders)
    assert store.claim_these([orders[4], orders[1]]) == 2
    assert store.claimed() == [orders[4], orders[1]]
    assert items(raw, QUEUE) == [orders[n] for n in (0, 2, 3, 5)]


def test_an_order_that_somebody_else_has_taken_is_not_claimed(
    store: Store, raw: redis.Redis
) -> None:
    one, other = order(1), order(2)
    raw.lpush(QUEUE, one)
    assert store.claim_these([other, one, one]) == 1
    assert store.claimed() == [one]
    assert items(raw, QUEUE) == []


def test_an_order_that_is_given_back_is_the_next_again(store: Store, raw: redis.Redis) -> None:
    one, other = order(1), order(2)
    raw.lpush(QUEUE, one, other)
    store.claim(1)
    assert store.give_back(one)
    assert not store.give_back(one)
    assert items(raw, QUEUE) == [one, other]
    assert store.claimed() == []


def test_a_step_into_something_that_is_no_list_loses_nothing(
    store: Store, raw: redis.Redis
) -> None:
    raw.lpush(QUEUE, order(1))
    raw.set(names.claimed_list(QUEUE, "d1"), "in the way")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        store.claim_these([order(1)])
    assert items(raw, QUEUE) == [order(1)]


def test_many_dispatchers_that_choose_at_once_claim_every_order_once(
    open_store: Callable[[str], Store], raw: redis.Redis
) -> None:
    orders = [order(n, email=f"{n % 7}@example.com", priority=n % 3) for n in range(300)]
    raw.lpush(QUEUE, *orders)
    stores = [open_store(f"d{number}") for number in range(4)]

    def claim_all(one: Store) -> int:
        claims, count = Claims(one), 0
        while raw.llen(QUEUE):
            count += claims.claim(16, {})
        return count

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(claim_all, stores)) == 300
    assert Counter(raw for one in stores for raw in one.claimed()) == Counter(orders)


# --- the choice -----------------------------------------------------------------------------------
def test_orders_of_one_account_are_claimed_by_age_in_plain_steps(
    store: Store, raw: redis.Redis
) -> None:
    """The script is for those who ask for more."""
    orders = [order(number, email="a@example.com") for number in range(5)]
    raw.lpush(QUEUE, *orders)
    raw.config_resetstat()
    claims = Claims(store)
    assert claims.claim(3, {"a@example.com": 2}) == 3
    assert store.claimed() == orders[:3]
    assert not claims.held_back
    stats = raw.info("commandstats")
    assert "cmdstat_eval" not in stats
    assert stats["cmdstat_lmove"]["calls"] == 3  # type: ignore[index]


def test_priority_and_a_fair_turn_decide_from_the_window(store: Store, raw: redis.Redis) -> None:
    crowd = [order(number, email="crowd@example.com") for number in range(500)]
    lone, urgent = order(600, email="lone@example.com"), order(601, priority=5)
    raw.lpush(QUEUE, *crowd, lone, urgent)
    assert Claims(store).claim(3, {"crowd@example.com": 1}) == 3
    assert store.claimed() == [urgent, lone, crowd[0]]


def test_an_account_at_its_limit_waits_and_is_said_to(store: Store, raw: redis.Redis) -> None:
    raw.lpush(QUEUE, order(1, email="a@b.c"), order(2, email="a@b.c"))
    claims = Claims(store, per_account=2)
    assert claims.claim(5, {"a@b.c": 1}) == 1
    assert claims.held_back
    assert claims.claim(5, {"a@b.c": 2}) == 0
    assert claims.claim(5, {}) == 1
    assert not claims.held_back


# --- the cost -------------------------------------------------------------------------------------
def test_a_claim_costs_the_same_with_a_hundred_thousand_queued(
    store: Store, raw: redis.Redis
) -> None:
    """Counted, not timed: what the server sends for one claim, at 2,000 and at 100,000 orders."""
    costs = []
    sizes = (2_000, 98_000)
    pushed = 0
    for more in sizes:
        with raw.pipeline(transaction=False) as pipe:
            for start in range(0, more, 1000):
                numbers = range(pushed + start, pushed + start + 1000)
                pipe.lpush(QUEUE, *(order(n, email=f"{n % 9}@b.c") for n in numbers))
            pipe.execute()
        pushed += more
        raw.config_resetstat()
        Claims(store).claim(8, {})
        stats = raw.info()
        costs.append(stats["total_net_output_bytes"])  # type: ignore[index]
    assert raw.llen(QUEUE) == sum(sizes) - 16
    assert costs[1] < 1.2 * costs[0]
    slow = raw.info("commandstats")
    assert slow["cmdstat_eval"]["usec_per_call"] < 20_000  # type: ignore[index]


def test_a_window_is_bounded_in_orders_and_in_bytes(store: Store, raw: redis.Redis) -> None:
    raw.lpush(QUEUE, *(order(number) for number in range(WINDOW + 50)))
    assert store.window(WINDOW) == [order(number) for number in range(WINDOW)]
    raw.delete(QUEUE)
    raw.lpush(QUEUE, *(order(number, note="x" * 60_000) for number in range(150)))
    window = store.window(WINDOW)
    assert sum(map(len, window)) < WINDOW_BYTES + 100 * 61_000
    assert window == [order(number, note="x" * 60_000) for number in range(len(window))]


# --- at work --------------------------------------------------------------------------------------
@pytest.fixture
def town(redis7: str, tmp_path: Path) -> Iterator[Town]:
    """A town that has not started."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    made = Town(redis7, tmp_path, Limits(max_active=2))
    yield made
    made.leave()


def test_a_crowd_of_one_account_does_not_keep_another_s_one_order_waiting(town: Town) -> None:
    for number in range(20):
        town.push(number, {"1": "hold"} if number < 2 else None, email="crowd@example.com")
    town.push(77, {"1": "hold"}, email="lone@example.com")
    town.push(78, {"1": "hold"}, priority=9, email="crowd@example.com")
    town.start()
    until(lambda: len(town.journal("start")) == 2, "both slots are taken", 60)
    # The two start at once, so which of them is noted first says nothing.
    assert {entry["task"] for entry in town.journal("start")} == {"77", "78"}
    for number in (77, 78):
        town.open(number)
        town.until_ended(number, "completed")
    for number in range(20):
        town.open(number)
    for number in range(20):
        town.until_ended(number, "completed")
    town.assert_lawful()


def test_an_account_s_limit_holds_for_new_orders_and_for_retries(town: Town) -> None:
    for number in range(4):
        more = {"1": "exit 75", "2": "hold"} if number == 0 else {"1": "hold"}
        town.push(number, more, email="a@example.com")
    town.push(9, email="b@example.com")
    town.start(max_active=4, max_per_account=1)
    town.until_stand(0, Stand.WAITING)
    town.until(lambda: town.starts(1), "the account's next order runs")
    town.until_ended(9, "completed")
    town.clock.shift = 301  # the first one's retry is due, but its account is busy
    town.turns(5)
    assert len(town.starts(0)) == 1
    assert (town.starts(2), town.starts(3)) == ([], [])
    assert town.queued() + town.claimed() == 2
    town.open(1)
    town.until(lambda: len(town.starts(0)) == 2, "the retry goes first")
    town.turns(5)
    assert town.starts(2) == []
    for number in range(4):
        town.open(number)
        town.until_ended(number, "completed")
    town.assert_lawful()


def test_orders_that_may_not_go_are_no_busy_loop(town: Town) -> None:
    for number in (1, 2):
        town.push(number, {"1": "hold"}, email="a@example.com")
    town.pace = type(town.pace)()
    town.start(max_active=4, max_per_account=1)
    town.until(lambda: town.starts(1), "one runs")
    town.turns(2)
    before = town.raw.info("stats")["total_commands_processed"]  # type: ignore[index]
    town.turns(2)
    after = town.raw.info("stats")["total_commands_processed"]  # type: ignore[index]
    assert after - before < 60
    assert town.queued() == 1
