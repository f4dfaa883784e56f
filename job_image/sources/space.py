"""Whether what is being fetched will fit on the volume: asked before the first byte, not after.

Goes in: how many bytes each open file still needs. Comes out: nothing, or `VolumeFull` with how
much is missing. Two files that fit alone but not together are refused together.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

from contract.errors import VolumeFull
from job_image.sources.figures import size

ADVICE = 'Order it again with a larger volumeSize and "force": true, or let the volume grow.'


class Space:
    """The free space of one volume, less what open files will need. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._needs: dict[str, int] = {}

    def check(self, need: int, what: str) -> None:
        """Raise `VolumeFull` when `need` more bytes do not fit."""
        free = self._free()
        if free is not None and need > free:
            raise VolumeFull(
                f"The volume is too small: {what} needs {size(need)} more, "
                f"{size(free)} are free, {size(need - free)} are missing.",
                advice=ADVICE,
            )

    def reserve(self, key: str, need: int, what: str) -> None:
        """Promise `need` bytes to a file. Raise `VolumeFull` when all promises do not fit."""
        with self._lock:
            others = sum(bytes_ for name, bytes_ in self._needs.items() if name != key)
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

    def _free(self) -> int | None:
        """Return the free bytes; None where the file system does not tell."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize if found.f_blocks else None


def full(what: str, missing: int | None) -> VolumeFull:
    """Return the error for a write that found no space."""
    lacks = f"; {size(missing)} of it are missing" if missing else ""
    return VolumeFull(
        f"The volume is full ({os.strerror(errno.ENOSPC)}) while fetching {what}{lacks}.",
        advice=ADVICE,
    )
