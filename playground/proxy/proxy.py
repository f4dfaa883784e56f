"""The proxy: listens, leads, and does to its connections what it is told.

In: the address it leads to. Out: an address, methods for each kind of weather, a control API.
One event loop in a thread of its own; the methods may be called from any thread.
"""

import asyncio
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from playground.proxy.way import Side, Weather, forever, lead

T = TypeVar("T")
WAIT = 10.0
"""Seconds the loop has to do what it was told."""


class Proxy:
    """Leads to a server; listens from construction, works inside `with`, ends at its close."""

    def __init__(
        self, to: tuple[str, int], *, delay: float = 0.0, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._to = to
        self._open: dict[asyncio.Task[None], tuple[Side, Side]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._weather = Weather(delay)
        self._weather.moving.set()
        self._thread.start()
        opening = asyncio.start_server(self._arrived, host, port, start_serving=False)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(WAIT)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    @property
    def connections(self) -> int:
        """Connections that lead through it now."""
        return self._tell(lambda: len(self._open))

    def freeze(self) -> None:
        """Let nothing through, and tell nobody: a network that is gone."""
        self._tell(self._weather.moving.clear)

    def thaw(self) -> None:
        """Let everything through that was held."""
        self._tell(self._weather.moving.set)

    def cut(self) -> int:
        """Reset all connections; returns how many there were."""
        return self._tell(self._cut)

    def refuse(self, refusing: bool = True) -> None:
        """Reset new connections from now on, or no more."""
        self._weather.refusing = refusing

    def delay(self, seconds: float) -> None:
        """Bytes that come from now on take so long, in each direction."""
        self._weather.delay = seconds

    def fray(self, mean: float, seed: int = 0) -> None:
        """Reset each connection made from now on after a random number of bytes of answers.

        `mean` bytes on average, exponentially spread; 0 ends it. The same seed gives connections,
        in the order of their coming, the same lengths of life.
        """
        draw = random.Random(seed)
        self._weather.life = (lambda: draw.expovariate(1 / mean)) if mean > 0 else forever

    def start(self) -> Self:
        """Begin to accept connections."""
        asyncio.run_coroutine_threadsafe(self._server.start_serving(), self._loop).result(WAIT)
        return self

    def stop(self) -> None:
        """Stop listening and reset all connections."""
        self._tell(self._server.close)
        self.cut()
        asyncio.run_coroutine_threadsafe(self._emptied(), self._loop).result(WAIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _tell(self, what: Callable[[], T]) -> T:
        async def do() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(WAIT)

    def _cut(self) -> int:
        doomed = list(self._open.items())
        for task, sides in doomed:
            for side in sides:
                side.reset()
            task.cancel()
        return len(doomed)

    async def _emptied(self) -> None:
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = Side(reader, writer)
        if self._weather.refusing:
            near.reset()
            return
        try:
            far = Side(*await asyncio.open_connection(*self._to))
        except OSError:
            near.reset()
            return
        task = asyncio.ensure_future(lead(near, far, self._weather))
        self._open[task] = (near, far)
        task.add_done_callback(self._open.pop)
