"""Shows progress in Redis: the task's hash and the stream of events.

In: the fields of one update. Out: HSET and XADD in one round trip, or nothing. One attempt with
short timeouts, then a pause: a Redis that is away must cost the download no time that anybody
notices. No time to live is set: the hash is the dispatcher's, which alone knows when it may go.
The Redis user needs no more than +hset and +xadd on these keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract import names
from contract.env import Secret
from contract.log import Log

TIMEOUT = 1.0
"""Seconds for the connection and for an answer; the dispatcher's Redis is near, or it is away."""

PAUSE = 30.0
"""Seconds without a try after a failure: at most 2 of 32 seconds are lost to a Redis that hangs."""

QUIET = 60.0
"""Seconds between two warnings."""


class RedisSink:
    """Implements `progress.Sink`. Never raises but for a bug."""

    def __init__(
        self, url: Secret, key: str, log: Log, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`key` is the task's hash, `names.task_hash(...)`. Nothing is sent yet."""
        self._clock = clock
        self._key = key
        self._task = key.removeprefix(names.task_hash(""))
        self._log = log
        self._client = _client(url, log)
        self._try_at = clock()
        self._warn_at = clock()

    def publish(self, fields: Mapping[str, str]) -> None:
        """Publish one update, or leave it."""
        if self._client is None or self._clock() < self._try_at:
            return
        try:
            self._send(dict(fields))
        except redis.RedisError as exc:
            self._pause(exc)

    def _send(self, fields: dict[str, str]) -> None:
        client: Any = self._client  # redis-py types every answer as maybe awaitable
        pipe = client.pipeline(transaction=False)
        pipe.hset(self._key, mapping=fields)
        event = {"task": self._task, **fields}
        pipe.xadd(names.EVENTS_KEY, event, maxlen=names.EVENTS_LIMIT, approximate=True)
        pipe.execute()

    def _pause(self, error: redis.RedisError) -> None:
        now = self._clock()
        self._try_at = now + PAUSE
        if now >= self._warn_at:
            self._warn_at = now + QUIET
            self._log.warning("Progress cannot be shown in Redis: %s", error)


def _client(url: Secret, log: Log) -> redis.Redis | None:
    try:
        client = redis.Redis.from_url(
            url.reveal(),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
        )
        client.connection_pool.make_connection()  # here unknown options of the address show
        return client
    except (ValueError, TypeError):  # their words would repeat the address
        log.warning("PROGRESS_REDIS_URL is no Redis address; progress is not shown in Redis.")
        return None
