"""A small HTTP/1.1 server that does exactly what it is told, wrong things included.

In: a function from Request to Reply. Out: bytes on a socket, and a report of how the sending ended.
It is written by hand because the standard library's handler parses slowly, cannot send a file from
the kernel, and corrects or hides much of what a fault script has to do on purpose.
"""

from playground.wire.reply import Cut, Framing, Outcome, Reply, Stall, Watch
from playground.wire.request import Request
from playground.wire.sender import Gate
from playground.wire.server import Meter, Server

__all__ = [
    "Cut",
    "Framing",
    "Gate",
    "Meter",
    "Outcome",
    "Reply",
    "Request",
    "Server",
    "Stall",
    "Watch",
]
