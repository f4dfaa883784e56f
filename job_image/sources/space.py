"""Whether what is being fetched will fit on the volume: asked before the first byte, not after.

Goes in: how many bytes each open file still needs. Comes out: nothing, or `VolumeFull` with how
much is missing. Two files that fit alone but not together are refused together.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

from contract.errors import VolumeFull
from job_image.sources.figures import size

ADVICE = 'Order it again with a larger volumeSize and "force": true, or let the volume grow.'

BELIEVED = 1.0
"""Seconds for which a look at the volume is believed."""
PLENTY = 1 << 30
"""Bytes that must be left over for that."""


class Space:
    """The free space of one volume, less what open files will need. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._needs: dict[str, int] = {}
        self._looked = -BELIEVED
        self._seen = 0

    def check(self, need: int, what: str) -> None:
        """Raise `VolumeFull` when `need` more bytes do not fit."""
        free = self._free(need)
        if free is not None and need > free:
            raise VolumeFull(
                f"The volume is too small: {what} needs {size(need)} more, "
                f"{size(free)} are free, {size(need - free)} are missing.",
                advice=ADVICE,
            )

    def reserve(self, key: str, need: int, what: str) -> None:
        """Promise `need` bytes to a file. Raise `VolumeFull` when all promises do not fit."""
        with self._lock:
            others = sum(self._needs.values()) - self._needs.get(key, 0)
            self.check(need + others, what if not others else f"{what}, with what is under way,")
            self._needs[key] = need

    def used(self, key: str, count: int) -> None:
        """Note that `count` bytes of a promise are on the volume."""
        with self._lock:
            self._needs[key] = max(0, self._needs.get(key, 0) - count)

    def release(self, key: str) -> None:
        """Forget a promise."""
        with self._lock:
            self._needs.pop(key, None)

    def _free(self, need: int) -> int | None:
        """Return the free bytes; None where the file system does not tell.

        A look of the last second that found plenty is believed: small files are not worth another.
        """
        now = time.monotonic()
        if now - self._looked < BELIEVED and need < self._seen - PLENTY:
            return self._seen
        found = os.statvfs(self._root)
        if not found.f_blocks:
            return None
        self._looked, self._seen = now, found.f_bavail * found.f_frsize
        return self._seen


def full(what: str, missing: int | None) -> VolumeFull:
    """Return the error for a write that found no space."""
    lacks = f"; {size(missing)} of it are missing" if missing else ""
    return VolumeFull(
        f"The volume is full ({os.strerror(errno.ENOSPC)}) while fetching {what}{lacks}.",
        advice=ADVICE,
    )
