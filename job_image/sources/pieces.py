"""The bytes of a film out of its pieces on the volume, in order, decrypted on the way.

Goes in: slices of files, some with an AES-128 key. Comes out: one readable stream that holds no
more than a mebibyte. Pieces lie on the volume as they came: a key is asked for again in each run
and never written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from contract.errors import Temporary
from job_image.sandbox import refusals

BLOCK = 1024 * 1024
"""Bytes read at once."""

_NO_FIT = "A piece cannot be decrypted: its key does not fit."


class Unplayable(Temporary):
    """The pieces make no film."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes of a file: all of it, or `length` from `start` on. `key` None: in the clear."""

    path: Path
    start: int = 0
    length: int | None = None
    key: bytes | None = field(default=None, repr=False)
    iv: bytes = b""


class Reader:
    """Slices one after the other, with the `read` that a library asks of a file."""

    def __init__(self, slices: Sequence[Slice]) -> None:
        self._blocks = self._all(slices)
        self._left = memoryview(b"")
        self.mark = b""
        """What every piece must begin with: an error's text is none, and of wrong keys one in 256
        seems to fit.
        """

    def read(self, most: int) -> bytes:
        """Return at most so many bytes; b"" at the end."""
        if not self._left:
            self._left = memoryview(next(self._blocks, b""))
        taken, self._left = self._left[:most], self._left[most:]
        return bytes(taken)

    def peek(self) -> bytes:
        """Return what comes next without taking it."""
        if not self._left:
            self._left = memoryview(next(self._blocks, b""))
        return bytes(self._left[:64])

    def _all(self, slices: Sequence[Slice]) -> Iterator[bytes]:
        for one in slices:
            for number, block in enumerate(_blocks(one)):
                if not number and not block.startswith(self.mark):
                    raise Unplayable(_NO_FIT if one.key else "A piece is of another format.")
                yield block


def _blocks(one: Slice) -> Iterator[bytes]:
    """Give the bytes of a slice, never an empty block."""
    blocks = _raw(one) if one.key is None else _plain(one, one.key)
    yield from filter(None, blocks)


def _raw(one: Slice) -> Iterator[bytes]:
    left = one.length
    with refusals(one.path), one.path.open("rb") as file:
        file.seek(one.start)
        while left is None or left > 0:
            block = file.read(BLOCK if left is None else min(BLOCK, left))
            if not block:
                break
            left = None if left is None else left - len(block)
            yield block
    if left:
        raise Unplayable("A piece is shorter than its playlist says.")


def _plain(one: Slice, key: bytes) -> Iterator[bytes]:
    ciphers = import_module("cryptography.hazmat.primitives.ciphers")  # late: few films need it
    padding = import_module("cryptography.hazmat.primitives.padding")
    cipher = ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.CBC(one.iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        for block in _raw(one):
            yield unpadder.update(cipher.update(block))
        yield unpadder.update(cipher.finalize()) + unpadder.finalize()
    except ValueError as exc:
        raise Unplayable(_NO_FIT) from exc
