"""Connections: a name found, a proxy passed, a certificate checked; then bytes both ways.

Goes in: scheme, host and port. Comes out: a `Line` that reads through a buffer of its own, without
a copy per read. It stands on the standard library alone: sockets and OpenSSL do the work, and what
a ready library adds to each small file (a tenth of it is the network) is left out. TLS is driven
over memory and not by the socket itself: then one system call brings all that has come, not one
record of 16 KiB, and the kernel keeps the time limits.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
import struct
from contextlib import suppress
from typing import NamedTuple, Protocol
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import certifi

from contract.errors import Misconfigured
from job_image.sources import address

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
                raise Broken("hung up in a head" if self.waiting else "hung up")
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
                    raise Broken("hung up in the middle of the TLS handshake") from None
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


class Dialer:
    """Makes lines. Thread-safe."""

    def __init__(self, connect: float, read: float) -> None:
        self._connect = connect
        self._read = read
        self._context: ssl.SSLContext | None = None
        self._proxies: dict[tuple[str, str], str] = {}

    def dial(self, to: Place) -> Line:
        """Return a new line. Raise `OSError`, `ValueError`, or `Misconfigured` by its cure."""
        proxy = self._proxy(to)
        raw = self._reach(proxy or to)
        try:
            line = self._through(raw, proxy, to) if proxy else self._straight(raw, to)
        except BaseException:
            raw.close()
            raise
        _limit(raw, self._read)
        return line

    def _straight(self, raw: socket.socket, to: Place) -> Line:
        return Line(raw, Via(), self._secured(raw, to))

    def _through(self, raw: socket.socket, proxy: Place, to: Place) -> Line:
        under, login = self._secured(raw, proxy), self._login(to)
        if to.scheme == "http":
            return Line(raw, Via(f"http://{authority(to)}", login), under)
        tunnel(Line(raw, Via(), under), to, login)
        return Line(raw, Via(), Tls(under, self._trust(), to.host))

    def _reach(self, to: Place) -> socket.socket:
        try:
            raw = socket.create_connection((to.host, to.port), self._connect)
        except TimeoutError as exc:
            raise Broken("did not take the connection in time") from exc
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _limit(raw, self._connect)
        return raw

    def _secured(self, raw: socket.socket, to: Place) -> Transport:
        return Tls(raw, self._trust(), to.host) if to.scheme == "https" else raw

    def _trust(self) -> ssl.SSLContext:
        """Return what is trusted: the bundle of the environment, else that of the browsers."""
        if self._context is None:
            bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
            self._context = ssl.create_default_context(cafile=bundle or certifi.where())
        return self._context

    def _proxy(self, to: Place) -> Place | None:
        """Return the proxy that the environment names for a server."""
        url = self._proxy_url(to)
        if not url:
            return None
        parts = address.parts(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Misconfigured(
                f"The proxy that the environment names for {to.host} is no http address.",
                advice=f"Set {to.scheme}_proxy to http://host:port.",
            )
        return Place(parts.scheme, parts.hostname, address.origin(url)[2] or 0)

    def _proxy_url(self, to: Place) -> str:
        known = self._proxies.get(to[:2])
        if known is None:  # asking the environment costs a tenth of a small file
            known = "" if proxy_bypass(to.host) else getproxies().get(to.scheme, "")
            known = known if not known or "://" in known else f"http://{known}"
            self._proxies[to[:2]] = known
        return known

    def _login(self, to: Place) -> str:
        parts = address.parts(self._proxy_url(to))
        if not parts.username:
            return ""
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


def authority(to: Place) -> str:
    """Return host and port as they stand in a request."""
    host = to.host if to.host.isascii() else to.host.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return host if to.port == address.PORTS[to.scheme] else f"{host}:{to.port}"


def tunnel(line: Line, to: Place, login: str) -> None:
    """Have a proxy pass on to a server. Raise `Broken` when it refuses."""
    name = f"[{to.host}]" if ":" in to.host else to.host.encode("idna").decode()
    lines = [f"CONNECT {name}:{to.port} HTTP/1.1", f"Host: {name}:{to.port}"]
    lines += [f"Proxy-Authorization: {login}"] if login else []
    line.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    words = line.head().split(None, 2)
    if len(words) < 2 or not words[1].startswith(b"2"):
        said = words[1].decode("latin-1") if len(words) > 1 else "nothing"
        raise Broken(f"could not be reached: its proxy answered {said[:3]}")


def _limit(raw: socket.socket, seconds: float) -> None:
    """Let the kernel keep the time of each read and write: one system call less per read."""
    raw.settimeout(None)
    span = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
