"""A few threads that act on many tasks, so that one task's trouble never stops the others.

What is refused or unavailable for one task is logged with its name, and that task rests a moment
before it is looked at again. A cause that many share is logged once, and when no act gets through
to the executor at all, that is told to whoever asks. Told to stop, nothing waits for an act that
hangs: what it was about is claimed, or derived from objects, and is asked for again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from contract import names
from contract.errors import CourseRunnerError, Retryable, Stopped
from contract.log import Log
from contract.task import Task
from dispatcher.complaints import Complaints, alike
from dispatcher.executors import Busy, Outdated, Unavailable

WORKERS = 8
"""Threads: what saturates one API server (8 to 16 gave the same, 1 gave half)."""

REST = 2.0
"""Seconds a troubled task rests, unless the trouble says how long."""

GRACE = 3.0
"""Seconds that acts under way may still take once the dispatcher is told to stop."""

LOOK = 0.2
"""Seconds between two looks whether it was told to."""

HELD = 90.0
"""Seconds that the word of a trouble holds while nothing is tried: a slot that was granted for a
run is kept for 60."""

T = TypeVar("T")


def _nobody(item: object) -> None:
    """What an item that is no task's is about."""


class Crew:
    """Runs acts in threads. Used from one thread at a time."""

    def __init__(
        self,
        log: Log,
        clock: Callable[[], float] = time.time,
        stop: threading.Event | None = None,
    ) -> None:
        """`stop`: set when the dispatcher is told to stop."""
        self._log = log
        self._clock = clock
        self._stop = stop or threading.Event()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="crew")
        self._rest: dict[str, float] = {}
        self._left: set[Future[int]] = set()
        self._stopping_since: float | None = None
        self._complaints = Complaints(clock)
        self._answered = False
        self._away = ""
        self._trouble, self._trouble_at = "", 0.0

    def close(self) -> bool:
        """Let go of the threads; false when acts are still under way, which then go on."""
        ended = all(act.done() for act in self._left)
        self._pool.shutdown(wait=ended, cancel_futures=True)
        return ended

    def resting(self, name: str) -> bool:
        """Whether `name` had trouble a moment ago."""
        return self._rest.get(name, 0.0) > self._clock()

    def trouble(self) -> str:
        """Return why every act since the last call found the executor unavailable, or "".

        While the troubled tasks rest there are none, and the last word holds for `HELD`.
        """
        answered, away = self._answered, self._away
        self._answered, self._away = False, ""
        if away and not answered:
            self._trouble, self._trouble_at = away, self._clock()
        elif answered or self._clock() - self._trouble_at > HELD:
            self._trouble = ""
        return self._trouble

    def each(
        self,
        items: Iterable[T],
        name: Callable[[T], str],
        act: Callable[[T], None],
        task: Callable[[T], Task | None] = _nobody,
    ) -> int:
        """Act on each item whose name is not resting; return how many went well.

        `task`: whom the log names. Raise `Stopped` when told to stop and the acts do not end.
        """

        def guarded(item: T) -> int:
            return self._act(name(item), lambda: act(item), lambda: task(item))

        ready = [item for item in items if not self.resting(name(item))]
        acts = [self._pool.submit(guarded, item) for item in ready]
        self._wait_for(set(acts))
        return sum(done.result() for done in acts)

    def _wait_for(self, acts: set[Future[int]]) -> None:
        while acts:
            _, acts = wait(acts, LOOK)
            if acts and self._is_out_of_patience():
                self._left |= {one for one in acts if not one.cancel()}
                raise Stopped(
                    f"Told to stop; {len(acts)} acts did not end within {GRACE:.0f} s and are left."
                )

    def _is_out_of_patience(self) -> bool:
        if not self._stop.is_set():
            return False
        now = time.monotonic()
        if self._stopping_since is None:
            self._stopping_since = now
        return now - self._stopping_since > GRACE

    def _act(self, name: str, act: Callable[[], None], task: Callable[[], Task | None]) -> int:
        try:
            act()
        except CourseRunnerError as exc:
            asked = exc.retry_after if isinstance(exc, Retryable) else None
            self._rest[name] = self._clock() + (asked or REST)
            if isinstance(exc, Unavailable):
                self._away = exc.summary
            else:
                self._answered = True
            if not isinstance(exc, Outdated):
                self._say(name, task(), exc)
            return 0
        self._answered = True
        self._rest.pop(name, None)
        return 1

    def _say(self, name: str, task: Task | None, error: CourseRunnerError) -> None:
        """Say what ails one task; of an outage that ails many, say it for the first alone."""
        cause = error.summary
        if isinstance(error, Retryable) and not isinstance(error, Busy):
            cause = alike(cause, names.object_name(task.key) if task else name)
        unsaid = self._complaints.due(cause)
        if unsaid is None:
            return
        log = self._log.bind(task_id=task.task_id) if task else self._log
        words = [f"Task {task.key}" if task else name, f"{error.summary} {error.advice}".rstrip()]
        more = f" (So it was {unsaid} more times since this was last said.)" if unsaid else ""
        log.event("KEEP", "%s: %s%s", *words, more, level=logging.WARNING)
