"""What people and dispatchers tell each other through Redis, beside the orders themselves.

Requests and their answers, the pause of intake, what the dispatcher says of its slots, and the
verdict of its last audit. All small JSON texts under keys that begin with the queue's name.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract import names
from dispatcher.connection import Door, translated

ANSWER_KEPT = 60
"""Seconds that an answer waits for whoever asked."""

STATE_KEPT = 60
"""Seconds that a dispatcher's word on its slots counts; it is repeated with every heartbeat."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: whether it was carried out, and one sentence."""

    done: bool
    text: str


class Requests(Door):
    """Requests, pause, state, audit."""

    def ask(self, action: str, task_key: str) -> str:
        """Ask the dispatcher to do something with a task; return the request's id."""
        ask_id = uuid.uuid4().hex
        item = json.dumps({"action": action, "task": task_key, "id": ask_id})
        with translated():
            self._redis.lpush(names.asks_list(self._queue), item)
        return ask_id

    def asks(self) -> list[tuple[bytes, str, str]]:
        """Return what is asked for, oldest first: the item itself, the action, the task's id."""
        with translated():
            items = self._redis.lrange(names.asks_list(self._queue), 0, -1)
        return [(item, *_ask(item)) for item in reversed(items)]

    def answered(self, item: bytes, answer: Answer | None = None) -> None:
        """Take one request off the list and leave its answer."""
        with translated():
            pipe = self._redis.pipeline(transaction=True)
            pipe.lrem(names.asks_list(self._queue), -1, item)
            ask_id = str(_object(item).get("id", ""))
            if answer is not None and ask_id:
                text = json.dumps({"done": answer.done, "text": answer.text})
                pipe.set(names.answer_key(self._queue, ask_id), text, ex=ANSWER_KEPT)
            pipe.execute()

    def answer(self, ask_id: str) -> Answer | None:
        """Return the answer to a request, if it is there."""
        data = self._read(names.answer_key(self._queue, ask_id))
        return Answer(data.get("done") is True, str(data.get("text", ""))) if data else None

    def pause(self, why: str = "") -> None:
        """Let nothing be claimed from now on. What is claimed or runs already goes on."""
        text = json.dumps({"at": time.time(), "why": why})
        with translated():
            self._redis.set(names.paused_key(self._queue), text)

    def resume(self) -> bool:
        """Let orders be claimed again; false when they were all along."""
        with translated():
            return bool(self._redis.delete(names.paused_key(self._queue)))

    def paused(self) -> dict[str, Any]:
        """Return since when (`at`, Unix seconds) and `why` nothing is claimed; empty if it is."""
        with translated():
            text = self._redis.get(names.paused_key(self._queue))
        # Whatever somebody has set by hand means a pause too.
        return {"at": 0.0, "why": "", **_object(text)} if text is not None else {}

    def say_state(self, state: Mapping[str, Any]) -> None:
        """Say how slots and accounts stand, for `why`."""
        text = json.dumps(dict(state), ensure_ascii=False).encode("utf-8", "replace")
        with translated():
            self._redis.set(names.state_key(self._queue), text, ex=STATE_KEPT)

    def state(self) -> dict[str, Any]:
        """Return what a dispatcher said within the last minute; empty when none is alive."""
        return self._read(names.state_key(self._queue))

    def say_audit(self, verdict: Mapping[str, Any]) -> None:
        """Keep the verdict of an audit."""
        text = json.dumps(dict(verdict), ensure_ascii=False).encode("utf-8", "replace")
        with translated():
            self._redis.set(names.audit_key(self._queue), text)

    def audit(self) -> dict[str, Any]:
        """Return the verdict of the last audit; empty when there was none."""
        return self._read(names.audit_key(self._queue))

    def _read(self, key: str) -> dict[str, Any]:
        with translated():
            return _object(self._redis.get(key))


def _ask(item: bytes) -> tuple[str, str]:
    data = _object(item)
    if "action" in data and "task" in data:
        return str(data["action"]), str(data["task"])
    return "unreadable", ""


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        data = json.loads(text or b"")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
