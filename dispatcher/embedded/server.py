"""A real Valkey of our own beside the dispatcher: the queue of one machine, nothing to install.

Goes in: a state folder. Comes out: the address of a running server. What was pushed is in an
append-only file at once (on the disk within a second); the server goes when its program goes,
however that ends. Port and password stay the same from start to start, so that a backend can be
told once; they are in `<state>/redis.url`, for its owner's eyes only.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

from contract.env import Secret
from contract.errors import Misconfigured
from dispatcher.embedded.process import Child, find_binary

URL_FILE = "redis.url"
HOST = "127.0.0.1"

_FOLDER = "redis"
_READY = 60.0
"""Seconds a server may take until it answers: reading a large append-only file takes a while."""
_STOP = 10.0
"""Seconds from SIGTERM to SIGKILL, and to wait for the server of a killed predecessor."""
_LOOK = 0.02
_SOCKET_LIMIT = 107
"""Bytes of a Unix socket's path (unix(7): 108 with the final zero)."""
_PATIENCE = 2.0
"""Seconds for one answer; a server that is still reading its file answers at once that it is."""
_PASSWORD = 32
"""Random bytes in the password."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]{20,}")
_PORTS = 5
"""Ports tried before giving up: somebody may take a free one before the server does."""

_CONFIG = """
bind {host}
port {port}
protected-mode yes
{unixsocket}
requirepass "{password}"
dir {folder}
appendonly yes
appendfsync everysec
save ""
maxmemory 0
maxmemory-policy noeviction
daemonize no
"""
"""Read from standard input, so that the password is in no file of the server and in no argv."""


class EmbeddedServer:
    """A Valkey server on a loopback port and a Unix socket, to be used inside `with`.

    `port`: None takes the one it had in this folder before, or else any free one.
    """

    def __init__(self, state: Path, port: int | None = None) -> None:
        self._state = state.absolute()
        self._folder = self._state / _FOLDER
        self._log = self._folder / "server.log"
        self._port = port
        self._url: Secret | None = None
        self._child: Child | None = None

    def __repr__(self) -> str:
        return f"EmbeddedServer(state={str(self._state)!r})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> Secret:
        """The address with the password. Raise `Misconfigured` while nothing runs."""
        if self._url is None:
            raise Misconfigured("The embedded server has not been started.")
        return self._url

    @property
    def socket(self) -> Path | None:
        """The Unix socket; None where the state folder's path is too long for one."""
        path = self._folder / "socket"
        return path if len(os.fsencode(path)) <= _SOCKET_LIMIT else None

    @property
    def pid(self) -> int | None:
        """The server's process while it runs."""
        return self._child.pid if self._child is not None and self._child.alive() else None

    def start(self) -> None:
        """Start the server; return once it answers. Raise `Misconfigured`."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            password, known = _known(_read(self._state / URL_FILE))
            with self._lock() as lock:
                port = self._launch(self._ports(known), password, lock)
            # With its user named, or redis-cli 7 logs in as somebody without a name.
            self._url = Secret(f"redis://default:{password}@{HOST}:{port}/0")
            _write_private(self._state / URL_FILE, self._url.reveal() + "\n")
        except OSError as exc:
            self.close()
            raise Misconfigured(
                f"The embedded server cannot use {self._state}: {exc.strerror or exc}.",
                advice="Give another state folder, or set REDIS_URL to a server of your own.",
            ) from exc

    def close(self) -> None:
        """End the server; what was pushed stays in the state folder."""
        if self._child is not None:
            self._child.end(_STOP)
        self._child = None
        self._url = None

    @contextmanager
    def _lock(self) -> Iterator[int]:
        """Keep a second server off the files: the server inherits the lock and dies with it.

        The server of a killed predecessor is about to end; that is waited for.
        """
        deadline = time.monotonic() + _STOP
        with (self._folder / "lock").open("a") as file:
            while not _locked(file):
                if time.monotonic() > deadline:
                    raise Misconfigured(
                        f"Another program has its embedded server in {self._state}.",
                        advice="Stop that program, or give this one another state folder.",
                    )
                time.sleep(_LOOK)
            yield file.fileno()

    def _ports(self, known: int | None) -> Iterator[int]:
        if self._port is not None:
            yield self._port
            return
        if known is not None and _free_port(known):
            yield known
        for _ in range(_PORTS):
            yield _free_port()

    def _launch(self, ports: Iterator[int], password: str, lock: int) -> int:
        """Start the server on the first port that it gets, and return that."""
        binary = find_binary()
        for port in ports:
            config = self._config(port, password)
            self._child = Child(binary, config, self._log, lock)
            if self._answers(self._child, port, password):
                return port
            self._child.end(_STOP)
        raise Misconfigured(
            f"The embedded server does not start: {_last_line(self._log)}",
            advice=f"Look into {self._log}, or set REDIS_URL to a server of your own.",
        )

    def _config(self, port: int, password: str) -> str:
        path = self.socket
        line = f"unixsocket {_quoted(path)}\nunixsocketperm 700" if path else ""
        return _CONFIG.format(
            host=HOST, port=port, unixsocket=line, password=password, folder=_quoted(self._folder)
        )

    def _answers(self, child: Child, port: int, password: str) -> bool:
        """Wait until the server answers; false when it ended or takes too long.

        Asked on the socket, which nobody else can have, so that no stranger gets the password.
        """
        deadline = time.monotonic() + _READY
        while child.alive() and time.monotonic() < deadline:
            with suppress(OSError):
                if _ping(self.socket or (HOST, port), password):
                    return True
            time.sleep(_LOOK)
        return False


def _known(url: str) -> tuple[str, int | None]:
    """Return the password and the port in an address we wrote, else a new password and None."""
    try:
        parts = urlsplit(url)
        if _PLAIN.fullmatch(parts.password or ""):
            return str(parts.password), parts.port
    except ValueError:  # somebody else wrote it
        pass
    return secrets.token_urlsafe(_PASSWORD), None


def _ping(address: Path | tuple[str, int], password: str) -> bool:
    """Whether the server at `address` takes the password and is ready. Raise `OSError`."""
    kind = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as client:
        client.settimeout(_PATIENCE)
        client.connect(str(address) if isinstance(address, Path) else address)
        client.sendall(f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
        with client.makefile("rb") as answers:
            return answers.read().startswith(b"+OK\r\n+PONG\r\n")


def _free_port(wanted: int = 0) -> int:
    """Return `wanted` if it is free, else 0; or for 0 any free port."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, wanted))
        except OSError:
            return 0
        return int(tried.getsockname()[1])


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _quoted(path: Path) -> str:
    """Return a path as the server's configuration wants it."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read."""
    scratch = path.with_name(path.name + ".new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _last_line(log: Path) -> str:
    lines = _read(log).splitlines()
    return lines[-1] if lines else "it said nothing."
