"""A few threads that work off a list, go on past what fails, and end within seconds when told to.

Goes in: jobs, and the work to do on one, which may give further jobs (a film its pieces): they are
done before the rest. Comes out: the jobs that failed for a passing reason, with it. Anything else
that goes wrong ends the whole at once. The threads are daemons on purpose: one
that waits for a silent server must not hold the program back after SIGTERM.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from contract.errors import Temporary
from job_image.sources.pace import RateLimited
from job_image.stop import Stop

TICK = 0.2
"""Seconds between two looks at the stop flag and the clock."""

GRACE = 3.0
"""Seconds that threads have to put away their work once told to stop."""

_NONE = object()

J = TypeVar("J", bound=Hashable)
T = TypeVar("T")


class Crew(Generic[J]):
    """The threads. `work(job, stop)` must look at `stop`, which is the crew's own."""

    def __init__(self, size: int, work: Callable[[J, Stop], Iterable[J] | None]) -> None:
        self._size = size
        self._work = work
        self._brake = Stop()
        self._jobs: deque[J] = deque()
        self._busy = 0
        self._news = threading.Condition()
        self._results: queue.SimpleQueue[tuple[J, BaseException | None] | None] = (
            queue.SimpleQueue()
        )

    def shrink(self) -> None:
        """Work with half as many threads from the next job on (the platform asked for less)."""
        self._size = max(1, self._size // 2)

    def run(
        self, jobs: Iterable[J], stop: Stop, tick: Callable[[], None], abort: Callable[[], None]
    ) -> dict[J, Temporary]:
        """Do all jobs; return the failed ones. Raise the first error that is no `Temporary`.

        `tick` is called several times a second; `abort` when waiting threads are to be freed.
        """
        self._jobs.extend(jobs)
        threads = [self._start(number) for number in range(self._size if self._jobs else 0)]
        try:
            return self._collect(len(threads), stop, tick)
        except BaseException:
            self._brake.request()
            abort()
            self._dismiss(threads)
            raise

    def _collect(self, running: int, stop: Stop, tick: Callable[[], None]) -> dict[J, Temporary]:
        failed: dict[J, Temporary] = {}
        in_a_row = 0
        while running:
            stop.check()
            tick()
            try:
                result = self._results.get(timeout=TICK)
            except queue.Empty:
                continue
            if result is None:
                running -= 1
                continue
            job, error = result
            in_a_row = in_a_row + 1 if error else 0
            if error is not None:
                failed[job] = self._passing(error, in_a_row)
        return failed

    def _passing(self, error: BaseException, in_a_row: int) -> Temporary:
        """Return the error if the others may go on, else raise it."""
        if not isinstance(error, Temporary) or isinstance(error, RateLimited):
            raise error
        if in_a_row >= 2 * self._size + 4:
            raise error  # nothing works at all: not the files are ill but the network
        return error

    def _start(self, number: int) -> threading.Thread:
        thread = threading.Thread(
            target=self._loop, args=(number,), name=f"fetch-{number}", daemon=True
        )
        thread.start()
        return thread

    def _loop(self, number: int) -> None:
        try:
            while number < self._size and (job := self._take()) is not _NONE:
                self._results.put((job, self._outcome(job)))
        finally:
            self._results.put(None)

    def _take(self) -> J | Any:
        """Return the next job, waiting while one may yet come; `_NONE` when none will."""
        with self._news:
            while not self._jobs and self._busy and not self._brake.requested:
                self._news.wait(TICK)
            if not self._jobs or self._brake.requested:
                return _NONE
            self._busy += 1
            return self._jobs.popleft()

    def _outcome(self, job: J) -> BaseException | None:
        more: Iterable[J] | None = None
        try:
            more = self._work(job, self._brake)
        except BaseException as exc:  # noqa: BLE001 - a thread's edge: handed to the main thread
            return exc
        finally:
            with self._news:
                self._busy -= 1
                self._jobs.extendleft(reversed(list(more or ())))
                self._news.notify_all()
        return None

    def _dismiss(self, threads: list[threading.Thread]) -> None:
        deadline = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def attended(work: Callable[[], T], stop: Stop, abort: Callable[[], None]) -> T:
    """Return what `work` returns, or raise `Stopped` soon after it was asked for, whatever it does.

    For requests outside the crew: the main thread must not be the one that waits for an answer.
    """
    results: list[T] = []
    crew = Crew[None](1, lambda _, __: results.append(work()))
    failed = crew.run([None], stop, tick=lambda: None, abort=abort)
    for error in failed.values():
        raise error
    return results[0]
