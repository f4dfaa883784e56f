"""A few threads that act on many tasks, so that one task's trouble never stops the others.

What is refused or unavailable for one task is logged with its name, and that task rests a moment
before it is looked at again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from contract.errors import CourseRunnerError, Retryable
from contract.log import Log

WORKERS = 8
"""Threads: what saturates one API server (8 to 16 gave the same, 1 gave half)."""

REST = 2.0
"""Seconds a troubled task rests, unless the trouble says how long."""

T = TypeVar("T")


class Crew:
    """Runs acts in threads. Used from one thread at a time."""

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="crew")
        self._rest: dict[str, float] = {}

    def close(self) -> None:
        """Wait for acts under way."""
        self._pool.shutdown(wait=True)

    def resting(self, name: str) -> bool:
        """Whether `name` had trouble a moment ago."""
        return self._rest.get(name, 0.0) > self._clock()

    def each(self, items: Iterable[T], name: Callable[[T], str], act: Callable[[T], None]) -> int:
        """Act on each item whose name is not resting; return how many went well."""

        def guarded(item: T) -> int:
            return self._act(name(item), lambda: act(item))

        ready = [item for item in items if not self.resting(name(item))]
        return sum(self._pool.map(guarded, ready))

    def _act(self, name: str, act: Callable[[], None]) -> int:
        try:
            act()
        except CourseRunnerError as exc:
            wait = exc.retry_after if isinstance(exc, Retryable) else None
            self._rest[name] = self._clock() + (wait or REST)
            self._log.event("KEEP", "%s: %s", name, exc.summary, level=logging.WARNING)
            return 0
        self._rest.pop(name, None)
        return 1
