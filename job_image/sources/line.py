"""A connection: bytes both ways, in the clear or under TLS.

Goes in: a connected socket (`dial` makes them). Comes out: a `Line` that reads through a buffer of
its own, without a copy per read. It stands on the standard library alone: sockets and OpenSSL do
the work, and what a ready library adds to each small file (a tenth of it is the network) is left
out. TLS is driven over memory and not by the socket itself: then one system call brings all that
has come, not one record of 16 KiB, and the kernel keeps the time limits.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress
from typing import NamedTuple, Protocol

FIRST = 32 * 1024
"""Bytes of a line's buffer at first: a head, and a small file with it."""
WIDE = 512 * 1024
"""Bytes of the buffer of a line that brings a large body."""
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\n")

HEAD = 64 * 1024
"""Bytes of the longest head that is read."""


class Broken(OSError):
    """The other side ended, or spoke no HTTP. Its text completes "<host> ..."."""


class Torn(Broken):
    """The connection ended in the middle of something: a new one may well go on."""


class Silent(Broken):
    """Nothing came in time."""


class Place(NamedTuple):
    """Where a server is reached."""

    scheme: str
    host: str
    port: int


class Via(NamedTuple):
    """How a request is put on a line: what stands before its path, and a proxy's login."""

    prefix: str = ""
    login: str = ""


class Transport(Protocol):
    """Bytes both ways, blocking."""

    def recv_into(self, room: memoryview, /) -> int:
        """Fill in what has come; 0 at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""


class Line:
    """One connection. Used by one thread at a time; `abort` is for any."""

    def __init__(self, raw: socket.socket, via: Via, transport: Transport | None = None) -> None:
        self._raw = raw
        self._transport: Transport = transport or raw
        self.via = via
        self._buffer = bytearray(FIRST)
        self._view = memoryview(self._buffer)
        self._at = self._end = 0

    @property
    def waiting(self) -> int:
        """Bytes that have come and are not taken."""
        return self._end - self._at

    def send(self, data: bytes) -> None:
        """Send everything."""
        self._transport.sendall(data)

    def widen(self) -> None:
        """Expect much: read in larger pieces."""
        if len(self._view) < WIDE:
            self._renew(WIDE)

    def take(self, most: int) -> memoryview:
        """Return what has come, at most `most` bytes, good until the next call; empty at the end.

        Raise `Silent` when nothing comes in time.
        """
        if self._at == self._end and not self.more():
            return self._view[:0]
        start, self._at = self._at, min(self._end, self._at + most)
        return self._view[start : self._at]

    def head(self) -> bytes:
        """Return what comes up to and with an empty line; ends without a CR are forgiven."""
        return self._until(_EMPTY_LINE)

    def line(self) -> bytes:
        """Return what comes up to and with the end of a line."""
        return self._until(_LINE_END)

    def _until(self, mark: re.Pattern[bytes]) -> bytes:
        while not (found := mark.search(self._buffer, self._at, self._end)):
            if self.waiting > HEAD:
                raise Broken("sent a head that does not end")
            if not self.more():
                raise Torn("hung up in a head" if self.waiting else "hung up")
        start, self._at = self._at, found.end()
        return bytes(self._view[start : self._at])

    def more(self) -> int:
        """Wait for bytes; return how many came, 0 at the end."""
        if self._at == self._end:
            self._at = self._end = 0
        elif self._end == len(self._view):
            self._renew(max(len(self._view), 2 * self.waiting))
        try:
            came = self._transport.recv_into(self._view[self._end :])
        except BlockingIOError as exc:
            raise Silent("fell silent") from exc
        self._end += came
        return came

    def is_quiet(self) -> bool:
        """Whether the other side has said nothing since the last answer, not even goodbye."""
        try:
            self._raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def abort(self) -> None:
        """Let a read that waits in another thread fail now."""
        with suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._raw.close()

    def _renew(self, size: int) -> None:
        """Take another buffer: views of the old one stay good for those who hold them."""
        left = self._view[self._at : self._end]
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._view[: len(left)] = left
        self._at, self._end = 0, len(left)


class Tls:
    """TLS over another transport."""

    def __init__(self, under: Transport, context: ssl.SSLContext, host: str) -> None:
        self._under = under
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._room = memoryview(bytearray(FIRST))
        self._shake_hands()

    def recv_into(self, room: memoryview, /) -> int:
        """Fill in all that has come; 0 at the end."""
        filled = 0
        while filled < len(room):
            try:
                came = self._tls.read(len(room) - filled, room[filled:])
            except ssl.SSLWantReadError:
                if filled or not self._fetch(len(room)):
                    break
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                break
            if not came:
                break
            filled += int(came)
        return filled

    def sendall(self, data: bytes, /) -> None:
        """Send everything."""
        self._tls.write(data)
        self._flush()

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self._fetch(FIRST):
                    raise Torn("hung up in the middle of the TLS handshake") from None
            else:
                self._flush()
                return

    def _fetch(self, wanted: int) -> int:
        """Read what the other side has sent; return how many bytes, 0 at the end."""
        self._flush()
        if len(self._room) < wanted:
            self._room = memoryview(bytearray(wanted))
        came = self._under.recv_into(self._room)
        self._in.write(self._room[:came])
        return came

    def _flush(self) -> None:
        if self._out.pending:
            self._under.sendall(self._out.read())
