"""What was said already: an outage has one cause, and saying it for every act would drown the log.

Goes in: causes, as they come. Comes out: which of them is worth a line now, and how many came
without one since. Kept for a minute, so that an outage that lasts is not forgotten either.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

AGAIN = 60.0
"""Seconds after which the same cause is said again."""

_NUMBER = re.compile(r"\d+")


class Complaints:
    """Counts causes. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, tuple[float, int]] = {}
        """When each cause was said last, and how often it came since."""

    def due(self, cause: str) -> int | None:
        """Return how often `cause` came unsaid if it is to be said now; None when it is not."""
        with self._lock:
            now = self._clock()
            at, unsaid = self._said.get(cause, (now - AGAIN, 0))
            if now - at < AGAIN:
                self._said[cause] = at, unsaid + 1
                return None
            self._said = {c: s for c, s in self._said.items() if now - s[0] < 2 * AGAIN}
            self._said[cause] = now, 0
            return unsaid


def alike(words: str, *names: str) -> str:
    """Return `words` without the given names and without numbers: the cause that many share."""
    for name in names:
        words = words.replace(name, "*")
    return _NUMBER.sub("#", words)
