"""The client of Redis: one server, one that sentinels name, or a cluster; it never retries.

A retried LMOVE whose first answer was lost moves two items and tells of one, so an error goes to
the loop at once, which rests and looks again. Foreign errors become `StoreUnavailable` in
`translated`, through which every call to the client goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.credentials import CredentialProvider
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from contract.env import Secret
from contract.errors import Misconfigured, Retryable
from dispatcher.redis_address import CLUSTER, SENTINEL, Address, BadAddress, missing_tag, parse
from dispatcher.tally import REDIS_ERRORS, TALLY

BLOCK = 1.0
"""Seconds that one blocking read lasts; well below `SOCKET`, or the client would give up first."""

SOCKET = 10.0
"""Seconds before an answer counts as lost."""

ASK_SENTINEL = 2.0
"""Seconds for one sentinel's answer: the next one is asked then."""


CHUNK = 1000
"""Items read at once where a whole list, or every task, is gone through."""

OLDEST = (6, 2)
"""The version that brought LMOVE."""


class StoreUnavailable(Retryable):
    """Redis cannot be asked right now, or refuses."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except (redis.RedisError, RedisClusterException) as exc:
        TALLY.add(REDIS_ERRORS, _kind(exc))
        raise StoreUnavailable(
            f"Redis cannot be used: {_words(exc)}",
            advice="Start `course-runner local` where it is to run, or check REDIS_URL.",
        ) from exc


MOVE = """
local moved = 0
for i = 2, #ARGV, 2 do
  redis.call(ARGV[1], KEYS[2], ARGV[i + 1])
  if redis.call('LREM', KEYS[1], -1, ARGV[i]) == 1 then
    moved = moved + 1
  else
    redis.call(ARGV[1] == 'LPUSH' and 'LPOP' or 'RPOP', KEYS[2])
  end
end
return moved
"""
"""Moves chosen items between two lists, each at once or not at all. It pushes first and takes that
back when the item was not there: a push that is refused (memory, a wrong type) then loses nothing.
"""


def text(value: bytes) -> str:
    """Return what Redis has as text; what is no UTF-8 shows as marks."""
    return value.decode("utf-8", "replace")


class Door:
    """What the parts of the store share: the client, the queue's name, the one script."""

    def __init__(self, client: redis.Redis, queue: str) -> None:
        self._redis: Any = client  # redis-py types every answer as maybe awaitable
        self._queue = queue
        self._clustered = isinstance(client, _LateCluster)
        reason = missing_tag(queue) if self._clustered else ""
        if reason:
            raise Misconfigured(reason)

    def _move(self, source: str, target: str, push: str, pairs: Sequence[bytes]) -> int:
        """Run `MOVE`. `pairs`: an item as it lies in `source`, then as it shall lie in `target`."""
        if not pairs:
            return 0
        with translated():
            return cast(int, self._redis.eval(MOVE, 2, source, target, push, *pairs))

    def check(self) -> list[str]:
        """Return warnings about the server. Raise `Misconfigured` when it cannot be used."""
        with translated():
            try:
                about: dict[str, Any] = {} if self._clustered else self._redis.info()
            except redis.ResponseError:  # a user who may not ask
                return []
        if about.get("cluster_enabled"):
            raise Misconfigured(
                "REDIS_URL names one server of a Redis Cluster.",
                advice="Write redis+cluster://host:port, and a QUEUE with a hash tag.",
            )
        return _judge(about)


def _judge(about: dict[str, Any]) -> list[str]:
    version = tuple(int(part) for part in str(about.get("redis_version", "7")).split(".")[:2])
    if version < OLDEST:
        raise Misconfigured(
            f"The Redis at REDIS_URL is version {about['redis_version']}; orders are claimed by "
            "LMOVE, which came with 6.2.",
            advice="Use Redis 6.2 or newer, or any Valkey.",
        )
    policy = str(about.get("maxmemory_policy", "noeviction"))
    if about.get("maxmemory") and policy.startswith("allkeys"):
        return [f"Redis may drop the queue when its memory is full: maxmemory-policy is {policy}."]
    return []


def _kind(error: Exception) -> str:
    """Return what sort of trouble it is, for those who count."""
    if isinstance(error, redis.TimeoutError):
        return "timeout"
    return "connection" if isinstance(error, redis.ConnectionError) else "refused"


def _words(error: Exception) -> str:
    """Return what the server said; its answer to a missing or wrong password is a riddle."""
    text = str(error)
    if isinstance(error, redis.AuthenticationError) or text.startswith("HELLO must be called"):
        return "it refuses the user or the password of REDIS_URL."
    return text


class _Renewed(CredentialProvider):
    """User and password as the settings have them now, asked for at every new connection.

    A password that is changed in a mounted Secret is then taken up without a restart.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        parts = urlsplit(self._read())
        password = unquote(parts.password or "")
        user = unquote(parts.username or "")
        return (user, password) if user else (password,)


def connect(url: Secret, renew: Callable[[], str] | None = None) -> redis.Redis:
    """Return a client that does not retry. It connects at its first call.

    `renew` returns the address as the settings have it now; of one server's, user and password are
    taken from it.
    """
    try:
        address = parse(url.reveal())
        if address.kind == SENTINEL:
            return _by_sentinel(address)
        if address.kind == CLUSTER:
            return cast(redis.Redis, _LateCluster(address))
        return _one_server(url.reveal(), renew)
    except BadAddress as exc:
        raise Misconfigured(f"REDIS_URL must be {exc}.") from None
    except ValueError:  # its words would repeat the address
        raise Misconfigured(
            "REDIS_URL is no address that a Redis client takes.",
            advice="It is like redis://:password@host:6379/0; options go behind a question mark.",
        ) from None


def _one_server(url: str, renew: Callable[[], str] | None) -> redis.Redis:
    parts = urlsplit(url)
    if renew is None or not parts.password:
        return redis.Redis.from_url(url, **_patience())
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return redis.Redis.from_url(bare, credential_provider=_Renewed(renew), **_patience())


def _patience() -> dict[str, Any]:
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": SOCKET,
        "socket_connect_timeout": SOCKET,
    }


def _by_sentinel(address: Address) -> redis.Redis:
    """Every new connection asks the sentinels anew, so a failover needs nothing more."""
    asked = {
        **_patience(),  # one that is away is passed over at once, not tried ten times
        "socket_timeout": ASK_SENTINEL,
        "socket_connect_timeout": ASK_SENTINEL,
        "username": _option(address, "sentinel_username"),
        "password": _option(address, "sentinel_password"),
        **_tls(address),
    }
    make: Any = Sentinel  # untyped
    sentinel = make(list(address.hosts), sentinel_kwargs=asked, **_patience())
    master = sentinel.master_for(address.service, db=address.db, **_account(address))
    return cast(redis.Redis, master)


class _LateCluster:
    """A cluster's client that connects at its first call, as the others do; this one cannot."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._client: Any = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
        return getattr(self._client, name)

    def close(self) -> None:
        """Let go of the connections, if there are any."""
        if self._client is not None:
            self._client.close()

    def _connect(self) -> Any:
        node: Any = ClusterNode  # untyped
        nodes = [node(host, port) for host, port in self._address.hosts]
        client: Any = RedisCluster
        with translated():
            return client(startup_nodes=nodes, **_patience(), **_account(self._address))


def _account(address: Address) -> dict[str, Any]:
    return {
        "username": address.user,
        "password": address.password.reveal() if address.password else None,
        **_tls(address),
    }


def _tls(address: Address) -> dict[str, Any]:
    if not address.tls:
        return {}
    chosen = {name: text.reveal() for name, text in address.options.items() if name[:4] == "ssl_"}
    return {"ssl": True, **chosen}


def _option(address: Address, name: str) -> str | None:
    value = address.options.get(name)
    return value.reveal() if value else None
