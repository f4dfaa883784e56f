"""A Redis of a test's own: real, with a data folder, to be stopped, forgotten and started again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import redis

from tests.services import absent, free_port, listens, server, until

DEBIAN = "/usr/bin/redis-server"


def program() -> str:
    """Debian's Redis 7: it alone brings TLS, sentinels and clusters."""
    found = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    return found or absent("Redis 7")


class OwnRedis:
    """One server on one port. `more` are options of its command line."""

    def __init__(self, folder: Path, *more: str, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.password = ""
        self._more = more
        self._running: AbstractContextManager[int] | None = None
        self.pid = 0

    @property
    def url(self) -> str:
        """Its address."""
        account = f":{self.password}@" if self.password else ""
        return f"redis://{account}127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A client as a backend has it."""
        return redis.Redis.from_url(self.url)

    def start(self, *more: str) -> None:
        """Start it; what is in its folder is in it."""
        command = [program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", "."]
        command += ["--appendonly", "yes", "--appendfsync", "always", *self._more, *more]
        self._running = server(command, self.answers, self.folder)
        self.pid = self._running.__enter__()

    def stop(self) -> None:
        """Stop it."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
            until(lambda: not listens(self.port), "the server is gone")
        self._running = None

    def answers(self) -> bool:
        """Whether it answers, if only that a password is needed."""
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.RedisError:
                return False

    def remember(self) -> Path:
        """Keep what it knows now, as a replica knows it that lags behind."""
        copy = self.folder.with_name(f"{self.folder.name}-before")
        shutil.copytree(self.folder / "appendonlydir", copy)
        return copy

    def fail_over(self, copy: Path) -> None:
        """Go on as a server that knows no more than was remembered."""
        self.stop()
        shutil.rmtree(self.folder / "appendonlydir")
        shutil.copytree(copy, self.folder / "appendonlydir")
        self.start()


def command(more: Sequence[str]) -> list[str]:
    """The command line of a server with these options alone."""
    return [program(), *more]
