"""Finished small files get their names, many of them under one sync.

Goes in: small files whose bytes the kernel has, one by one, from any thread. Comes out: their
names and records, once their bytes are durable. A sync for each of thousands of small files costs
more than fetching them, so they wait for each other, up to 64 of them or half a mebibyte: of what
lands and what waits behind it, a kill costs a mebibyte, as one open file may. One call then makes
the whole volume durable, where that call is known to do so and to tell of errors (`syncfs` on local
file systems, Linux 5.8 and later: file systems in user space are not told of it); everywhere else
each file is synced by itself.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from contract import fault
from contract.errors import CourseRunnerError
from job_image.sandbox import refusals
from job_image.sources.manifest import Manifest, Record
from job_image.sources.part import SMALL, rename

FILES = 64
"""Files of one lot, at most."""

BYTES = SMALL // 2
"""Bytes from which on a lot waits no longer."""

FEW = 4
"""Files for which a sync of the whole volume is not worth it."""

_LOCAL = ("ext4", "xfs", "tmpfs")
"""File systems that `syncfs` makes durable."""

_SINCE = (5, 8)
"""The Linux from which on `syncfs` tells of what could not be written."""


@dataclass(frozen=True, slots=True)
class Landed:
    """A small file: where its bytes are, the name it is to get, its record."""

    path: str
    target: str
    record: Record


class Landing:
    """Where small files wait. Thread-safe."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self._manifest = manifest
        self._folder = folder
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[Landed] = []
        self._bytes = 0
        self._volume: _Volume | None = None
        self._error: CourseRunnerError | None = None

    def add(self, one: Landed) -> None:
        """Let a file wait for its name; give all that wait theirs if they are many."""
        with self._lock:
            self._waiting.append(one)
            self._bytes += one.record.size
            is_full = len(self._waiting) >= FILES or self._bytes >= BYTES
        if is_full:
            self._land_all()

    def land(self) -> None:
        """Give all files that wait their names. Raise what prevented that, now or before."""
        self._land_all()
        if self._error:
            raise self._error

    def close(self) -> None:
        """Let go of the volume."""
        if self._volume:
            self._volume.close()

    def _land_all(self) -> None:
        """Land what waits, one lot after the other: behind a slow one only one more may gather."""
        with self._turn:
            with self._lock:
                batch, self._waiting, self._bytes = self._waiting, [], 0
            self._land(batch)

    def _land(self, batch: Sequence[Landed]) -> None:
        if not batch:
            return
        try:
            self._sync(batch)
            for one in batch:
                with refusals(one.target):
                    rename(one.path, one.target)
        except CourseRunnerError as exc:
            self._error = exc  # the other files' threads are gone: the end must tell
            raise
        fault.point("fetch:landed")
        self._manifest.finished(*(one.record for one in batch))

    def _sync(self, batch: Sequence[Landed]) -> None:
        if len(batch) > FEW and self._sync_volume():
            return
        for one in batch:
            with refusals(one.path):
                file = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fdatasync(file)
                finally:
                    os.close(file)

    def _sync_volume(self) -> bool:
        """Make all of the volume durable; False where there is no way to be sure of that."""
        self._volume = self._volume or _Volume(self._folder)
        return self._volume.sync()


class _Volume:
    """The file system of a folder. It is held open, for so it tells of every error since."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        if _kernel() >= _SINCE and _kind(folder) in _LOCAL:
            self._ctypes = import_module("ctypes")  # late: small courses do without
            self._syncfs = self._ctypes.CDLL(None, use_errno=True).syncfs
            self._file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync(self) -> bool:
        if self._file is None:
            return False
        if self._syncfs(self._file) == 0:
            return True
        reason = self._ctypes.get_errno()
        if reason in (errno.EPERM, errno.ENOSYS):  # a container's walls may forbid the call
            self.close()
            return False
        with refusals(self._folder):
            raise OSError(reason, os.strerror(reason))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _kernel() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return tuple(map(int, found.groups())) if found else ()


def _kind(folder: Path) -> str:
    """Return the kind of a folder's file system; "" when that cannot be told for sure."""
    try:
        device = folder.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = {
        line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == wanted
    }
    return kinds.pop() if len(kinds) == 1 else ""
