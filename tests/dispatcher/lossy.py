"""A TCP proxy in front of a server that loses the answers to chosen commands.

The command arrives and is carried out; its answer is dropped and the connection with it, which is
what a client sees of a network that dies at the wrong moment.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit


class LossyProxy:
    """Listens on a port of its own. `lose` names commands (upper case) whose answers are lost."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        self.lose: set[bytes] = set()
        self.lost = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> LossyProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(self._target)
        self._open += [client, server]
        dropping = threading.Event()
        back = threading.Thread(target=self._back, args=(server, client, dropping), daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(65536):
                if any(command in data.upper() for command in self.lose):
                    dropping.set()
                server.sendall(data)
        server.close()

    def _back(
        self, server: socket.socket, client: socket.socket, dropping: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if dropping.is_set():
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    break
                client.sendall(data)
        client.close()
