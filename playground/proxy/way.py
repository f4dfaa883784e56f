"""One connection through a proxy: two directions, each with its own delay.

In: a near and a far stream, the weather. Out: the same bytes later. Bytes on their way wait in a
queue, so latency is added without taking throughput away.
"""

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from playground.wire.sender import LINGER_OFF

PIECE = 64 * 1024
QUEUED = 256
"""Pieces on their way in one direction: 16 MiB, enough for 1 Gbit/s at 100 ms."""

Line = asyncio.Queue[tuple[float, bytes]]


@dataclass
class Weather:
    """How the way is now; may be changed at any time."""

    delay: float = 0.0
    """Seconds each byte is on its way, in each direction."""
    refusing: bool = False
    """New connections are reset at once."""
    moving: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: nothing gets through, and nobody is told."""


@dataclass(frozen=True)
class Side:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """End it the hard way."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
        self.writer.transport.abort()


async def lead(near: Side, far: Side, weather: Weather) -> None:
    """Carry bytes both ways until both ends have closed or one has broken."""
    try:
        await _together(_carry(near, far, weather), _carry(far, near, weather))
    except OSError:
        near.reset()
        far.reset()
    finally:
        near.writer.close()
        far.writer.close()


async def _carry(source: Side, target: Side, weather: Weather) -> None:
    line: Line = asyncio.Queue(QUEUED)
    await _together(_take(source, line, weather), _give(line, target, weather))


async def _take(source: Side, line: Line, weather: Weather) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        piece = await source.reader.read(PIECE)
        await line.put((clock() + weather.delay, piece))
        if not piece:
            return


async def _give(line: Line, target: Side, weather: Weather) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, piece = await line.get()
        await asyncio.sleep(due - clock())
        await weather.moving.wait()
        if not piece:
            target.writer.write_eof()
            return
        target.writer.write(piece)
        await target.writer.drain()


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Wait for all; the first error ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
