"""Sending one reply, with its delays, stalls and cuts.

In: a Reply and a socket. Out: bytes, the watch told of each step, and the Outcome.
A file goes out by sendfile unless TLS forbids it. Before a reset the kernel's queue is emptied, so
that "cut after N bytes" means N bytes and not "some of N". Bytes the client's side never
acknowledged are taken back from the count.
"""

import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import threading
import time
from pathlib import Path

from playground.content import Content
from playground.wire.reply import BODILESS, Cut, Framing, Outcome, Reply

STEP = 1024 * 1024
FILE_STEP = 4 * STEP
SMALL = 64 * 1024
"""Bodies up to here travel in one write with the head."""
LOOK = 0.02
"""Seconds between two looks at whether a stalled reply may go on."""
DRAIN = 10.0
"""Seconds the client has to take what was sent before a reset."""
LINGER_OFF = struct.pack("ii", 1, 0)


class Gate:
    """Lets stalled replies go on: all that are held when release() is called."""

    def __init__(self) -> None:
        self._released = 0
        self.halted = threading.Event()

    def release(self) -> None:
        """Let every reply that is stalled now go on at once."""
        self._released += 1

    def ticket(self) -> int:
        """What hold() needs: only a release after the ticket was taken counts."""
        return self._released

    def hold(self, sock: socket.socket, seconds: float, ticket: int) -> bool:
        """Wait so long, or until released or halted; False when the client has gone away."""
        deadline = time.monotonic() + seconds
        watcher = select.poll()
        watcher.register(sock, select.POLLRDHUP)
        while ticket == self._released and not self.halted.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if watcher.poll(min(LOOK, left) * 1000):
                return False
        return True


class Sender:
    """Sends replies on one connection."""

    def __init__(self, sock: socket.socket, gate: Gate) -> None:
        self._sock = sock
        self._gate = gate
        self._plain = not isinstance(sock, ssl.SSLSocket)

    def send(self, reply: Reply, *, head_only: bool = False) -> Outcome:
        """Send the reply; the connection is of no more use unless the outcome is COMPLETE."""
        try:
            outcome = self._send(reply, head_only)
        except OSError:
            outcome = Outcome.GONE
        if outcome is Outcome.GONE:
            reply.watch.progress(-min(self._unsent(), reply.length))
        reply.watch.done(outcome)
        return outcome

    def _send(self, reply: Reply, head_only: bool) -> Outcome:
        if reply.delay and not self._stall(reply, reply.delay):
            return Outcome.GONE
        if reply.dropped:
            return self._end(Cut(0, reset=True))
        reply.watch.begun(reply.status)
        if head_only or not reply.length:
            self._sock.sendall(reply.head() + (_last(reply) if not head_only else b""))
            return Outcome.COMPLETE
        if self._is_simple(reply):
            return self._send_small(reply)
        self._sock.sendall(reply.head())
        return self._send_body(reply)

    def _is_simple(self, reply: Reply) -> bool:
        troubled = reply.cut or reply.stall or reply.rate
        return not troubled and reply.length <= SMALL and reply.framing is not Framing.CHUNKED

    def _send_small(self, reply: Reply) -> Outcome:
        self._push(
            reply, reply.head() + reply.content.read(reply.start, reply.length), reply.length
        )
        return Outcome.COMPLETE

    def _send_body(self, reply: Reply) -> Outcome:
        stop = min(reply.end, reply.start + reply.cut.after) if reply.cut else reply.end
        held = self._held_at(reply, stop)
        self._span(reply, reply.start, held)
        if reply.stall and held < reply.end and not self._stall(reply, reply.stall.seconds):
            return Outcome.GONE
        self._span(reply, held, stop)
        if reply.cut and stop < reply.end:
            return self._end(reply.cut)
        self._sock.sendall(_last(reply))
        return Outcome.COMPLETE

    def _held_at(self, reply: Reply, stop: int) -> int:
        return min(stop, reply.start + reply.stall.after) if reply.stall else stop

    def _stall(self, reply: Reply, seconds: float) -> bool:
        ticket = self._gate.ticket()  # before anybody is told, who might release at once
        reply.watch.stalled(True)
        try:
            return self._gate.hold(self._sock, seconds, ticket)
        finally:
            reply.watch.stalled(False)

    def _span(self, reply: Reply, start: int, stop: int) -> None:
        if start >= stop:
            return
        chunked = reply.framing is Framing.CHUNKED
        if reply.content.path and self._plain and not chunked and not reply.rate:
            self._from_file(reply, reply.content.path, start, stop)
            return
        step = max(1, min(STEP, reply.rate // 20)) if reply.rate else STEP
        for offset in range(start, stop, step):
            piece = reply.content.read(offset, min(step, stop - offset))
            self._push(reply, _chunk(piece) if chunked else piece, len(piece))
            if reply.rate:
                self._gate.halted.wait(len(piece) / reply.rate)

    def _push(self, reply: Reply, data: bytes, payload: int) -> None:
        """Count first, then send: who has the bytes finds them in the count."""
        reply.watch.progress(payload)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._sock.send(rest) :]
        except OSError:
            reply.watch.progress(-min(len(rest), payload))
            raise

    def _from_file(self, reply: Reply, path: Path, start: int, stop: int) -> None:
        with path.open("rb") as stream:
            while start < stop:
                start += self._file_step(
                    reply, stream.fileno(), start, min(FILE_STEP, stop - start)
                )

    def _file_step(self, reply: Reply, source: int, offset: int, length: int) -> int:
        reply.watch.progress(length)
        sent = 0
        try:
            sent = os.sendfile(self._sock.fileno(), source, offset, length)
        finally:
            reply.watch.progress(sent - length)
        if not sent:
            raise ConnectionAbortedError("A file became shorter while it was served.")
        return sent

    def _end(self, cut: Cut) -> Outcome:
        if cut.reset:
            self._drain()
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
        return Outcome.CUT

    def _drain(self) -> None:
        deadline = time.monotonic() + DRAIN
        while self._unsent() and time.monotonic() < deadline:
            self._gate.halted.wait(0.001)

    def _unsent(self) -> int:
        try:
            answer = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return 0
        return int.from_bytes(answer, "little")


def whole(content: Content) -> bytes:
    """All bytes of a content; for small ones only."""
    return content.read(0, content.size)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _last(reply: Reply) -> bytes:
    ends = reply.framing is Framing.CHUNKED and reply.status not in BODILESS
    return b"0\r\n\r\n" if ends else b""
