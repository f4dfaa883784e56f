"""The stream of events, read: what dispatchers and runs said of tasks, in order.

Redis keeps the last ten thousand or so; that is the page's memory of what happened before it was
started.
"""

from __future__ import annotations

from contract import names
from dispatcher.connection import Door, translated

BATCH = 5000
"""Events read at once."""

Event = tuple[str, dict[str, str]]
"""The event's id, and its fields."""


class Stream(Door):
    """Reads events."""

    def after(self, last: str) -> list[Event]:
        """Return the next events after the id `last`, "" for the oldest; at most `BATCH`."""
        with translated():
            start = f"({last}" if last else "-"
            found = self._redis.xrange(names.EVENTS_KEY, min=start, count=BATCH)
        return [(_text(event_id), _fields(fields)) for event_id, fields in found]


def _fields(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in fields.items()}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
