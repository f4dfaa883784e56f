"""Messages that were no orders, or that an executor never accepts: kept until somebody acts.

Goes in: a claimed message with the reason. Comes out: letters by number, their very bytes back in
the queue, or gone by somebody's word. Numbers count from the oldest, so that a new letter changes
none that was seen.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass
from typing import Any, cast

from contract import names
from contract.errors import BadMessage
from dispatcher.connection import Door, translated


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: its number, its item in Redis, what it says, the message's bytes."""

    number: int
    item: bytes
    data: dict[str, Any]
    message: bytes


class DeadLetters(Door):
    """The dead list."""

    def dead(self) -> list[dict[str, Any]]:
        """Return what the dead letters say, newest first, with their numbers."""
        return [{"number": letter.number, **letter.data} for letter in reversed(self.letters())]

    def letters(self) -> list[Letter]:
        """Return the dead letters, oldest first."""
        with translated():
            items = self._redis.lrange(names.dead_list(self._queue), 0, -1)
        return [_letter(number, item) for number, item in enumerate(reversed(items), 1)]

    def newest(self, most: int) -> list[Letter]:
        """Return the newest letters, newest first: at most so many, however many there are."""
        key = names.dead_list(self._queue)
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.llen(key)
            pipe.lrange(key, 0, most - 1)
            count, items = pipe.execute()
        return [_letter(count - place, item) for place, item in enumerate(items)]

    def dead_count(self) -> int:
        """Return how many there are."""
        with translated():
            return cast(int, self._redis.llen(names.dead_list(self._queue)))

    def requeue(self, letter: Letter) -> bool:
        """Push the message's very bytes onto the queue again; false when it is not there."""
        pair = (letter.item, letter.message)
        return self._move(names.dead_list(self._queue), self._queue, "LPUSH", pair) == 1

    def drop(self, letter: Letter) -> bool:
        """Forget a letter; false when it is not there."""
        with translated():
            return bool(self._redis.lrem(names.dead_list(self._queue), -1, letter.item))


def dead_letter(error: BadMessage) -> str:
    """Return the dead list's entry: reason, advice, time, and the very bytes of the message."""
    letter: dict[str, Any] = {"reason": error.summary, "advice": error.advice, "at": time.time()}
    try:
        letter["message"] = error.raw.decode("utf-8")
    except UnicodeDecodeError:
        letter["message_base64"] = base64.b64encode(error.raw).decode()
    return json.dumps(letter, ensure_ascii=False)


def _letter(number: int, item: bytes) -> Letter:
    """Read an entry; one that somebody else has put there is a message itself."""
    try:
        data = json.loads(item)
        message = _message(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        text = item.decode("utf-8", "replace")
        return Letter(number, item, {"reason": "", "message": text}, item)
    return Letter(number, item, data, message)


def _message(data: dict[str, Any]) -> bytes:
    if "message_base64" in data:
        return base64.b64decode(data["message_base64"], validate=True)
    return str(data["message"]).encode("utf-8")
