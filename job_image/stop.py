"""Being told to stop: one flag that every wait and every loop looks at.

SIGTERM sets it; steps call `check()` at each safe point and wait only through `wait()`, so the
program ends within seconds wherever it is. Thread-safe.
"""

from __future__ import annotations

import threading

from contract.errors import Stopped


class Stop:
    """The flag."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Ask everything to stop at the next safe point (safe in a signal handler)."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if somebody asked."""
        if self._event.is_set():
            raise Stopped("Told to stop; the work done so far is kept.")

    def wait_for_request(self) -> None:
        """Wait until somebody asks, for as long as it takes."""
        self._event.wait()

    def wait(self, seconds: float) -> None:
        """Wait; raise `Stopped` as soon as somebody asks."""
        if self._event.wait(seconds):
            self.check()
