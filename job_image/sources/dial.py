"""How a line is made: the connection, the certificates, the proxy that the environment names.

Goes in: a place, and the environment's proxies and certificates. Comes out: a `Line`, ready for its
first request. A proxy's login goes to the proxy alone: into the tunnel's request, or into `Via` for
plain HTTP.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import certifi

from contract.errors import Misconfigured
from job_image.sources import address
from job_image.sources.line import Broken, Line, Place, Silent, Tls, Transport, Via


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
            raise Silent("did not take the connection in time") from exc
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
