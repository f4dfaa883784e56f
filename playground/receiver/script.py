"""What the receiver answers instead of its own judgement, delivery by delivery.

In: answers, from code or as JSON. Out: the next one, until they are used up; then judgement decides
again.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from playground.wire import Reply
from playground.wire.reply import plain


class ScriptError(ValueError):
    """An answer that cannot be understood; the text names the part and the cure."""


@dataclass(frozen=True)
class Answer:
    """One scripted answer, given `times` times."""

    status: int = 500
    body: str = "scripted"
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0
    """Seconds before it comes."""
    drop: bool = False
    """Reset the connection instead."""
    times: int = 1

    def reply(self) -> Reply:
        """The answer as it is sent."""
        made = plain(self.body, self.status)
        for name, value in self.headers.items():
            made = made.with_header(name, value)
        return replace(made, delay=self.hang, dropped=self.drop)


class Script:
    """Answers that wait for their delivery."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Answer] = []

    def set(self, answers: Iterable[Answer]) -> None:
        """Forget what is left and answer with these."""
        with self._lock:
            self._waiting = [answer for answer in answers for _ in range(answer.times)]

    def take(self) -> Answer | None:
        """The answer for the delivery that has just come."""
        with self._lock:
            return self._waiting.pop(0) if self._waiting else None


def parse(value: Any) -> list[Answer]:
    """Answers from a JSON list of objects; ScriptError names what is wrong."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ScriptError('A script is a list of objects such as {"status": 500, "times": 2}.')
    known = {one.name for one in fields(Answer)}
    for one in value:
        if unknown := sorted(one.keys() - known):
            raise ScriptError(f"An answer does not know {unknown}; it takes {sorted(known)}.")
    return [Answer(**one) for one in value]
