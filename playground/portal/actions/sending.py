"""Faults of the sending: connections that break, hang or crawl, and odd ways to frame a body.

In: a right reply. Out: the same reply with another plan for its sending.
"""

import gzip
from dataclasses import dataclass, replace

from playground.content import Bytes
from playground.portal.actions.base import Action
from playground.wire import Cut, Framing, Reply, Request, Stall


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
