"""The counts of one fetch: bytes, files, totals; told to the progress and, now and then, the log.

Goes in: what the threads have done. Comes out: `Progress` updates, and a log line per 10 seconds
or 5 percent, for a log is no screen. Totals are estimates until the servers have told the sizes.
"""

from __future__ import annotations

import threading
import time

from contract.log import Log
from job_image.progress import Progress
from job_image.sources.figures import size
from job_image.sources.plan import File

LINE_SECONDS = 10.0
LINE_SHARE = 0.05
_LEAST_SECONDS = 1.0

_BIG = ("video", "stream", "document", "attachment")
"""Kinds whose size matters for the percentage; captions and texts are crumbs beside them."""


class Tally:
    """Counts one fetch. Thread-safe."""

    def __init__(self, progress: Progress, log: Log) -> None:
        self._progress = progress
        self._log = log
        self._lock = threading.Lock()
        self._sizes: dict[str, int | None] = {}
        self._sum = 0
        self._unknown = 0
        self.files = 0
        self.files_done = 0
        self.received = 0
        """Body bytes that came over the network, those fetched twice included."""
        self.reused = 0
        """Bytes that were found on the volume."""
        self._there = 0
        self._line_at = time.monotonic()
        self._line_there = 0
        self._speed_from = (self._line_at, 0)

    def begin(self, files: tuple[File, ...]) -> None:
        """Begin with the sizes that the platform gave."""
        self.files = len(files)
        self._sizes = {file.key: file.size for file in files if file.kind in _BIG}
        self._sum = sum(one or 0 for one in self._sizes.values())
        self._unknown = sum(one is None for one in self._sizes.values())
        self._progress.begin("fetch", total_bytes=self.total(), total_items=self.files)

    def total(self) -> int | None:
        """Return the bytes of the whole course; None while a size is unknown."""
        return None if self._unknown else self._sum

    def learn(self, key: str, total: int | None) -> None:
        """Note the true size of a file."""
        with self._lock:
            if key in self._sizes and total is not None and self._sizes[key] != total:
                before = self._sizes[key]
                self._unknown -= before is None
                self._sum += total - (before or 0)
                self._sizes[key] = total
                self._progress.expect(total_bytes=self.total())

    def found(self, count: int, files: int = 0) -> None:
        """Count bytes and files that were there already."""
        with self._lock:
            self.reused += count
            self._there += count
            self.files_done += files
        self._progress.advance(bytes_=count, items=files)

    def came(self, count: int, *, kept: int) -> None:
        """Count bytes that came, and how many of them were new (negative: bytes thrown away)."""
        with self._lock:
            self.received += count
            self._there += kept
        if kept:
            self._progress.advance(bytes_=kept)

    def finished(self) -> None:
        """Count a finished file."""
        with self._lock:
            self.files_done += 1
        self._progress.advance(items=1)

    def speak(self) -> None:
        """Write a log line if it is time for one (called by one thread, often)."""
        now = time.monotonic()
        passed = now - self._line_at
        if passed < _LEAST_SECONDS:
            return
        total = self.total() or 0
        share = (self._there - self._line_there) / total if total else 0.0
        if passed >= LINE_SECONDS or share >= LINE_SHARE:
            self._line(now, total)

    def _line(self, now: float, total: int) -> None:
        since, before = self._speed_from
        speed = (self.received - before) / max(now - since, 0.001)
        self._speed_from = (now, self.received)
        self._line_at, self._line_there = now, self._there
        of = f" of {size(total)} ({min(100, 100 * self._there // total)} %)" if total else ""
        self._log.event(
            "SANDBOX",
            "%d of %d files, %s%s, %s/s.",
            self.files_done,
            self.files,
            size(self._there),
            of,
            size(speed),
        )
