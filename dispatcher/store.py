"""What is kept in Redis for a queue: its list, what is claimed, the dispatchers.

The client never retries by itself: a retried LMOVE whose first answer was lost moves two items and
tells of one. So the claimed list, not an answer, is the truth, and `claimed()` is read again at
every turn. The client is made in `connection`; states of tasks, dead letters, promises and
requests have modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import redis

from contract import names
from contract.errors import BadMessage
from dispatcher.connection import (
    BLOCK,
    CHUNK,
    SOCKET,
    StoreUnavailable,
    connect,
    text,
    translated,
)
from dispatcher.dead_letters import DeadLetters, dead_letter
from dispatcher.promises import Promises
from dispatcher.requests import Answer, Requests
from dispatcher.states import States

__all__ = ["BLOCK", "SOCKET", "Answer", "Store", "StoreUnavailable", "connect", "dead_letter"]

HEARTBEAT = 60
"""Seconds after which a silent dispatcher's claimed list goes back to the queue."""

FIRST = 100
"""Orders of a window that are read first."""

WINDOW_BYTES = 1 << 20
"""Bytes that a window takes at most, roughly: a window of the largest orders would take 64 MiB."""

OVERLAP = 100
"""Items read twice between two chunks: as many may be withdrawn meanwhile, and none is missed."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Orders in the queue, claimed by this dispatcher, and dead letters."""

    queued: int
    claimed: int
    dead: int


_GLOB = re.compile(r"([*?\[\]\\])")
"""What Redis takes for a pattern in a key's name."""


class Store(DeadLetters, Requests, Promises, States):
    """All that is kept in Redis for one queue. Thread-safe, as the client is."""

    def __init__(
        self, client: redis.Redis, queue: str, identity: str, heartbeat: float = HEARTBEAT
    ) -> None:
        """`heartbeat`: seconds of silence after which others take this dispatcher for dead."""
        super().__init__(client, queue)
        self._identity = identity
        self._heartbeat = heartbeat
        self._claimed = names.claimed_list(queue, identity)

    @property
    def identity(self) -> str:
        """The name of this dispatcher."""
        return self._identity

    # --- the queue --------------------------------------------------------------------------------
    def push(self, raw: bytes) -> int:
        """Push an order as a backend does; return how many are waiting now."""
        with translated():
            return cast(int, self._redis.lpush(self._queue, raw))

    def claim(self, count: int) -> int:
        """Move up to `count` of the oldest orders to the claimed list; return how many moved."""
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for _ in range(count):
                pipe.lmove(self._queue, self._claimed, "RIGHT", "LEFT")
            return sum(1 for item in pipe.execute() if item is not None)

    def claim_or_wait(self, seconds: float = BLOCK) -> bool:
        """Wait for one order and claim it; false when none came."""
        with translated():
            moved = self._redis.blmove(self._queue, self._claimed, seconds, "RIGHT", "LEFT")
            return moved is not None

    def window(self, size: int) -> list[bytes]:
        """Return the oldest orders of the queue, oldest first: `size` of them, or `WINDOW_BYTES`.

        The first few tell how large orders are here, and so how many more are read.
        """
        with translated():
            found: list[bytes] = self._redis.lrange(self._queue, -FIRST, -1)
            if len(found) == FIRST:
                mean = sum(map(len, found)) / FIRST + 1
                last = min(size, int(WINDOW_BYTES / mean))
                if last > FIRST:
                    found = self._redis.lrange(self._queue, -last, -FIRST - 1) + found
        return found[::-1]

    def claim_these(self, chosen: Sequence[bytes]) -> int:
        """Move chosen orders to the claimed list, each in one step; return how many were there."""
        pairs = list(chain.from_iterable(zip(chosen, chosen, strict=True)))
        return self._move(self._queue, self._claimed, "LPUSH", pairs)

    def give_back(self, raw: bytes) -> bool:
        """Put a claimed order back at the queue's consuming end; false when it is not claimed."""
        return self._move(self._claimed, self._queue, "RPUSH", (raw, raw)) == 1

    def claimed(self) -> list[bytes]:
        """Return what this dispatcher has claimed and not settled, oldest first."""
        with translated():
            return list(reversed(self._redis.lrange(self._claimed, 0, -1)))

    def settle(self, raw: bytes) -> None:
        """Let go of a claimed order: its run is somebody else's care now."""
        with translated():
            self._redis.lrem(self._claimed, -1, raw)

    def bury(self, error: BadMessage) -> None:
        """Move a claimed message that is no order to the dead list, with its reason and bytes."""
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.lpush(names.dead_list(self._queue), dead_letter(error))
            pipe.lrem(self._claimed, -1, error.raw)
            pipe.execute()

    def lengths(self) -> Lengths:
        """Return how long the lists are, in one round trip."""
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in (self._queue, self._claimed, names.dead_list(self._queue)):
                pipe.llen(key)
            return Lengths(*pipe.execute())

    def waiting(self) -> int:
        """Return how many orders wait in the queue."""
        with translated():
            return cast(int, self._redis.llen(self._queue))

    def walk(self) -> Iterator[bytes]:
        """Yield every message in the queue and in all claimed lists, some of them twice.

        The lists may change while they are walked. An order is never missed: it moves from the
        queue to a claimed list, which is walked after the queue, or from a dead dispatcher's list
        back to the queue, and is then seen where it was before.
        """
        with translated():
            yield from self._all_claimed()
            yield from self._items(self._queue)
            yield from self._all_claimed()

    def queued(self) -> Iterator[bytes]:
        """Yield every message in the queue, newest first; some twice if it changes meanwhile."""
        with translated():
            yield from self._items(self._queue)

    def claims(self) -> dict[str, list[bytes]]:
        """Return what each dispatcher has claimed, also one that is in no list of dispatchers."""
        prefix = names.claimed_list(self._queue, "")
        pattern = _GLOB.sub(r"\\\1", prefix) + "*"
        with translated():
            keys = list(self._redis.scan_iter(match=pattern, count=CHUNK))
            return {text(key).removeprefix(prefix): list(self._items(key)) for key in keys}

    def walk_own(self) -> Iterator[bytes]:
        """Yield every message in the queue and in this dispatcher's own claimed list."""
        with translated():
            yield from self._items(self._claimed)
            yield from self._items(self._queue)

    def _all_claimed(self) -> Iterator[bytes]:
        members = self._redis.smembers(names.dispatchers_set(self._queue))
        lists = {names.claimed_list(self._queue, text(member)) for member in members}
        for key in lists | {self._claimed}:
            yield from self._items(key)

    def withdraw(self, raw: bytes) -> int:
        """Take every copy of a message out of the queue and the own claimed list; return how many.

        Not while orders are being handled: theirs would go on all the same.
        """
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.lrem(self._queue, 0, raw)
            pipe.lrem(self._claimed, 0, raw)
            return sum(pipe.execute())

    def _items(self, key: str) -> Iterator[bytes]:
        start = 0
        while True:
            chunk = self._redis.lrange(key, start, start + CHUNK - 1)
            yield from chunk
            if len(chunk) < CHUNK:
                return
            start += CHUNK - OVERLAP

    # --- dispatchers ------------------------------------------------------------------------------
    def beat(self) -> None:
        """Say that this dispatcher is alive."""
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.sadd(names.dispatchers_set(self._queue), self._identity)
            pipe.set(
                names.heartbeat_key(self._queue, self._identity),
                "1",
                px=int(self._heartbeat * 1000),
            )
            pipe.execute()

    def listed(self) -> set[str]:
        """Return the dispatchers that may have a claimed list."""
        with translated():
            return {text(m) for m in self._redis.smembers(names.dispatchers_set(self._queue))}

    def alive(self) -> set[str]:
        """Return the dispatchers whose heart beats."""
        beats = {one: names.heartbeat_key(self._queue, one) for one in self.listed()}
        with translated():
            return {one for one, key in beats.items() if self._redis.exists(key)}

    def register(self, dispatcher: str) -> None:
        """Make known a dispatcher that Redis forgot, so that its claimed list is looked after."""
        with translated():
            self._redis.sadd(names.dispatchers_set(self._queue), dispatcher)

    def leave(self) -> None:
        """Say that this dispatcher stops; others may adopt at once what it has claimed."""
        with translated():
            self._redis.delete(names.heartbeat_key(self._queue, self._identity))

    def adopt_orphans(self) -> int:
        """Give what dead dispatchers had claimed back to the consuming end; return how many."""
        with translated():
            known = self._redis.smembers(names.dispatchers_set(self._queue))
            others = sorted({text(member) for member in known} - {self._identity})
            return sum(self._adopt(other) for other in others)

    def _adopt(self, other: str) -> int:
        heartbeat = names.heartbeat_key(self._queue, other)
        if self._redis.exists(heartbeat):
            return 0
        source, count = names.claimed_list(self._queue, other), 0
        while self._redis.lmove(source, self._queue, "LEFT", "RIGHT") is not None:
            count += 1
        self._redis.srem(names.dispatchers_set(self._queue), other)
        if self._redis.exists(heartbeat):  # it was only paused, and its beat came in between
            self._redis.sadd(names.dispatchers_set(self._queue), other)
        return count

    def ping(self) -> None:
        """Raise `StoreUnavailable` unless Redis answers."""
        with translated():
            self._redis.ping()
