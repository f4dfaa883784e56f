"""Promised slots, kept in Redis: which runs the dispatchers are about to start.

One sorted set per queue. A member names a run, its score is the second at which the promise lapses,
by Redis' own clock; one more member counts, below zero, how often promises were made. Promises are
made all at once or not at all, and only if nobody has made any since the caller looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract import names
from dispatcher.connection import Door, translated

LASTS = 60
"""Seconds that a promise counts: as long as a run may be alive without every dispatcher seeing it.
A watch brings a new Job within milliseconds, a look at a folder within a second."""

FORGOTTEN = 86400
"""Seconds after which Redis drops the set of a queue that nobody serves."""

_READ = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, redis.call('TIME')[1])
local made = redis.call('ZSCORE', KEYS[1], 'count') or '0'
return {made, redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf')}
"""

_PROMISE = """
if (redis.call('ZSCORE', KEYS[1], 'count') or '0') ~= ARGV[1] then return 0 end
local lapses = redis.call('TIME')[1] + ARGV[2]
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], lapses, ARGV[i]) end
redis.call('ZINCRBY', KEYS[1], -1, 'count')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True, order=True)
class Promise:
    """One run that `owner`, a dispatcher, is about to start or has just started."""

    name: str
    attempt: int
    owner: str

    def dump(self) -> str:
        """Return it as a member of the set."""
        return f"{self.name}/{self.attempt}/{self.owner}"


def _parse(member: bytes) -> Promise | None:
    name, _, rest = member.decode("utf-8", "replace").partition("/")
    attempt, _, owner = rest.partition("/")
    return Promise(name, int(attempt), owner) if attempt.isdecimal() else None


class Promises(Door):
    """The promised slots of one queue."""

    def promised(self) -> tuple[str, frozenset[Promise]]:
        """Return the state to be given to `promise`, and all promises that count now."""
        with translated():
            state, members = self._redis.eval(_READ, 1, names.slots_key(self._queue))
        return _text(state), frozenset(filter(None, map(_parse, members)))

    def promise(self, state: str, promises: Sequence[Promise]) -> bool:
        """Make promises; false, and none is made, when others were faster since `state`."""
        members = [promise.dump() for promise in promises]
        key = names.slots_key(self._queue)
        with translated():
            return bool(self._redis.eval(_PROMISE, 1, key, state, LASTS, FORGOTTEN, *members))

    def take_back(self, promises: Sequence[Promise]) -> None:
        """Take promises back whose runs have ended, or will never be."""
        if promises:
            with translated():
                self._redis.zrem(names.slots_key(self._queue), *(p.dump() for p in promises))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
