"""How far the task is: counted by the steps, published by sinks, never in the way.

Steps call `begin`, `advance` and `say` from any thread. Sinks get at most one update a second and
may fail as they like: progress never fails a task. Percent never runs backwards, neither over
retries of a step nor from one run to the next, which begins at what the volume remembers.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from contract import names

INTERVAL = 1.0
"""Seconds between two updates: what a person can follow, and 1/s per task spares Redis."""

SPANS = {
    "fetch": (0.0, 70.0),
    "upload": (70.0, 97.0),
    "verify": (97.0, 98.0),
    "record": (98.0, 99.0),
    "announce": (99.0, 99.5),
    "release": (99.5, 100.0),
}
"""The part of the whole, in percent, that each phase covers."""


class Sink(Protocol):
    """Where updates go."""

    def publish(self, fields: Mapping[str, str]) -> None:
        """Publish one update; must not raise and not block for more than a moment."""


class Memory:
    """A sink that remembers the percent on the volume, for the next run to begin with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def percent(self) -> float:
        """Return what an earlier run reached; 0 when nothing can be read."""
        try:
            value = float(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0.0
        return value if 0.0 <= value <= 100.0 else 0.0

    def publish(self, fields: Mapping[str, str]) -> None:
        """Remember; a full volume or a power cut may forget it, and nothing else suffers."""
        with suppress(OSError):
            self._path.write_text(fields["percent"], encoding="ascii")


class Progress:
    """The counters. Thread-safe."""

    def __init__(
        self, sinks: Sequence[Sink] = (), *, attempt: int = 1, percent: float = 0.0
    ) -> None:
        self._sinks = tuple(sinks)
        self._attempt = attempt
        self._lock = threading.Lock()
        self._phase = "fetch"
        self._total_bytes: int | None = None
        self._total_items = 0
        self._bytes = 0
        self._items = 0
        self._percent = percent
        self._message = ""
        self._skipped: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._moved: Counter[str] = Counter()
        self._next = 0.0

    def begin(self, phase: str, *, total_bytes: int | None = None, total_items: int = 0) -> None:
        """Begin a phase; totals are None or 0 while unknown. Published at once."""
        with self._lock:
            self._phase, self._bytes, self._items = phase, 0, 0
            self._total_bytes, self._total_items = total_bytes, total_items
            self._publish()

    def expect(self, *, total_bytes: int | None = None, total_items: int | None = None) -> None:
        """Correct the totals of the running phase."""
        with self._lock:
            self._total_bytes = total_bytes if total_bytes is not None else self._total_bytes
            self._total_items = total_items if total_items is not None else self._total_items

    def advance(self, *, bytes_: int = 0, items: int = 0) -> None:
        """Add bytes and items that are done."""
        with self._lock:
            self._bytes += bytes_
            self._items += items
            if time.monotonic() >= self._next:
                self._publish()

    def say(self, message: str) -> None:
        """Set the message that goes with the numbers. Published at once."""
        with self._lock:
            self._message = message
            self._publish()

    def leave_out(self, count: int, reasons: str) -> None:
        """Set how many items cannot be had, and why in short. Goes with all later updates."""
        with self._lock:
            self._skipped = {"skipped": str(count), "skipped_reasons": reasons}
            self._publish()

    def moved(self, way: str, count: int) -> None:
        """Count bytes that went over the network: "fetched" or "uploaded". Goes with updates."""
        with self._lock:
            self._moved[way] += count

    def finish(self, step: str, seconds: float) -> None:
        """Set how long a step took, now that it is done. Published at once."""
        with self._lock:
            self._seconds[step] = round(seconds, 3)
            self._publish()

    def _publish(self) -> None:
        self._next = time.monotonic() + INTERVAL
        fields = self._fields()
        for sink in self._sinks:
            sink.publish(fields)

    def _fields(self) -> dict[str, str]:
        self._percent = max(self._percent, self._reached())
        return {
            "phase": self._phase,
            "percent": f"{self._percent:.1f}",
            "bytes": str(self._bytes),
            "total_bytes": "" if self._total_bytes is None else str(self._total_bytes),
            "items_done": str(self._items),
            "items_total": str(self._total_items),
            "attempt": str(self._attempt),
            "message": self._message,
            "updated": f"{time.time():.3f}",
            names.NUMBERS: self._numbers(),
            **self._skipped,
        }

    def _numbers(self) -> str:
        """Return what this run took so far; its number tells it from an earlier run's words."""
        found = {"run": self._attempt, "seconds": self._seconds, "bytes": self._moved}
        return json.dumps(found, separators=(",", ":"))

    def _reached(self) -> float:
        start, end = SPANS.get(self._phase, (0.0, 0.0))
        if self._total_bytes:
            share = self._bytes / self._total_bytes
        elif self._total_items:
            share = self._items / self._total_items
        else:
            share = 0.0
        return start + (end - start) * min(1.0, share)
