"""Reading requests from a connection.

In: bytes of a socket. Out: Request values, one after the other, until the client goes away.
Header names are lower-cased; repeated headers are joined by a comma. Request bodies need a
Content-Length.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
READ = 64 * 1024


class ProtocolError(Exception):
    """The client sent something that is not HTTP/1.1 as understood here."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    """Path and query, undecoded."""
    headers: Mapping[str, str]
    """Lower-case name to value."""
    body: bytes = b""
    scheme: str = "http"

    @property
    def path(self) -> str:
        """Decoded path without the query."""
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        """Decoded query; of a repeated name the last value counts."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def host(self) -> str:
        """The Host header, or an empty text."""
        return self.headers.get("host", "")

    @property
    def keeps_alive(self) -> bool:
        """Whether the client means to send another request on this connection."""
        return self.headers.get("connection", "").lower() != "close"


class RequestReader:
    """Takes requests off one socket."""

    def __init__(self, sock: socket.socket, scheme: str = "http") -> None:
        self._sock = sock
        self._scheme = scheme
        self._buffer = b""

    def next(self) -> Request | None:
        """The next request, or None when the client has closed; ProtocolError if it is not HTTP."""
        head = self._head()
        if head is None:
            return None
        method, target, headers = parse_head(head)
        length = _body_length(headers)
        if length and headers.get("expect", "").lower() == "100-continue":
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Request(method, target, headers, self._exactly(length), self._scheme)

    def _head(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD:
                raise ProtocolError(f"The request head is longer than {MAX_HEAD} bytes.")
            if not self._more():
                return None
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        return head

    def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            if not self._more():
                raise ProtocolError("The request body ended before its Content-Length.")
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _more(self) -> bool:
        piece = self._sock.recv(READ)
        self._buffer += piece
        return bool(piece)


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers of a request head without its blank line."""
    first, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ProtocolError("The request line is not 'METHOD target HTTP/1.x'.")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return words[0], words[1], headers


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise ProtocolError("Chunked request bodies are not understood; send a Content-Length.")
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > MAX_BODY:
        raise ProtocolError(f"Content-Length must be a number up to {MAX_BODY}.")
    return int(declared)
