"""One connection through a proxy: two directions, each with its own delay.

In: a near and a far stream, the weather. Out: the same bytes later. Bytes on their way wait in a
queue, so latency is added without taking throughput away. A connection may be given a length of
life in bytes of answers; then both its ends are reset.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from playground.wire.sender import LINGER_OFF

PIECE = 64 * 1024
QUEUED = 256
"""Pieces on their way in one direction: 16 MiB, enough for 1 Gbit/s at 100 ms."""

Line = asyncio.Queue[tuple[float, bytes]]


def forever() -> float:
    """Return the length of life of a connection that nothing cuts."""
    return float("inf")


@dataclass
class Weather:
    """How the way is now; may be changed at any time."""

    delay: float = 0.0
    """Seconds each byte is on its way, in each direction."""
    refusing: bool = False
    """New connections are reset at once."""
    moving: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: nothing gets through, and nobody is told."""
    life: Callable[[], float] = forever
    """Asked at each new connection: bytes of answers after which it is reset."""


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
        await _together(
            _carry(near, far, weather, forever()), _carry(far, near, weather, weather.life())
        )
    except OSError:
        near.reset()
        far.reset()
    finally:
        near.writer.close()
        far.writer.close()


async def _carry(source: Side, target: Side, weather: Weather, life: float) -> None:
    line: Line = asyncio.Queue(QUEUED)
    await _together(_take(source, line, weather), _give(line, target, weather, life))


async def _take(source: Side, line: Line, weather: Weather) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        piece = await source.reader.read(PIECE)
        await line.put((clock() + weather.delay, piece))
        if not piece:
            return


async def _give(line: Line, target: Side, weather: Weather, life: float) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due, piece = await line.get()
        await asyncio.sleep(due - clock())
        await weather.moving.wait()
        if not piece:
            target.writer.write_eof()
            return
        target.writer.write(piece if len(piece) < life else piece[: int(life)])
        await target.writer.drain()
        life -= len(piece)
        if life <= 0:
            raise ConnectionResetError("The end of this connection's life, as the weather has it.")


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    """Wait for all; the first error ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
