"""Several dispatchers as real processes, each started again whenever it has died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from contract import fault
from tests.services import BOUND_TO_US

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
"""Seconds that a dispatcher may take to end when it is told to."""


class Dispatchers:
    """`count` processes of `python -m dispatcher` in `folder`, on one queue."""

    def __init__(self, count: int, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._ids = [f"d{n}" for n in range(1, count + 1)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._away: set[int] = set()
        self._paused: set[int] = set()

    @property
    def log(self) -> Path:
        """Where all of them say what they do."""
        return self._folder / "dispatchers.log"

    def start(self, number: int, point: str = "") -> None:
        """Start one, unless it runs; with a point it will die there."""
        self._away.discard(number)
        if self.alive(number):
            return
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "DISPATCHER_ID": self._ids[number],
            "HEALTH_PORT": "0",
            **self._settings,
            **({fault.POINT: point} if point else {}),
        }
        with self.log.open("ab") as log:
            self._running[number] = subprocess.Popen(
                [*BOUND_TO_US, sys.executable, "-m", "dispatcher"],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_all(self) -> None:
        """Start whoever does not run and is not meant to be away."""
        for number in range(len(self._ids)):
            if number not in self._away:
                self.start(number)

    def alive(self, number: int) -> bool:
        """Whether it runs, be it paused."""
        process = self._running.get(number)
        return process is not None and process.poll() is None

    def end(self, number: int, how: signal.Signals) -> None:
        """Kill one, or tell it to stop; it stays away until it is started again."""
        self._away.add(number)
        self.wake(number)
        process = self._running.get(number)
        if process is not None:
            process.send_signal(how)
            if how is signal.SIGKILL:  # else it may wait for what is paused or frozen just now
                process.wait(LIMIT)

    def rename(self, number: int) -> None:
        """Give one another name, as a new pod has: others must adopt what it had claimed."""
        self._ids[number] += "x"

    def pause(self, number: int) -> bool:
        """Stop its clock; false when it is away, or paused already."""
        if not self.alive(number) or number in self._away | self._paused:
            return False
        self._running[number].send_signal(signal.SIGSTOP)
        self._paused.add(number)
        return True

    def wake(self, number: int) -> None:
        """Let it go on."""
        if number in self._paused:
            self._paused.discard(number)
            self._running[number].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End all of them."""
        for number in self._running:
            self.wake(number)
        for process in self._running.values():
            process.terminate()  # nothing happens to one that has ended
        for process in self._running.values():
            process.wait(LIMIT)
