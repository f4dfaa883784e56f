"""An answer as a value: status, headers, body, and what is to go wrong while it is sent.

In: content and a plan. Out: the plan, unchanged, for the sender.
Faults are fields and not behaviour: a fault is a function from Reply to Reply, so any two can be
combined and tested without a socket.
"""

import json
from dataclasses import dataclass, replace
from enum import Enum
from http import HTTPStatus
from typing import Any, Protocol, Self

from playground.content import EMPTY, Bytes, Content

BODILESS = (204, 304)
"""Statuses that never have a body, whatever the plan says."""


class Framing(Enum):
    """How the end of the body is told."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Outcome(Enum):
    """How the sending ended."""

    COMPLETE = "complete"
    CUT = "cut"
    GONE = "gone"


class Watch(Protocol):
    """Somebody who wants to know how the sending goes."""

    def begun(self, status: int) -> None:
        """The answer is known; its first byte comes next."""

    def progress(self, count: int) -> None:
        """So many more body bytes are sent; negative when some proved undelivered."""

    def stalled(self, now: bool) -> None:
        """The body is being held back, or goes on."""

    def done(self, outcome: Outcome) -> None:
        """Nothing more will be sent."""


class Nobody:
    """The watch of a reply nobody watches."""

    def begun(self, status: int) -> None:
        return None

    def progress(self, count: int) -> None:
        return None

    def stalled(self, now: bool) -> None:
        return None

    def done(self, outcome: Outcome) -> None:
        return None


NOBODY = Nobody()


@dataclass(frozen=True, slots=True)
class Stall:
    """Hold the body back after so many bytes for so many seconds, or until released."""

    after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection after so many body bytes: with a reset, or with an orderly close that
    looks like an end.
    """

    after: int
    reset: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer and the plan of its sending."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    content: Content = EMPTY
    start: int = 0
    """First byte of the content to send."""
    stop: int | None = None
    """Byte after the last one; None = to the end."""
    framing: Framing = Framing.LENGTH
    cut: Cut | None = None
    stall: Stall | None = None
    rate: int | None = None
    """Bytes per second; None = as fast as it goes."""
    delay: float = 0.0
    """Seconds to wait before the first byte of the head."""
    dropped: bool = False
    """Reset the connection instead of answering at all."""
    watch: Watch = NOBODY

    @property
    def end(self) -> int:
        """Byte after the last one to send."""
        return self.content.size if self.stop is None else self.stop

    @property
    def length(self) -> int:
        """Bytes of the body, as declared."""
        return 0 if self.status in BODILESS else self.end - self.start

    def header(self, name: str) -> str | None:
        """The value of a header, by any spelling of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def with_header(self, name: str, value: str | None) -> Self:
        """The same reply with the header set, or removed when the value is None."""
        rest = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=rest if value is None else (*rest, (name, value)))

    def head(self) -> bytes:
        """Status line and headers with the blank line."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += _framing(self)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def body(status: int, media_type: str, data: bytes) -> Reply:
    """A reply with a body of the given media type."""
    return Reply(status, (("Content-Type", media_type),), Bytes(data))


def document(value: Any, status: int = 200) -> Reply:
    """A JSON reply."""
    return body(status, "application/json", json.dumps(value, ensure_ascii=False).encode())


def page(html: str, status: int = 200) -> Reply:
    """An HTML reply."""
    return body(status, "text/html; charset=utf-8", html.encode())


def plain(value: str, status: int = 200) -> Reply:
    """A plain-text reply."""
    return body(status, "text/plain; charset=utf-8", value.encode())


def _framing(reply: Reply) -> list[str]:
    if reply.status in BODILESS:
        return []
    lines = {
        Framing.LENGTH: f"Content-Length: {reply.length}",
        Framing.CHUNKED: "Transfer-Encoding: chunked",
        Framing.CLOSE: "Connection: close",
    }
    return [lines[reply.framing]]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
