"""The record of an unfinished file whose bytes come in any order, on several lines at once.

Goes in: runs of bytes that were handed to the kernel. Comes out: the same after a kill. Each run
adds a line to `<key>.runs`, which outlives the process as the bytes themselves do, and like them
need not outlive the machine: what does is in the note (`part`), and the journal begins anew with
each note that holds all. It has its room on the volume beforehand, so that the last bytes that fit
on a full one are still noted.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from job_image.sandbox import refusals
from job_image.sources import spans
from job_image.sources.spans import Run

_LINE = re.compile(rb"(\d{1,18}) (\d{1,18})\n")


ROOM = 64 * 1024
"""Bytes of a journal at first: the lines of 32 MiB in pieces of 12 KiB."""


class Scatter:
    """What is there of one file, and its journal, which holds `at` bytes already.

    Used by one thread at a time.
    """

    def __init__(self, path: str, runs: list[Run], at: int = 0) -> None:
        self._path = path
        self._at = at
        self._file: int | None = None
        self.runs = runs

    @property
    def beginning(self) -> int:
        """Bytes from the first one on without a gap; 0 while the first one is missing."""
        return self.runs[0][1] if self.runs and self.runs[0][0] == 0 else 0

    @property
    def end(self) -> int:
        """The byte after the last one that is there."""
        return self.runs[-1][1]

    def add(self, start: int, stop: int) -> None:
        """Note bytes that the kernel has."""
        self.runs = spans.joined([*self.runs, (start, stop)])
        line = b"%d %d\n" % (start, stop)
        with refusals(self._path):
            if os.pwrite(self._open(), line, self._at) == len(line):
                self._at += len(line)  # else the next line takes the torn one's place

    def restart(self) -> None:
        """Begin the journal anew: a note holds all that there is, or all that counts."""
        with refusals(self._path):
            os.ftruncate(self._open(), 0)
            os.posix_fallocate(self._open(), 0, ROOM)
        self._at = 0

    def close(self) -> None:
        """Let go of the journal; it can be gone on with."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def drop(self) -> None:
        """Remove the journal."""
        self.close()
        with refusals(self._path):
            Path(self._path).unlink(missing_ok=True)

    def _open(self) -> int:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o644)
        return self._file


def journal(path: str) -> tuple[list[Run], int]:
    """Return the runs of a journal and the bytes that tell them, up to its end or a broken line."""
    with refusals(path):
        raw = Path(path).read_bytes() if os.path.lexists(path) else b""
    found, at = [], 0
    for line in raw.splitlines(keepends=True):
        if not (parts := _LINE.fullmatch(line)):
            break
        found.append((int(parts[1]), int(parts[2])))
        at += len(line)
    return found, at
