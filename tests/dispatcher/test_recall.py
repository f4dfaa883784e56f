"""The board is told of all live runs at once, and only of what it does not know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from contract import names
from contract.env import Secret
from dispatcher.board import recall
from dispatcher.connection import CHUNK
from dispatcher.store import Store, connect
from tests.dispatcher.tasks import run, task


@pytest.fixture
def client(redis7: str) -> Iterator[redis.Redis]:
    """An empty server."""
    with redis.Redis.from_url(redis7) as found:
        found.flushall()
        yield found


@pytest.fixture
def store(client: redis.Redis, redis7: str) -> Store:
    """The store of a dispatcher."""
    return Store(connect(Secret(redis7)), "q:recall", "d1")


def test_what_the_board_does_not_know_is_told(store: Store) -> None:
    """Nothing, a state before the run, a failure before it: all are behind."""
    store.write("2", {"status": "waiting"})
    store.write("3", {"status": "failed"})
    assert recall(store, [(task(n), run(2)) for n in (1, 2, 3)]) == 3
    shown = [store.show(str(n)) for n in (1, 2, 3)]
    assert {(one["status"], one["attempt"]) for one in shown} == {("running", "2")}


def test_what_is_known_or_over_is_left_alone(store: Store) -> None:
    for number, status in enumerate(("running", "completed", "cancelled"), 1):
        store.write(str(number), {"status": status, "attempt": "7"})
    assert recall(store, [(task(n), run(2)) for n in (1, 2, 3)]) == 0
    assert [store.show(str(n))["attempt"] for n in (1, 2, 3)] == ["7", "7", "7"]


def test_a_closing_run_is_told_as_one(store: Store) -> None:
    recall(store, [(task(1), run(3, closing=True))])
    assert store.show("1")["status"] == "reporting"


def test_a_change_that_many_share_is_an_event_of_each(store: Store, client: redis.Redis) -> None:
    recall(store, [(task(1), run()), (task(2), run())])
    told = {entry[b"task"] for _, entry in client.xrange(names.EVENTS_KEY)}
    assert told == {b"1", b"2"}


def test_thousands_are_told_and_then_known(store: Store, client: redis.Redis) -> None:
    """More than are asked about in one go; nothing is written that is known."""
    runs = [(task(n), run()) for n in range(2 * CHUNK + 1)]
    assert recall(store, runs) == len(runs)
    written = client.info("commandstats")["cmdstat_hset"]["calls"]
    assert recall(store, runs) == 0
    assert client.info("commandstats")["cmdstat_hset"]["calls"] == written
