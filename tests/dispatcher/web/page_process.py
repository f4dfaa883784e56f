"""The page as its own process, as an operator starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import requests

from tests.dispatcher.town import QUEUE
from tests.services import BOUND_TO_US, until

TOKEN = "let-me-act-if-you-please"
LIMIT = 60.0


class Page:
    """A page on a port of its own. `settings` are added to what it needs."""

    def __init__(self, folder: Path, redis_url: str, **settings: str) -> None:
        self.log = folder / f"page-{len(list(folder.glob('page-*.log')))}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "EXECUTOR": "local",
            "STAGING_DIR": str(folder / "Staging"),
            "REDIS_URL": redis_url,
            "QUEUE": QUEUE,
            "PAGE_PORT": "0",
            **settings,
        }
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [*BOUND_TO_US, sys.executable, "-m", "dispatcher.cli", "page"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        until(lambda: self._address() or self.process.poll() is not None, "the page's address")
        self.url = self._address()
        assert self.url, self.lines()

    def _address(self) -> str:
        found = re.search(r"The page is at (http://\S+?)/[,;.]", self.log.read_text())
        return found[1] if found else ""

    def lines(self) -> str:
        """What it has logged."""
        return self.log.read_text()

    def ready(self) -> None:
        """Wait until it has read the board."""
        until(lambda: self.get("/api/v1/freshness").json()["ready"], "the board is read", LIMIT)

    def get(self, path: str, **more: object) -> requests.Response:
        """Ask for something, following nothing."""
        return requests.get(
            self.url + path,
            timeout=LIMIT,
            allow_redirects=False,
            **more,  # type: ignore[arg-type]
        )

    def act(self, path: str, token: str = TOKEN, **more: object) -> requests.Response:
        """Act through the API."""
        headers = {"Authorization": f"Bearer {token}"}
        return requests.post(
            f"{self.url}/api/v1{path}",
            headers=headers,
            timeout=LIMIT,
            **more,  # type: ignore[arg-type]
        )

    def stop(self) -> int:
        """Tell it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)
