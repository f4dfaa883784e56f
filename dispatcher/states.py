"""The board: what each task's hash in Redis says, for people and for the memory of finished tasks.

Goes in: fields of one task or of many. Comes out: the same, from a hash per task, and each change
in a capped stream of events. Many are read and written in few round trips.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from contract import names
from dispatcher.connection import CHUNK, Door, text, translated

T = TypeVar("T")


class States(Door):
    """The states of tasks. A task's hash is known by the task's id alone, whatever the queue."""

    def show(self, task_key: str) -> dict[str, str]:
        """Return the task's hash; empty when nothing is known."""
        with translated():
            found = self._redis.hgetall(names.task_hash(task_key))
        return {text(k): text(v) for k, v in found.items()}

    def statuses(self, task_keys: Sequence[str]) -> dict[str, str]:
        """Return what the board says of each task, "" when nothing is known."""
        found: dict[str, str] = {}
        with translated():
            for keys in _chunks(task_keys):
                pipe = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipe.hget(names.task_hash(key), "status")
                said = (text(status or b"") for status in pipe.execute())
                found.update(zip(keys, said, strict=True))
        return found

    def write(self, task_key: str, fields: Mapping[str, str], *, forget_in: float = 0) -> None:
        """Set fields of the task's hash and append them to the stream of events.

        `forget_in` seconds from now the hash goes; 0 keeps it.
        """
        with translated():
            # The two keys may lie in different slots of a cluster, which knows no such transaction.
            pipe = self._redis.pipeline(transaction=not self._clustered)
            _write(pipe, task_key, fields, forget_in)
            pipe.execute()

    def write_all(self, fields: Mapping[str, Mapping[str, str]]) -> None:
        """Do for many tasks at once what `write` does for one."""
        with translated():
            for keys in _chunks(fields):
                pipe = self._redis.pipeline(transaction=False)
                for key in keys:
                    _write(pipe, key, fields[key], 0)
                pipe.execute()

    def set_obstacle(self, task_key: str, text: str) -> None:
        """Say what holds a task up. A hash that this makes is forgotten after a day."""
        key = names.task_hash(task_key)
        with translated():
            known = self._redis.exists(key)
            self._redis.hset(key, "obstacle", text.encode("utf-8", "replace"))
            if not known:
                self._redis.expire(key, 86400)

    def tasks(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield every known task's id and hash, in no order. One that changes may come twice."""
        prefix = names.task_hash("")
        with translated():
            for keys in _chunks(self._redis.scan_iter(match=prefix + "*", count=CHUNK)):
                pipe = self._redis.pipeline(transaction=False)
                for key in keys:
                    pipe.hgetall(key)
                for key, found in zip(keys, pipe.execute(), strict=True):
                    if found:  # it may have been forgotten in between
                        fields = {text(k): text(v) for k, v in found.items()}
                        yield text(key).removeprefix(prefix), fields


def _write(pipe: Any, task_key: str, fields: Mapping[str, str], forget_in: float) -> None:
    key = names.task_hash(task_key)
    known = {**fields, "updated": f"{time.time():.3f}"}
    data = {name: value.encode("utf-8", "replace") for name, value in known.items()}
    pipe.hset(key, mapping=data)
    if forget_in:
        pipe.expire(key, int(forget_in) + 1)
    else:
        pipe.persist(key)
    event = {"task": task_key, **data}
    pipe.xadd(names.EVENTS_KEY, event, maxlen=names.EVENTS_LIMIT, approximate=True)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
