"""The thread that notices: a process that ended at once, everything else within an interval.

Goes in: processes to watch, two callbacks. Pidfds make the end of a process an event without
signals, for children and for processes found again alike. Other programs' changes of the files
(the command line's, the job's) are found by looking, because files cannot tell.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from contract.log import Log
from dispatcher.executors.local.process import Process


class Watcher:
    """Calls `ended(key)` once when a watched process ended, and `look()` every `interval` s."""

    def __init__(
        self, ended: Callable[[str], None], look: Callable[[], None], interval: float
    ) -> None:
        self._ended = ended
        self._look = look
        self._interval = interval
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._keys: dict[int, tuple[str, Process]] = {}
        self._watched: set[Process] = set()
        self._mutex = threading.Lock()
        self._stop = False
        self._next_look = time.monotonic() + interval
        self._thread = threading.Thread(target=self._run, name="local-executor", daemon=True)
        self.trouble = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of all descriptors. The processes go on."""
        self._stop = True
        os.eventfd_write(self._bell, 1)
        if self._thread.ident is not None:
            self._thread.join()
        with self._mutex:
            for descriptor in (*self._keys, self._bell):
                os.close(descriptor)
            self._keys.clear()
            self._watched.clear()
        self._epoll.close()

    def watch(self, key: str, process: Process) -> bool:
        """Watch `process` for `ended(key)`; again is harmless; false when it is gone."""
        with self._mutex:
            if self._stop or process in self._watched:
                return True
            descriptor = process.open()
            if descriptor is None:
                return False
            self._keys[descriptor] = (key, process)
            self._watched.add(process)
            self._epoll.register(descriptor, select.EPOLLIN)
            return True

    def _run(self) -> None:
        while not self._stop:
            try:
                self._once()
                self.trouble = ""
            except Exception as exc:  # noqa: BLE001 - a thread's outermost edge; it must go on
                self._complain(exc)

    def _once(self) -> None:
        """Handle ends as they come, but look only once per interval however many there are."""
        left = max(0.0, self._next_look - time.monotonic())
        for descriptor, _ in self._epoll.poll(left):
            if descriptor != self._bell:
                self._ended(self._forget(descriptor))
        if not self._stop and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + self._interval
            self._look()

    def _forget(self, descriptor: int) -> str:
        with self._mutex:
            key, process = self._keys.pop(descriptor)
            self._watched.discard(process)
            self._epoll.unregister(descriptor)
            os.close(descriptor)
        return key

    def _complain(self, exc: Exception) -> None:
        """Report a fault once, not every interval; a fault that repeats at once must not spin."""
        why = f"Watching the local runs failed: {exc}"
        if why != self.trouble:
            Log.for_task().error("%s", why, exc_info=exc)
        self.trouble = why
        threading.Event().wait(self._interval)
