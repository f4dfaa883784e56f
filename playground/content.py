"""What an object is made of: bytes, a file, or a stream computed from a seed.

In: a seed and a size, or real data. Out: any slice of it, and a version that changes when the bytes
do. A computed object costs no memory and no disk whatever its size, yet every 64 KiB block carries
its own number: a resumed download that is off by one block, or that mixes two versions, never has
the right digest.
"""

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

BLOCK = 64 * 1024
STAMP = struct.Struct(">8sQ")
STEP = 1024 * 1024


class Content(Protocol):
    """Readable bytes of a known size."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def version(self) -> str:
        """Short text, equal for equal bytes; becomes the ETag."""

    @property
    def path(self) -> Path | None:
        """The file behind it, if the kernel may send it straight from there."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from offset on, fewer than length only at the end."""


@dataclass(frozen=True)
class Bytes:
    """Data held in memory."""

    data: bytes = field(repr=False)
    path: Path | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    @cached_property
    def version(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:20]

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@dataclass(frozen=True)
class File:
    """A file on disk; it must not change while it is served (use Portal.replace for that)."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def version(self) -> str:
        state = self.path.stat()
        return f"{state.st_size:x}-{state.st_mtime_ns:x}"

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)


@dataclass(frozen=True)
class Synthetic:
    """Bytes computed from a seed: the same seed gives the same byte at the same offset, whatever
    the size.
    """

    seed: str
    size: int
    path: Path | None = None

    @cached_property
    def _mark(self) -> bytes:
        return hashlib.sha256(self.seed.encode()).digest()[:8]

    @cached_property
    def _filling(self) -> memoryview:
        turn = int.from_bytes(self._mark, "big") % BLOCK
        return _table()[turn + STAMP.size : turn + BLOCK]

    @property
    def version(self) -> str:
        return f"{self._mark.hex()}-{self.size:x}"

    def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        if stop <= offset:
            return b""
        first = offset // BLOCK
        whole = b"".join(self._blocks(first, (stop - 1) // BLOCK))
        return whole[offset - first * BLOCK : stop - first * BLOCK]

    def _blocks(self, first: int, last: int) -> Iterator[bytes | memoryview]:
        for number in range(first, last + 1):
            yield STAMP.pack(self._mark, number)
            yield self._filling


@dataclass(frozen=True)
class Resized:
    """Another content cut short, or continued with zero bytes."""

    origin: Content
    size: int
    path: Path | None = None

    @property
    def version(self) -> str:
        return f"{self.origin.version}-{self.size:x}"

    def read(self, offset: int, length: int) -> bytes:
        wanted = max(0, min(length, self.size - offset))
        return self.origin.read(offset, wanted).ljust(wanted, b"\0")


EMPTY = Bytes(b"")


def text(value: str) -> Bytes:
    """Content from text, as UTF-8."""
    return Bytes(value.encode())


def chunks(content: Content, start: int = 0, step: int = STEP) -> Iterator[bytes]:
    """The content from start to its end, piece by piece, without holding the whole."""
    for offset in range(start, content.size, step):
        yield content.read(offset, step)


def sha256(content: Content) -> str:
    """Hex digest of the whole content: what a correct download must have."""
    digest = hashlib.sha256()
    for piece in chunks(content):
        digest.update(piece)
    return digest.hexdigest()


@cache
def _table() -> memoryview:
    return memoryview(random.Random("playground").randbytes(2 * BLOCK))
