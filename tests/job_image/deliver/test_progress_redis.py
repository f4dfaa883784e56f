"""Progress in Redis: seen there at once, with the least of rights, and never in the way."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.log import Log
from job_image.progress_redis import PAUSE, QUIET, RedisSink
from tests.job_image.deliver.run import Run, Runs
from tests.services import free_port

FIELDS = {"phase": "fetch", "percent": "12.5", "bytes": "1000", "message": "Ünïcode"}


@pytest.fixture(params=["redis7", "redis62", "valkey9"])
def url(request: pytest.FixtureRequest) -> str:
    """Each of the servers in turn."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    """The dispatcher's own connection."""
    with redis.Redis.from_url(url, decode_responses=True) as connected:
        yield connected
        connected.delete(names.EVENTS_KEY)


@pytest.fixture
def key(client: redis.Redis) -> Iterator[str]:
    """The hash of a task."""
    name = names.task_hash(f"t-{uuid.uuid4().hex[:8]}")
    yield name
    client.delete(name)


@pytest.fixture
def run(runs: Runs) -> Run:
    """A run whose log is kept."""
    made = runs()
    made.context()
    return made


def test_an_update_is_in_the_hash_and_in_the_stream(
    url: str, client: redis.Redis, key: str, run: Run
) -> None:
    client.hset(key, mapping={"status": "running", "percent": "1"})
    RedisSink(Secret(url), key, Log.for_task()).publish(FIELDS)
    assert client.hgetall(key) == {"status": "running", **FIELDS}
    ((_, event),) = client.xrevrange(names.EVENTS_KEY, count=1)  # type: ignore[misc]
    assert event == {"task": key.removeprefix(names.task_hash("")), **FIELDS}
    assert run.log == ""


def test_the_time_to_live_stays_the_dispatchers(
    url: str, client: redis.Redis, key: str, run: Run
) -> None:
    client.hset(key, "status", "done")
    client.expire(key, 5000)
    RedisSink(Secret(url), key, Log.for_task()).publish(FIELDS)
    assert 4900 < int(client.ttl(key)) <= 5000


def test_the_stream_does_not_grow_for_ever(
    url: str, client: redis.Redis, key: str, run: Run
) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(names.EVENTS_LIMIT + 500):
        pipe.xadd(names.EVENTS_KEY, {"n": number})
    pipe.execute()
    RedisSink(Secret(url), key, Log.for_task()).publish(FIELDS)
    assert int(client.xlen(names.EVENTS_KEY)) < names.EVENTS_LIMIT + 200


def test_an_account_that_may_only_write_these_keys_is_enough(
    url: str, client: redis.Redis, key: str, run: Run
) -> None:
    client.acl_setuser(
        "job",
        enabled=True,
        reset=True,
        passwords=["+job-password"],
        commands=["+hset", "+xadd"],
        keys=[names.task_hash("*"), names.EVENTS_KEY],
    )
    try:
        address = url.replace("://", "://job:job-password@")
        RedisSink(Secret(address), key, Log.for_task()).publish(FIELDS)
        assert client.hgetall(key) == FIELDS
        assert client.xlen(names.EVENTS_KEY) == 1
        assert run.log == ""
    finally:
        client.acl_deluser("job")


def test_an_account_without_the_right_costs_one_line(
    url: str, client: redis.Redis, key: str, run: Run
) -> None:
    client.acl_setuser("job", enabled=True, reset=True, passwords=["+job-password"], keys=["*"])
    try:
        address = url.replace("://", "://job:job-password@")
        sink = RedisSink(Secret(address), key, Log.for_task())
        for _ in range(3):
            sink.publish(FIELDS)
    finally:
        client.acl_deluser("job")
    assert len(run.lines("WARNING")) == 1
    assert "job-password" not in run.log


# --- never in the way -----------------------------------------------------------------------------
def test_a_redis_that_is_away_costs_nothing_and_one_line_a_minute(run: Run) -> None:
    now = [100.0]
    address = Secret(f"redis://:hidden-word@127.0.0.1:{free_port()}/0")
    sink = RedisSink(address, names.task_hash("1"), Log.for_task(), clock=lambda: now[0])
    for _ in range(int(QUIET)):
        sink.publish(FIELDS)
        now[0] += 0.99
    assert len(run.lines("WARNING")) == 1
    now[0] += PAUSE
    sink.publish(FIELDS)
    assert len(run.lines("WARNING")) == 2
    assert "hidden-word" not in run.log


def test_a_redis_that_never_answers_costs_a_second_and_then_a_pause(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        sink = RedisSink(Secret(address), names.task_hash("1"), Log.for_task())
        start = time.monotonic()
        for _ in range(50):
            sink.publish(FIELDS)
        assert time.monotonic() - start < 10
    assert len(run.lines("WARNING")) == 1


def test_after_the_pause_it_is_tried_again(
    url: str, client: redis.Redis, key: str, run: Run
) -> None:
    client.set(key, "no hash")
    now = [100.0]
    sink = RedisSink(Secret(url), key, Log.for_task(), clock=lambda: now[0])
    sink.publish(FIELDS)
    client.delete(key)
    sink.publish(FIELDS)
    assert client.hgetall(key) == {}
    now[0] += PAUSE
    sink.publish(FIELDS)
    assert client.hgetall(key) == FIELDS


@pytest.mark.parametrize(
    "address", ["http://u:hidden-word@h", "redis://u:hidden-word@h:port/0", "redis://h?colour=red"]
)
def test_an_address_that_is_none_costs_one_line(run: Run, address: str) -> None:
    sink = RedisSink(Secret(address), names.task_hash("1"), Log.for_task())
    sink.publish(FIELDS)
    assert run.lines("WARNING") == [
        "PROGRESS_REDIS_URL is no Redis address; progress is not shown in Redis."
    ]
