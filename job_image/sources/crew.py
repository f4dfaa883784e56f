"""A few threads that work off a list, go on past what fails, and end within seconds when told to.

Goes in: jobs, and the work to do on one, which may give further jobs (a film its pieces): they are
done before the rest. Comes out: the jobs that failed for a passing reason, with it. Anything else
that goes wrong ends the whole at once. The threads are daemons on purpose: one
that waits for a silent server must not hold the program back after SIGTERM.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from contract.errors import Temporary
from job_image.sources.pace import RateLimited
from job_image.sources.width import Sight, Width
from job_image.stop import Stop

TICK = 0.1
"""Seconds between two looks at the stop flag and the clock."""

GRACE = 3.0
"""Seconds that threads have to put away their work once told to stop."""

_NONE = object()

J = TypeVar("J", bound=Hashable)
T = TypeVar("T")


class Crew(Generic[J]):
    """The threads: as many as `width` says.

    `work(job, stop)` must look at `stop`, which is the crew's own. `spare()` may give an idle
    thread a share in a job under way; it must not wait.
    """

    def __init__(
        self,
        width: Width,
        work: Callable[[J, Stop], Iterable[J] | None],
        spare: Callable[[], J | None] = lambda: None,
    ) -> None:
        self._width = width
        self._work = work
        self._spare = spare
        self._brake = Stop()
        self._jobs: deque[J] = deque()
        self._busy = 0
        self._idle = 0
        self._news = threading.Condition()
        self._alive: dict[int, threading.Thread] = {}
        self._ended = threading.Event()
        self._failed: dict[J, Temporary] = {}
        self._in_a_row = 0
        self._unseen = 0
        """Jobs done since the last look at the number of threads."""
        self._see: Callable[[], Sight] = Sight
        self._fatal: BaseException | None = None

    def shrink(self) -> None:
        """Work with half as many threads from the next job on (the platform asked for less)."""
        with self._news:
            self._width.refused(time.monotonic())

    def call(self) -> None:
        """Let idle threads look for a share in a job under way."""
        with self._news:
            if self._idle:
                self._news.notify_all()

    def run(
        self,
        jobs: Iterable[J],
        stop: Stop,
        tick: Callable[[], None],
        abort: Callable[[], None],
        see: Callable[[], Sight] = Sight,
    ) -> dict[J, Temporary]:
        """Do all jobs; return the failed ones. Raise the first error that is no `Temporary`.

        `tick` is called several times a second; `abort` when waiting threads are to be freed;
        `see` tells what has come so far, by which the number of threads is judged.
        """
        self._jobs.extend(jobs)
        self._failed = {}
        self._see = see
        try:
            while self._is_manned():
                stop.check()
                tick()
                self._ended.wait(TICK)
                self._raise()
            self._raise()
            return self._failed
        except BaseException:
            self._brake.request()
            abort()
            self._dismiss()
            raise

    def _raise(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    def _is_manned(self) -> bool:
        """Have as many threads as there should be; False when all is done."""
        with self._news:
            self._man()
            if self._alive and self._fatal is None:
                self._ended.clear()
            return bool(self._alive)

    def _man(self) -> None:
        """Look how many threads there should be, and start those that lack (under the lock)."""
        self._unseen = 0
        self._width.look(time.monotonic(), self._see(), max(1, self._busy))
        for number in range(self._width.size):
            if number not in self._alive and (self._jobs or self._may_help()):
                self._alive[number] = self._start(number)

    def _note(self, job: J, error: BaseException | None) -> None:
        """Count how a job has ended (under the lock)."""
        self._in_a_row = self._in_a_row + 1 if error else 0
        if error is None:
            return
        # Many in a row: nothing works at all, so not the files are ill but the network.
        too_many = self._in_a_row >= 2 * self._width.size + 4
        if isinstance(error, Temporary) and not isinstance(error, RateLimited) and not too_many:
            self._failed[job] = error
        else:
            self._fatal = self._fatal or error
            self._ended.set()

    def _start(self, number: int) -> threading.Thread:
        thread = threading.Thread(
            target=self._loop, args=(number,), name=f"fetch-{number}", daemon=True
        )
        thread.start()
        return thread

    def _loop(self, number: int) -> None:
        try:
            while (job := self._take(number)) is not _NONE:
                self._do(job)
        finally:
            with self._news:
                del self._alive[number]
                if not self._alive:
                    self._ended.set()

    def _take(self, number: int) -> J | Any:
        """Return the next job, waiting while one may yet come; `_NONE` when none will."""
        with self._news:
            while self._is_wanted(number):
                if self._jobs:
                    self._busy += 1
                    return self._jobs.popleft()
                if not self._busy:
                    break
                if self._may_help() and (job := self._spare()) is not None:
                    self._busy += 1
                    return job
                self._idle += 1
                self._news.wait(TICK)
                self._idle -= 1
            return _NONE

    def _may_help(self) -> bool:
        """Whether an idle thread may do some of a job under way: its line is slow."""
        return self._width.is_slow and 0 < self._busy < self._width.size

    def _is_wanted(self, number: int) -> bool:
        return number < self._width.size and self._fatal is None and not self._brake.requested

    def _do(self, job: J) -> None:
        more: Iterable[J] = ()
        error: BaseException | None = None
        try:
            more = list(self._work(job, self._brake) or ())
        except BaseException as exc:  # noqa: BLE001 - a thread's edge: handed to the main thread
            error = exc
        with self._news:
            self._unseen += 1
            if self._unseen >= self._width.size and self._jobs and self._is_wanted(0):
                self._man()
            self._busy -= 1
            self._jobs.extendleft(reversed(list(more)))
            self._note(job, error)
            if self._idle:
                self._news.notify_all()

    def _dismiss(self) -> None:
        deadline = time.monotonic() + GRACE
        for thread in list(self._alive.values()):
            thread.join(max(0.0, deadline - time.monotonic()))


def attended(work: Callable[[], T], stop: Stop, abort: Callable[[], None]) -> T:
    """Return what `work` returns, or raise `Stopped` soon after it was asked for, whatever it does.

    For requests outside the crew: the main thread must not be the one that waits for an answer.
    """
    results: list[T] = []
    crew = Crew[None](Width(1, 1), lambda _, __: results.append(work()))
    failed = crew.run([None], stop, tick=lambda: None, abort=abort)
    for error in failed.values():
        raise error
    return results[0]
