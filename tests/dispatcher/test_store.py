"""The door to Redis, on every server that users have: nothing is lost, whatever answer is."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.errors import BadMessage, Misconfigured
from contract.task import Task
from dispatcher import store as store_module
from dispatcher.store import CHUNK, HEARTBEAT, Store, StoreUnavailable, connect, dead_letter
from tests.dispatcher.lossy import LossyProxy
from tests.dispatcher.tasks import order

QUEUE = "q:orders"
SERVERS = ["redis7", "redis62", "valkey9"]


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> str:
    """URL of an empty server."""
    address: str = request.getfixturevalue(request.param)
    with redis.Redis.from_url(address) as client:
        client.flushall()
    return address


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    """A client as a backend or an operator has it."""
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[..., Store]]:
    """Open stores under names of dispatchers."""
    clients: list[redis.Redis] = []

    def make(identity: str = "d1", through: str = "") -> Store:
        clients.append(connect(Secret(through or url)))
        return Store(clients[-1], QUEUE, identity)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """The store of dispatcher d1."""
    return open_store()


def fill(raw: redis.Redis, count: int, start: int = 0) -> list[bytes]:
    """Push orders as a backend does; oldest first."""
    orders = [order(number) for number in range(start, start + count)]
    for one in orders:
        raw.lpush(QUEUE, one)
    return orders


def items(raw: redis.Redis, key: str) -> list[bytes]:
    """A list in Redis, oldest first."""
    found: list[bytes] = raw.lrange(key, 0, -1)  # type: ignore[assignment]
    return found[::-1]


# --- the queue ------------------------------------------------------------------------------------
def test_the_oldest_orders_are_claimed_first(store: Store, raw: redis.Redis) -> None:
    orders = fill(raw, 5)
    assert store.claim(3) == 3
    assert store.claimed() == orders[:3]
    assert items(raw, QUEUE) == orders[3:]
    assert store.waiting() == 2


def test_no_more_is_claimed_than_there_is(store: Store, raw: redis.Redis) -> None:
    fill(raw, 2)
    assert store.claim(64) == 2
    assert store.claim(64) == 0
    assert store.claim(0) == 0


def test_an_order_that_comes_while_waiting_is_claimed(store: Store, raw: redis.Redis) -> None:
    assert store.claim_or_wait(0.05) is False
    (one,) = fill(raw, 1)
    assert store.claim_or_wait(5) is True
    assert store.claimed() == [one]


def test_push_and_claim_keep_the_bytes(store: Store) -> None:
    message = b'\xff{"odd": bytes}\x00\r\n'
    assert store.push(message) == 1
    store.claim(1)
    assert store.claimed() == [message]


def test_settling_lets_go_of_one_copy(store: Store, raw: redis.Redis) -> None:
    (one,) = fill(raw, 1)
    raw.lpush(QUEUE, one, order(2), one)
    store.claim(4)
    store.settle(one)
    assert sorted(store.claimed()) == sorted([one, order(2), one])
    store.settle(order(77))  # not there: as good as settled
    assert len(store.claimed()) == 3


def test_withdrawing_takes_every_copy_from_queue_and_own_claimed_list(
    store: Store, raw: redis.Redis
) -> None:
    one, two = order(1), order(2)
    raw.lpush(QUEUE, one, two)
    store.claim(1)
    raw.lpush(QUEUE, one, one)
    assert store.withdraw(one) == 3
    assert store.withdraw(one) == 0
    assert list(store.walk()) == [two]


# --- dead letters ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "message",
    [b"no json", b"", "ünïcode 漢字".encode(), b'{"a":"\\ud800"}', b"\xff\xfe\x00", b"x" * 70_000],
)
def test_a_dead_letter_keeps_reason_time_and_the_very_bytes(
    store: Store, raw: redis.Redis, message: bytes
) -> None:
    raw.lpush(QUEUE, message)
    store.claim(1)
    try:
        Task.parse(message)
    except BadMessage as error:
        store.bury(error)
    assert store.claimed() == []
    (letter,) = store.dead()
    assert letter["reason"]
    assert abs(letter["at"] - time.time()) < 60
    assert original(letter) == message
    assert raw.llen(names.dead_list(QUEUE)) == 1


def original(letter: dict[str, str]) -> bytes:
    """The bytes that a dead letter keeps."""
    if "message_base64" in letter:
        return b64decode(letter["message_base64"])
    return letter["message"].encode("utf-8")


def test_dead_letters_come_newest_first(store: Store) -> None:
    for number in range(3):
        store.bury(BadMessage(f"reason {number}", b"raw"))
    assert [letter["reason"] for letter in store.dead()] == ["reason 2", "reason 1", "reason 0"]


def test_the_newest_dead_letters_have_the_numbers_that_all_have(store: Store) -> None:
    for number in range(5):
        store.bury(BadMessage(f"reason {number}", b"raw"))
    assert store.newest(2) == store.letters()[:-3:-1]
    assert store.newest(9) == store.letters()[::-1]


def test_a_dead_letter_is_json_that_people_can_read() -> None:
    letter = json.loads(dead_letter(BadMessage("No.", '{"a":"ü"}'.encode(), advice="Do.")))
    assert (letter["message"], letter["advice"]) == ('{"a":"ü"}', "Do.")


# --- lost answers ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("command", "act"),
    [
        (b"LMOVE", lambda store: store.claim(1)),
        (b"BLMOVE", lambda store: store.claim_or_wait(1)),
    ],
    ids=["claim", "wait"],
)
def test_a_lost_answer_loses_no_order_and_claims_no_second_one(
    url: str,
    raw: redis.Redis,
    open_store: Callable[..., Store],
    command: bytes,
    act: Callable[[Store], object],
) -> None:
    """A client that retried would move two orders and tell of one."""
    orders = fill(raw, 3)
    with LossyProxy(url) as proxy:
        store = open_store("d1", proxy.url)
        store.ping()
        proxy.lose = {command}
        with pytest.raises(StoreUnavailable):
            act(store)
        proxy.lose = set()
        assert proxy.lost == 1
        assert store.claimed() == orders[:1]  # the claimed list tells
        assert items(raw, QUEUE) == orders[1:]


def test_a_lost_answer_to_burying_leaves_one_dead_letter(
    url: str, raw: redis.Redis, open_store: Callable[..., Store]
) -> None:
    raw.lpush(QUEUE, b"no json")
    with LossyProxy(url) as proxy:
        store = open_store("d1", proxy.url)
        store.claim(1)
        proxy.lose = {b"LPUSH"}
        with pytest.raises(StoreUnavailable):
            store.bury(BadMessage("No.", b"no json"))
        proxy.lose = set()
        assert store.claimed() == []
        assert len(store.dead()) == 1


def test_a_server_that_is_away_is_unavailable_and_comes_back(
    url: str, open_store: Callable[..., Store]
) -> None:
    with LossyProxy(url) as proxy:
        store = open_store("d1", proxy.url)
        store.ping()
    for act in (store.ping, store.claimed, lambda: store.claim(1), lambda: list(store.walk())):
        with pytest.raises(StoreUnavailable, match="Redis cannot be used"):
            act()


def test_what_redis_refuses_is_unavailable_too(store: Store, raw: redis.Redis) -> None:
    raw.set(QUEUE, "not a list")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        store.claim(1)


# --- walking --------------------------------------------------------------------------------------
def test_a_walk_meets_every_message_of_queue_and_claimed_lists(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    orders = fill(raw, 6)
    one, other = open_store("d1"), open_store("d2")
    for dispatcher in (one, other):
        dispatcher.beat()
        dispatcher.claim(2)
    assert set(one.walk()) == set(other.walk()) == set(orders)
    assert set(one.walk_own()) == {*orders[:2], *orders[4:]}


def test_a_walk_meets_a_claimed_list_whose_dispatcher_never_said_so(
    store: Store, raw: redis.Redis
) -> None:
    (one,) = fill(raw, 1)
    store.claim(1)
    assert set(store.walk()) == {one}


def long_queue(raw: redis.Redis) -> list[bytes]:
    """More orders than one chunk holds; oldest first."""
    orders = [order(number) for number in range(2 * CHUNK + 7)]
    raw.lpush(QUEUE, *orders)
    return orders


def test_a_walk_of_a_long_queue_misses_nothing(store: Store, raw: redis.Redis) -> None:
    orders = long_queue(raw)
    assert set(store.walk()) == set(orders)


def test_orders_that_are_claimed_during_a_walk_are_met(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    orders = long_queue(raw)
    walker, other = open_store("d1"), open_store("d2")
    other.beat()
    met = set()
    for number, message in enumerate(walker.walk()):
        met.add(message)
        if number % 100 == 0:
            other.claim(64)
    assert met == set(orders)


def test_orders_that_are_withdrawn_during_a_walk_hide_no_other(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    """What stands behind a withdrawn one moves up, perhaps past the place that is read next."""
    orders = long_queue(raw)
    walker, other = open_store("d1"), open_store("d2")
    newest = orders[::-1]
    met = set()
    for number, message in enumerate(walker.walk()):
        met.add(message)
        if number == 10:
            for gone in newest[:50]:
                other.withdraw(gone)
    assert set(orders) - met <= set(newest[:50])


def test_orders_that_are_adopted_during_a_walk_are_met(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    """They move from a claimed list back to the queue, against the way of the walk."""
    walker, dead, other = open_store("d1"), open_store("dead"), open_store("d2")
    orders = fill(raw, 5)
    dead.beat()
    dead.claim(3)
    dead.leave()
    walk = walker.walk()
    met = {next(walk)}
    assert other.adopt_orphans() == 3
    met |= set(walk)
    assert met == set(orders)


# --- dispatchers ----------------------------------------------------------------------------------
def test_what_a_dead_dispatcher_had_claimed_goes_back_to_the_consuming_end_in_order(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    orders = fill(raw, 5)
    dead, other = open_store("dead"), open_store("d2")
    dead.beat()
    dead.claim(3)
    assert other.adopt_orphans() == 0  # its heart beats
    raw.delete(names.heartbeat_key(QUEUE, "dead"))  # as after a minute
    assert other.adopt_orphans() == 3
    assert items(raw, QUEUE) == orders
    assert dead.claimed() == []
    assert other.adopt_orphans() == 0


def test_a_heart_beats_for_a_minute(store: Store, raw: redis.Redis) -> None:
    store.beat()
    ttl = raw.ttl(names.heartbeat_key(QUEUE, "d1"))
    assert HEARTBEAT - 5 <= ttl <= HEARTBEAT  # type: ignore[operator]


def test_a_dispatcher_that_leaves_is_adopted_from_at_once(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    fill(raw, 2)
    one, other = open_store("d1"), open_store("d2")
    one.beat()
    one.claim(2)
    one.leave()
    assert other.adopt_orphans() == 2


def test_nobody_adopts_from_itself(store: Store, raw: redis.Redis) -> None:
    fill(raw, 1)
    store.beat()
    store.claim(1)
    store.leave()
    assert store.adopt_orphans() == 0
    assert len(store.claimed()) == 1


def test_two_that_adopt_at_once_move_each_order_once(
    open_store: Callable[..., Store], raw: redis.Redis
) -> None:
    orders = fill(raw, 50)
    dead, one, two = open_store("dead"), open_store("d1"), open_store("d2")
    dead.beat()
    dead.claim(50)
    dead.leave()
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda store: store.adopt_orphans(), (one, two)))
    assert sum(counts) == 50
    assert sorted(items(raw, QUEUE)) == sorted(orders)


# --- the board ------------------------------------------------------------------------------------
def test_a_task_is_written_and_shown_and_leaves_an_event(store: Store, raw: redis.Redis) -> None:
    store.write("a b/ü", {"status": "running", "message": "Läuft."})
    shown = store.show("a b/ü")
    assert (shown["status"], shown["message"]) == ("running", "Läuft.")
    assert abs(float(shown["updated"]) - time.time()) < 60
    (entry,) = raw.xrange(names.EVENTS_KEY)  # type: ignore[misc]
    assert entry[1][b"task"].decode() == "a b/ü"
    assert entry[1][b"status"] == b"running"


def test_fields_are_merged_and_unknown_tasks_are_empty(store: Store) -> None:
    store.write("1", {"status": "running", "course": "c"})
    store.write("1", {"status": "completed"})
    assert store.show("1")["course"] == "c"
    assert store.show("1")["status"] == "completed"
    assert store.show("2") == {}


def test_an_ended_task_is_forgotten_in_time_and_a_running_one_is_not(
    store: Store, raw: redis.Redis
) -> None:
    store.write("1", {"status": "completed"}, forget_in=100)
    assert 90 < raw.ttl(names.task_hash("1")) <= 101  # type: ignore[operator]
    store.write("1", {"status": "running"})
    assert raw.ttl(names.task_hash("1")) == -1


def test_the_stream_of_events_does_not_grow_for_ever(store: Store, raw: redis.Redis) -> None:
    with raw.pipeline() as pipe:
        for number in range(names.EVENTS_LIMIT + 2000):
            pipe.xadd(names.EVENTS_KEY, {"n": number})
        pipe.execute()
    store.write("1", {"status": "running"})
    assert raw.xlen(names.EVENTS_KEY) < names.EVENTS_LIMIT + 500  # type: ignore[operator]


def test_half_a_surrogate_pair_is_written_as_a_question_mark(store: Store) -> None:
    """Words of a run may hold it; a board that refused them would stop the dispatcher."""
    store.write("1", {"message": "odd \ud800 name"})
    assert store.show("1")["message"] == "odd ? name"


def test_all_tasks_are_listed(store: Store, raw: redis.Redis) -> None:
    for number in range(30):
        store.write(str(number), {"status": "running"})
    raw.set("course-runner:other", "x")
    found = dict(store.tasks())
    assert set(found) == {str(number) for number in range(30)}
    assert found["7"]["status"] == "running"


# --- what operators ask for -----------------------------------------------------------------------
def test_requests_are_answered_oldest_first_and_once(store: Store) -> None:
    store.ask("retry", "1")
    store.ask("cancel", "ü/2")
    first, second = store.asks()
    assert (first[1:], second[1:]) == (("retry", "1"), ("cancel", "ü/2"))
    store.answered(first[0])
    assert [ask[1:] for ask in store.asks()] == [("cancel", "ü/2")]


@pytest.mark.parametrize("item", [b"", b"{}", b"null", b"[1]", b"\xff", b'{"action":"retry"}'])
def test_a_request_that_cannot_be_read_is_told_apart(
    store: Store, raw: redis.Redis, item: bytes
) -> None:
    raw.lpush(f"{QUEUE}:asks", item)
    ((found, action, _),) = store.asks()
    assert (found, action) == (item, "unreadable")
    store.answered(found)
    assert store.asks() == []


# --- the address ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "address", ["http://host", "redis://host?socket_timeout=s3cret", "redis://s3cret:port@h:p"]
)
def test_an_address_that_no_client_takes_is_named_and_not_repeated(address: str) -> None:
    with pytest.raises(Misconfigured, match="REDIS_URL") as caught:
        connect(Secret(address))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert store_module.BLOCK < store_module.SOCKET  # or a blocking read would never be answered
