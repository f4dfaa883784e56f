"""Live: a stream of server-sent events that says when there is something new to see.

It carries no data but a number. Whoever looks then asks for the page again, so there is one way in
which anything is rendered, and a page without script is the same page, reloaded by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dispatcher.web.model import Model

LOOK = 0.5
"""Seconds between two looks at the number."""

SPACE = 1.0
"""Seconds between two events: as often as a person can follow, and ten tabs cost no more."""

QUIET = 15.0
"""Seconds after which a comment is sent, so that whoever is in between keeps the line open."""

AT_ONCE = 100
"""Streams at once."""


class Live:
    """Serves the stream."""

    def __init__(self, model: Model, stopping: Callable[[], bool]) -> None:
        self._model = model
        self._stopping = stopping
        self._open = 0

    async def __call__(self, request: Request) -> Response:
        """Answer one browser until it leaves."""
        if self._open >= AT_ONCE:
            text = f"{AT_ONCE} pages are open already; this one does not update itself."
            return PlainTextResponse(text, 503, {"Retry-After": "30"})
        self._open += 1
        return _Counted(self._events(), self._left)

    def _left(self) -> None:
        self._open -= 1

    async def _events(self) -> AsyncIterator[str]:
        told, silent = -1, 0.0
        yield "retry: 2000\n\n"
        while not self._stopping():
            revision = self._model.fresh().revision
            if revision != told:
                told, silent = revision, 0.0
                yield f"event: change\ndata: {revision}\n\n"
                await asyncio.sleep(SPACE)
            else:
                silent += LOOK
                await asyncio.sleep(LOOK)
            if silent >= QUIET:
                silent = 0.0
                yield ": still here\n\n"


class _Counted(StreamingResponse):
    """A stream that tells when it has ended, even if not one event was asked of it."""

    def __init__(self, events: AsyncIterator[str], left: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()
