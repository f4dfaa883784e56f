"""HTTP/1.1 on one line: a request out, a head and a body in.

Goes in: a `Line` and what to ask. Comes out: status, headers, and a body piece by piece that ends
only where the server said it would: an end of the connection before that raises `Broken`, for half
a file must never look like a whole one. What is not understood is refused and not guessed at:
two lengths that differ, a coding nobody asked for, a head without end.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from job_image.sources.line import FIRST, Broken, Line, Torn

_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: |\r?\n|$)")
_HEADER = re.compile(r"^([^:\n]*):(.*)$", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,15})\s*(?:;[^\n]*)?\r?\n")
_BODILESS = (204, 304)
_PACKED = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Codings that can be undone, and how zlib is told of them."""
_EMPTY = memoryview(b"")


class Headers(Mapping[str, str]):
    """The headers of an answer, by any spelling of their names; repeated ones joined by commas."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or `default`: asked for a dozen times per answer."""
        return self._values.get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def request(target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """Return a GET request. Raise `ValueError` for what would be more than one line."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a line break in a header")
    return (text + "\r\n\r\n").encode("latin-1")


class Exchange:
    """One answer. `keeps`: whether the line may be used again once the body is read."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.status, self.headers, self.keeps = _head(line)
        self._chunked = self._begun = False
        self._left: int | None = 0
        """Bytes left of the body, or of its chunk; None: up to the end of the connection."""
        self.finished = False
        self._frame()
        self._unpacker: _Unpacker | None = None

    def piece(self, most: int) -> memoryview:
        """Return what has come of the body, good until the next call; empty at its end."""
        if self.finished or (self._chunked and not self._left and not self._next_chunk()):
            return _EMPTY
        view = self._line.take(most if self._left is None else min(most, self._left))
        if not view:
            self._ended()
        elif self._left is not None:
            self._left -= len(view)
            self.finished = not self._left and not self._chunked
        return view

    def unpacked(self, most: int) -> memoryview:
        """Return what has come, its Content-Encoding undone; as `piece`."""
        if self._unpacker is None:
            coding = self.headers.get("Content-Encoding", "").strip().lower()
            if coding in ("", "identity"):
                return self.piece(most)
            self._unpacker = _Unpacker(coding)
        return self._unpacker.piece(self, most)

    def settle(self) -> bool:
        """Whether the line may be used again; a small rest that has come is thrown away."""
        if not self.finished and not self._chunked and self._left:
            while self._left and self._line.waiting:
                self.piece(self._left)
        return self.finished and self.keeps and not self._line.waiting

    def _ended(self) -> None:
        """Deal with the end of the connection."""
        if self._left is not None:
            raise Torn("broke off in the middle of a body")
        self.finished = True

    def _frame(self) -> None:
        """Find out how the end of the body will be told."""
        coding, length = self.headers.get("Transfer-Encoding"), self.headers.get("Content-Length")
        if self.status in _BODILESS:
            self.finished = True
        elif coding is not None:
            self._chunked = coding.strip().lower() == "chunked"
            if not self._chunked:
                _odd("sent its answer in a transfer coding that nobody asked for")
        elif length is not None:
            self._left = _length(length)
            self.finished = not self._left
        else:
            self._left, self.keeps = None, False
        if self._chunked or self._left is None or self._left > FIRST:
            self._line.widen()

    def _next_chunk(self) -> bool:
        """Go on to the next chunk; False when there is none."""
        if self._begun and self._line.line() not in (b"\r\n", b"\n"):
            _odd("sent a chunk longer than announced")
        self._begun = True
        size = _SIZE.fullmatch(self._line.line())
        if not size:
            _odd("sent a chunk without a size")
        self._left = int(size[1], 16)
        if self._left:
            return True
        while self._line.line().strip():
            pass  # trailers say nothing that is asked for
        self.finished = True
        return False


class _Unpacker:
    """Undoes a Content-Encoding, never more than was asked for at once."""

    def __init__(self, coding: str) -> None:
        if coding not in _PACKED:
            _odd("packed its answer in a way that nobody asked for")
        self._bits = _PACKED[coding]
        self._inflate = zlib.decompressobj(self._bits)
        self._rest = b""
        self._full = False
        """Whether more may come out without more going in."""

    def piece(self, exchange: Exchange, most: int) -> memoryview:
        while True:
            if not self._rest and not self._full:
                self._rest = bytes(exchange.piece(most))
                if not self._rest:
                    return self._end()
            out = self._undo(most)
            self._full = len(out) >= most
            if out:
                return memoryview(out)

    def _undo(self, most: int) -> bytes:
        if self._inflate.eof:  # another member follows
            self._inflate = zlib.decompressobj(self._bits)
        try:
            out = self._inflate.decompress(self._rest, most)
        except zlib.error:
            _odd("sent a packed body that cannot be unpacked")
        self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
        return out

    def _end(self) -> memoryview:
        if not self._inflate.eof:
            raise Broken("broke off in the middle of a packed body")
        return _EMPTY


def _head(line: Line) -> tuple[int, Headers, bool]:
    """Read heads until one is the answer's own."""
    while True:
        status, headers, keeps = _parse(line.head())
        if status == 101:
            _odd("wants to speak something else than HTTP")
        if status >= 200:
            return status, headers, keeps


def _parse(raw: bytes) -> tuple[int, Headers, bool]:
    found = _STATUS.match(raw)
    if not found:
        _odd("speaks no HTTP/1.1")
    values: dict[str, str] = {}
    text = (_FOLD.sub(b" ", raw) if b"\n " in raw or b"\n\t" in raw else raw).decode("latin-1")
    for name, value in _HEADER.findall(text, found.end()):
        key, value = name.strip().lower(), value.strip()
        values[key] = f"{values[key]}, {value}" if key in values else value
    asked = values.get("connection", "").lower()
    keeps = "close" not in asked and (found[1] == b"1" or "keep-alive" in asked)
    return int(found[2]), Headers(values), keeps


def _length(text: str) -> int:
    """Return a Content-Length; the same one twice is forgiven."""
    different = {one.strip() for one in text.split(",")}
    one = different.pop()
    if different or not (one.isascii() and one.isdigit()) or len(one) > 18:
        _odd("sent a length that is no number")
    return int(one)


def _odd(what: str) -> NoReturn:
    raise Broken(what)
