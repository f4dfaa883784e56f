"""The listener: one thread per connection, started and stopped from outside.

In: an address and a function from Request to Reply. Out: a running server with its port, and counts
of connections. Threads and not asyncio, because the kernel does the sending and a stalled reply may
then simply wait.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from playground.wire.reply import Framing, Outcome, Reply, plain
from playground.wire.request import ProtocolError, Request, RequestReader
from playground.wire.sender import Gate, Sender

log = logging.getLogger(__name__)
HANDSHAKE = 10.0
JOIN = 5.0


class Meter:
    """How many connections there are, were at most at one time, and were in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.peak = self.total = 0

    def count(self, change: int) -> None:
        """A connection came (+1) or went (-1)."""
        with self._lock:
            self.now += change
            self.total += change > 0
            self.peak = max(self.peak, self.now)

    def reset(self) -> None:
        """Forget the past; the connections that are open stay counted."""
        with self._lock:
            self.peak = self.total = self.now


class Server:
    """Listens from construction, answers from start() until stop(); `with` does both."""

    def __init__(
        self,
        answer: Callable[[Request], Reply],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        gate: Gate | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._answer = answer
        self._tls = tls
        self._listener = socket.create_server((host, port), backlog=512)
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self.gate = gate or Gate()
        self.meter = Meter()
        self.host, self.port = self._listener.getsockname()[:2]

    @property
    def scheme(self) -> str:
        """`https` if the server was given a certificate, else `http`."""
        return "https" if self._tls else "http"

    @property
    def url(self) -> str:
        """Address of the server without a trailing slash, as reached from this machine."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def start(self) -> Self:
        """Begin to accept connections."""
        threading.Thread(target=self._accept, name=f"accept:{self.port}", daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening, end every connection and wait for their threads."""
        self.gate.halted.set()
        _shut(self._listener)
        self._listener.close()
        with self._lock:
            open_now = list(self._open.items())
        for sock, _ in open_now:
            _shut(sock)
        for _, thread in open_now:
            thread.join(JOIN)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._secured(raw) as sock, self._registered(sock):
                self._converse(sock)
        except (OSError, ProtocolError) as error:
            log.debug("A connection ended early: %s", error)

    def _secured(self, raw: socket.socket) -> socket.socket:
        if self._tls is None:
            return raw
        raw.settimeout(HANDSHAKE)
        sock = self._tls.wrap_socket(raw, server_side=True)
        sock.settimeout(None)
        return sock

    @contextmanager
    def _registered(self, sock: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open[sock] = threading.current_thread()
        self.meter.count(+1)
        try:
            yield
        finally:
            self.meter.count(-1)
            with self._lock:
                del self._open[sock]

    def _converse(self, sock: socket.socket) -> None:
        reader, sender = RequestReader(sock, self.scheme), Sender(sock, self.gate)
        while not self.gate.halted.is_set() and (request := reader.next()) is not None:
            reply = self._reply(request)
            outcome = sender.send(reply, head_only=request.method == "HEAD")
            last = reply.framing is Framing.CLOSE or not request.keeps_alive
            if last or outcome is not Outcome.COMPLETE:
                return

    def _reply(self, request: Request) -> Reply:
        try:
            return self._answer(request)
        except Exception:  # outermost edge: a bug in a handler must be seen by the client
            log.exception("The handler of %s %s failed.", request.method, request.path)
            return plain("The playground's own handler failed; its log says why.", 500)


def _shut(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        log.debug("A socket was closed already.")
