"""What can go wrong with an answer: one small class per fault.

In: the object, the request, the reply that would be right. Out: the one that is wrong in the way
the class says. Each works by itself on values, so faults combine freely and the order of a script
is the order of their effects.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from playground.content import Bytes, Resized, Synthetic
from playground.portal.catalogue import Stored
from playground.wire import Cut, Framing, Reply, Request, Stall
from playground.wire.reply import body, document, page
from playground.wire.sender import whole

CHALLENGE = """<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>
<script src="/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1"></script></body></html>"""


@dataclass(frozen=True)
class Action:
    """Does nothing; the others override the step they spoil."""

    def on_object(self, stored: Stored) -> Stored:
        """Before the request is read: what is served."""
        return stored

    def on_request(self, request: Request) -> Request:
        """Before the answer is made: what was asked."""
        return request

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        """Before it is sent: what is answered."""
        return reply


@dataclass(frozen=True)
class CutBody(Action):
    """End the connection after so many body bytes. how: reset, or close (an orderly end)."""

    after: int = 0
    how: str = "reset"

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, cut=Cut(self.after, self.how == "reset"))


@dataclass(frozen=True)
class StallBody(Action):
    """Hold the body after so many bytes, for so many seconds or until released."""

    after: int = 0
    seconds: float = 3600.0

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, stall=Stall(self.after, self.seconds))


@dataclass(frozen=True)
class Delay(Action):
    """Wait so many seconds, or until released, before anything is answered."""

    seconds: float = 1.0

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, delay=self.seconds)


@dataclass(frozen=True)
class Drop(Action):
    """Reset the connection without an answer."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, dropped=True)


@dataclass(frozen=True)
class Rate(Action):
    """So many body bytes per second on this connection."""

    bytes_per_second: int = 1_000_000

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, rate=self.bytes_per_second)


@dataclass(frozen=True)
class Status(Action):
    """Answer with a status code and a JSON body; retry_after is in seconds or an HTTP date."""

    code: int = 503
    retry_after: str | int | None = None
    detail: str = "A fault of the playground."

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        answer = document({"detail": self.detail}, self.code)
        return answer.with_header("Retry-After", _text(self.retry_after))


@dataclass(frozen=True)
class Challenge(Action):
    """The HTML page with which a bot guard stops a client; code 403 or 503."""

    code: int = 403

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return page(CHALLENGE, self.code).with_header("cf-mitigated", "challenge")


@dataclass(frozen=True)
class Html(Action):
    """An error page where data was expected; code 200 by default."""

    code: int = 200

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return page("<html><body><h1>Something went wrong</h1></body></html>", self.code)


@dataclass(frozen=True)
class Expired(Action):
    """The CDN's answer to a signature that is over."""

    code: int = 403

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return denied(self.code)


@dataclass(frozen=True)
class IgnoreRange(Action):
    """Answer 200 with the whole body although a range was asked for."""

    def on_request(self, request: Request) -> Request:
        return replace(request, headers=_without(request, "range"))


@dataclass(frozen=True)
class IgnoreIfRange(Action):
    """Answer 206 although the object is another one than If-Range names."""

    def on_request(self, request: Request) -> Request:
        return replace(request, headers=_without(request, "if-range"))


@dataclass(frozen=True)
class WrongContentRange(Action):
    """A 206 that lies about start and total, by so much; with move_body the body moves along."""

    start_by: int = 0
    total_by: int = 0
    move_body: bool = False

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        if reply.status != 206:
            return reply
        start, stop = reply.start + self.start_by, reply.end + (self.start_by * self.move_body)
        moved = replace(reply, start=start, stop=stop) if self.move_body else reply
        claim = f"bytes {start}-{start + reply.length - 1}/{reply.content.size + self.total_by}"
        return moved.with_header("Content-Range", claim)


@dataclass(frozen=True)
class RangeWith200(Action):
    """The right partial body and Content-Range, under the status 200."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, status=200) if reply.status == 206 else reply


@dataclass(frozen=True)
class Unsatisfiable(Action):
    """416 with the true total, whatever range was asked for."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return unsatisfiable(reply.content.size)


@dataclass(frozen=True)
class WeakEtag(Action):
    """The ETag is only a weak one; a range that depends on it is refused, as the standard wants."""

    def on_object(self, stored: Stored) -> Stored:
        return replace(stored, etag=f"W/{stored.etag}")


@dataclass(frozen=True)
class NoEtag(Action):
    """No ETag; with also_date no Last-Modified either."""

    also_date: bool = False

    def on_object(self, stored: Stored) -> Stored:
        return replace(stored, etag="")

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return reply.with_header("Last-Modified", None) if self.also_date else reply


@dataclass(frozen=True)
class ReplaceObject(Action):
    """Another object under the same key: computed from a seed, of its own or the old size."""

    seed: str = "replaced"
    size: int | None = None
    keep_etag: bool = False

    def on_object(self, stored: Stored) -> Stored:
        size = stored.content.size if self.size is None else self.size
        return stored.replaced(Synthetic(self.seed, size), keep_etag=self.keep_etag)


@dataclass(frozen=True)
class ResizeObject(Action):
    """The object shrunk, or grown by zero bytes."""

    size: int = 0
    keep_etag: bool = False

    def on_object(self, stored: Stored) -> Stored:
        return stored.replaced(Resized(stored.content, self.size), keep_etag=self.keep_etag)


@dataclass(frozen=True)
class Gzip(Action):
    """The body compressed, with Content-Encoding, although nobody asked for it."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        packed = Bytes(gzip.compress(reply.content.read(reply.start, reply.length), mtime=0))
        other = replace(reply, content=packed, start=0, stop=None)
        return other.with_header("Content-Encoding", "gzip")


@dataclass(frozen=True)
class Chunked(Action):
    """The body in chunks, its length not told."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, framing=Framing.CHUNKED)


@dataclass(frozen=True)
class Unframed(Action):
    """Neither length nor chunks: the end of the connection is the end of the body."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return replace(reply, framing=Framing.CLOSE)


@dataclass(frozen=True)
class Redirect(Action):
    """Send the client to the same path on another host name; the answer there is the right one."""

    host: str = "localhost"
    code: int = 302

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        name, colon, port = request.host.partition(":")
        if name == self.host:
            return reply
        place = f"{request.scheme}://{self.host}{colon}{port}{request.target}"
        return Reply(self.code, (("Location", place),))


@dataclass(frozen=True)
class Json(Action):
    """Put value at a path of a JSON answer, or remove it there: `results/*/asset/captions`."""

    path: str = ""
    value: Any = None
    remove: bool = False

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        if reply.header("Content-Type") != "application/json":
            return reply
        return _edited(reply, lambda whole: _edit(whole, self.path.split("/"), self))


@dataclass(frozen=True)
class EndlessNext(Action):
    """Every page of a list names itself as the next one."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        here = f"{request.scheme}://{request.host}{request.target}"
        return _edited(reply, lambda whole: whole.update(next=here))


@dataclass(frozen=True)
class Garbage(Action):
    """A JSON answer that breaks off in the middle, with a Content-Length that fits."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        half = whole(reply.content)[: reply.content.size // 2]
        return body(reply.status, "application/json", half)


def unsatisfiable(total: int) -> Reply:
    """416 with the total length."""
    return body(416, "text/plain", b"").with_header("Content-Range", f"bytes */{total}")


def denied(code: int = 403) -> Reply:
    """The CDN's refusal."""
    xml = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
    return body(code, "application/xml", xml.encode())


def _without(request: Request, name: str) -> dict[str, str]:
    return {key: value for key, value in request.headers.items() if key != name}


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _edited(reply: Reply, edit: Callable[[Any], None]) -> Reply:
    value = json.loads(whole(reply.content))
    edit(value)
    return replace(reply, content=document(value).content, start=0, stop=None)


def _edit(value: Any, path: list[str], how: Json) -> None:
    first, *rest = path
    for key in _matching(value, first):
        if rest:
            _edit(value[key], rest, how)
        elif how.remove:
            del value[key]
        else:
            value[key] = how.value


def _matching(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return list(range(len(value)))[::-1] if name == "*" else [int(name)]
    if isinstance(value, dict):
        return list(value) if name == "*" else [name]
    return []
