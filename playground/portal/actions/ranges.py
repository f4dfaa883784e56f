"""Faults of ranges and validators: answers to a resuming client that are wrong or hard.

In: the object and the request. Out: another object, another reading, a false reply.
"""

from dataclasses import dataclass, replace

from playground.content import Resized, Synthetic
from playground.portal.actions.base import Action
from playground.portal.catalogue import Stored
from playground.portal.refusals import unsatisfiable
from playground.wire import Reply, Request


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


def _without(request: Request, name: str) -> dict[str, str]:
    return {key: value for key, value in request.headers.items() if key != name}
