"""A file that is still being fetched: its bytes, and a note of what they belong to.

Both lie in `.state/parts/`, so that the course folder never holds half a file and an upload needs
no rule to leave one out. The note is on disk, synced, before the first byte that a later run could
append to.

What may be trusted after a crash: bytes handed to the kernel outlive the process but not the
machine. So the note carries the boot it was written in and how much was synced at that time, every
32 MiB: in the same boot the file's own size counts (a kill loses nothing that was written), in
another one only what was synced.

A file that comes on several lines at once has bytes behind a gap. From the first of them on, its
size tells nothing: a journal (`scatter`) takes its place, and the note's `synced` is a list of
runs. The note that says so is durable before that first byte is written. An older program cannot
read such a note, and so begins anew instead of believing the size.

What a sync could not make durable is told once: the next sync of the same bytes would say that all
is well. So after the first such error nothing of the file is believed, and its note is gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from contract import fault
from job_image.sandbox import refusals
from job_image.sources import notes, scatter, spans
from job_image.sources.ranges import Known
from job_image.sources.scatter import Scatter
from job_image.sources.spans import Run

SMALL = 1024 * 1024
"""Bytes up to which a file gets no note: fetching it again costs less than keeping one."""

SYNC_EVERY = 32 * 1024 * 1024
"""Bytes between two syncs: what a power cut may cost per open file. At 8 MiB the syncs begin to
be felt on disks that a cloud rents out by the operation."""


class Part:
    """One unfinished file. Used by one thread at a time.

    While it is open it is locked: a thread that an ended attempt has left behind, and that wakes
    up late, must not write into what the next attempt goes on with.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path = f"{folder}/{key}.part"
        self._note = f"{folder}/{key}.json"
        self._runs = f"{folder}/{key}.runs"
        self._scatter: Scatter | None = None
        self._durable: list[Run] = []
        self._is_stale = False
        """Whether the note belongs to another boot."""
        self._fresh = 0
        """Bytes since the last sync."""
        self._file: int | None = None
        self._is_lost = False
        """Whether a sync has failed: any of the bytes may be gone."""
        self._noted = False
        self._has_note = True
        self._synced = 0
        self.known = Known()
        self.offset = 0
        """Bytes that are there and good, from the first one on without a gap."""

    @property
    def here(self) -> int:
        """Bytes that are there and good, wherever they belong."""
        return spans.size(self.runs)

    @property
    def runs(self) -> list[Run]:
        """The same, as runs."""
        return self._scatter.runs if self._scatter else [(0, self.offset)]

    @property
    def path(self) -> Path:
        """Where the bytes lie."""
        return Path(self._path)

    def load(self) -> None:
        """Find what an earlier run left; what cannot be relied on counts as nothing."""
        self._has_note = os.path.lexists(self._note)
        note = notes.read(Path(self._note)) if self._has_note else None
        if note is None or not self.path.exists():
            return
        size = self.path.stat().st_size
        is_same = note.boot == notes.boot() != ""
        if note.runs is not None:
            self._load_runs(note, note.runs, size, is_same)
            return
        offset = size if is_same else min(size, note.synced)
        if note.known.total is None or offset <= note.known.total:
            self.known, self.offset, self._noted = note.known, offset, True
            self._is_stale = not is_same
            self._synced = min(offset, note.synced)
            self._fresh = offset - self._synced

    def _load_runs(self, note: notes.Note, durable: list[Run], size: int, is_same: bool) -> None:
        written, at = scatter.journal(self._runs) if is_same else ([], 0)
        runs = spans.joined([*durable, *written])
        total = note.known.total
        if total is None or not note.known.strong or not spans.are_good(runs, min(total, size)):
            return
        self.known, self.offset, self._noted = note.known, runs[0][1], True
        self._scatter = Scatter(self._runs, runs, at)
        self._durable, self._is_stale = durable, not is_same
        self._fresh = spans.size(runs) - spans.size(durable)

    def begin(self, known: Known) -> None:
        """Forget all bytes; what comes now belongs to `known`."""
        self._gather()
        self.known, self.offset, self._synced, self._noted = known, 0, 0, False
        self._fresh, self._is_lost, self._is_stale = 0, False, False
        with refusals(self._path):
            is_new = self._file is None
            file = self._open()
            if not is_new:
                os.ftruncate(file, 0)
        self._forget_note()
        if known.total is None or known.total > SMALL:
            self._write_note()

    def adopt(self, known: Known) -> None:
        """Note what was learned of the object that the bytes belong to."""
        if known != self.known:
            self._open()  # cut to what is good before a note of this boot says so
            self.known = known
            self._write_note()

    def append(self, data: bytes | memoryview) -> None:
        """Hand the next bytes to the kernel. Raise `VolumeFull` when they do not fit."""
        self.put(self.offset, data)

    def put(self, at: int, data: bytes | memoryview) -> None:
        """Hand bytes to the kernel, wherever they belong. Raise `VolumeFull` when they do not fit.

        `known` must have a total and a strong validator when they leave a gap.
        """
        self._check()
        file = self._open()
        if at != self.offset and self._scatter is None:
            self._spread()
        left = memoryview(data)
        with refusals(self._path):
            while left:
                written = os.pwrite(file, left, at)
                left = left[written:]
                self._count(at, at + written)
                at += written
        if self._fresh >= SYNC_EVERY:
            self.sync()

    def tail(self, length: int) -> bytes:
        """Return the last `length` bytes."""
        with refusals(self._path), self.path.open("rb") as file:
            file.seek(self.offset - length)
            return file.read(length)

    def content(self) -> bytes:
        """Return all bytes (of a small file)."""
        with refusals(self._path):
            return self.path.read_bytes()

    def sync(self) -> None:
        """Make what is there survive a power cut."""
        if self._file is None or not self._noted:
            return
        self._make_durable()
        self._synced, self._durable, self._fresh = self.offset, self.runs, 0
        self._write_note()
        if self._scatter:
            self._scatter.restart()

    def close(self) -> None:
        """Let go of the file; it can be gone on with."""
        if self._scatter:
            self._scatter.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def become(self, target: Path | str) -> None:
        """Give the finished file its name. Its bytes are durable; the name is once `Manifest.write`
        has synced the folder: until then a power cut may cost the file, and never make half of one.
        """
        self._make_durable()
        with refusals(target):
            self.close()
            fault.point("fetch:recorded")
            rename(self._path, target)
            fault.point("fetch:named")
        self._forget_note()
        self._gather()

    def is_small(self) -> bool:
        """Whether it is fetched again rather than gone on with."""
        return not self._noted and self.offset <= SMALL

    def hand_over(self) -> str:
        """Let go of a whole small file, which is not durable yet; return where it is."""
        self._check()
        self.close()
        self._forget_note()
        return self._path

    def drop(self) -> None:
        """Remove all that there is."""
        self.close()
        self.known, self.offset, self._noted, self._is_stale = Known(), 0, False, False
        self._forget_note()
        self._gather()
        with refusals(self._path):
            self.path.unlink(missing_ok=True)

    def _open(self) -> int:
        """Return the open file, locked and cut to what is good."""
        if self._file is None:
            with refusals(self._path):
                file, is_new = _touch(self._path)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not is_new:
                        os.ftruncate(file, self._scatter.end if self._scatter else self.offset)
                except OSError:
                    os.close(file)
                    raise
            self._file = file
            if self._is_stale:  # back on the machine of the old note, its size would count
                self._write_note()
        return self._file

    def _check(self) -> None:
        """Raise when the bytes cannot be believed."""
        if self._is_lost:
            with refusals(self._path):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _make_durable(self) -> None:
        """Sync the bytes. If that fails, the note goes, so that the file begins anew."""
        self._check()
        file = self._open()
        with refusals(self._path):
            try:
                os.fdatasync(file)
            except OSError:
                self._is_lost = True
                self._forget_note()
                raise

    def _spread(self) -> None:
        """Let bytes come in any order from now on; in order as before if that cannot be noted."""
        self._make_durable()
        self._scatter = Scatter(self._runs, self.runs)
        try:
            self._scatter.restart()
            self._synced, self._durable, self._fresh = self.offset, self.runs, 0
            self._write_note()
        except BaseException:
            self._scatter.close()
            self._scatter = None
            raise
        fault.point("fetch:spread")

    def _gather(self) -> None:
        """Let bytes come in order again: nothing is there, or all is."""
        if self._scatter:
            self._scatter.drop()
            self._scatter, self._durable = None, []

    def _count(self, start: int, stop: int) -> None:
        """Note bytes that the kernel has."""
        self._fresh += stop - start
        if self._scatter:
            self._scatter.add(start, stop)
            self.offset = self._scatter.beginning
        else:
            self.offset = stop

    def _forget_note(self) -> None:
        if self._has_note:
            with refusals(self._note):
                Path(self._note).unlink(missing_ok=True)
            self._has_note = self._noted = False

    def _write_note(self) -> None:
        if self._is_lost:
            return
        if self._scatter and self._is_stale:  # the journal first: now it is one of this boot
            self._scatter.restart()
        self._is_stale = False
        synced = self._durable if self._scatter else self._synced
        notes.write(Path(self._note), synced, self.known)
        fault.point("fetch:noted")
        self._noted = self._has_note = True


def _touch(path: str) -> tuple[int, bool]:
    """Open a file; whether it is a new one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_EXCL, 0o644), True
    except FileExistsError:
        return os.open(path, flags, 0o644), False


def rename(path: str, target: Path | str) -> None:
    """Give a file its name; its folder is made when it turns out to be missing."""
    try:
        os.replace(path, target)  # noqa: PTH105 - a path object costs a tenth of a small file
    except FileNotFoundError:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(path).replace(target)
