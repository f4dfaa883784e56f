"""A file that is still being fetched: its bytes, and a note of what they belong to.

Both lie in `.state/parts/`, so that the course folder never holds half a file and an upload needs
no rule to leave one out. The note is on disk, synced, before the first byte that a later run could
append to.

What may be trusted after a crash: bytes handed to the kernel outlive the process but not the
machine. So the note carries the boot it was written in and how much was synced at that time, every
32 MiB: in the same boot the file's own size counts (a kill loses nothing that was written), in
another one only what was synced.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract import fault
from job_image.sandbox import refusals, write_durably
from job_image.sources.ranges import Known

SMALL = 1024 * 1024
"""Bytes up to which a file gets no note: fetching it again costs less than keeping one."""

SYNC_EVERY = 32 * 1024 * 1024
"""Bytes between two syncs: what a power cut may cost per open file. At 8 MiB the syncs begin to
be felt on disks that a cloud rents out by the operation."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Part:
    """One unfinished file. Used by one thread at a time.

    While it is open it is locked: a thread that an ended attempt has left behind, and that wakes
    up late, must not write into what the next attempt goes on with.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path = f"{folder}/{key}.part"
        self._note = f"{folder}/{key}.json"
        self._file: int | None = None
        self._noted = False
        self._has_note = True
        self._synced = 0
        self.known = Known()
        self.offset = 0
        """Bytes that are there and good."""

    @property
    def path(self) -> Path:
        """Where the bytes lie."""
        return Path(self._path)

    def load(self) -> None:
        """Find what an earlier run left; what cannot be relied on counts as nothing."""
        self._has_note = os.path.lexists(self._note)
        note = _read(Path(self._note)) if self._has_note else None
        if note is None or not self.path.exists():
            return
        size = self.path.stat().st_size
        offset = size if note["boot"] == boot() != "" else min(size, note["synced"])
        if note["known"].total is None or offset <= note["known"].total:
            self.known, self.offset, self._noted = note["known"], offset, True
            self._synced = min(offset, note["synced"])

    def begin(self, known: Known) -> None:
        """Forget all bytes; what comes now belongs to `known`."""
        self.known, self.offset, self._synced, self._noted = known, 0, 0, False
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
            self.known = known
            self._write_note()

    def append(self, data: bytes | memoryview) -> None:
        """Hand bytes to the kernel. Raise `VolumeFull` when they do not fit."""
        file = self._open()
        left = memoryview(data)
        with refusals(self._path):
            while left:
                written = os.pwrite(file, left, self.offset)
                left = left[written:]
                self.offset += written
        if self.offset - self._synced >= SYNC_EVERY:
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
        with refusals(self._path):
            os.fdatasync(self._file)
        self._synced = self.offset
        self._write_note()

    def close(self) -> None:
        """Let go of the file; it can be gone on with."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def become(self, target: Path) -> None:
        """Give the finished file its name. Its bytes are durable; the name is once `Manifest.write`
        has synced the folder: until then a power cut may cost the file, and never make half of one.
        """
        file = self._open()
        with refusals(target):
            os.fdatasync(file)
            self.close()
            fault.point("fetch:recorded")
            _rename(self._path, target)
            fault.point("fetch:named")
        self._forget_note()

    def drop(self) -> None:
        """Remove all that there is."""
        self.close()
        self.known, self.offset, self._noted = Known(), 0, False
        self._forget_note()
        with refusals(self._path):
            self.path.unlink(missing_ok=True)

    def _open(self) -> int:
        """Return the open file, locked and cut to what is good."""
        if self._file is None:
            with refusals(self._path):
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.ftruncate(file, self.offset)
                except OSError:
                    os.close(file)
                    raise
            self._file = file
        return self._file

    def _forget_note(self) -> None:
        if self._has_note:
            with refusals(self._note):
                Path(self._note).unlink(missing_ok=True)
            self._has_note = self._noted = False

    def _write_note(self) -> None:
        note = {"boot": boot(), "synced": self._synced, "known": asdict(self.known)}
        write_durably(Path(self._note), json.dumps(note).encode())
        fault.point("fetch:noted")
        self._noted = self._has_note = True


def _rename(path: str, target: Path) -> None:
    """Give a file its name; its folder is made when it turns out to be missing."""
    try:
        os.replace(path, target)  # noqa: PTH105 - a path object costs a tenth of a small file
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(path).replace(target)


def boot() -> str:
    """Return the id of the running system; "" when it does not tell, which trusts nothing."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _read(path: Path) -> dict[str, Any] | None:
    """Read a note; None when there is none or it is broken."""
    try:
        data = json.loads(path.read_bytes())
        known = Known(str(data["known"]["etag"]), str(data["known"]["modified"]), None)
        total = data["known"]["total"]
        if total is not None:
            known = Known(known.etag, known.modified, int(total))
        return {"boot": str(data["boot"]), "synced": int(data["synced"]), "known": known}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
