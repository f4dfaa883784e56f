"""Plain lines, for pipes, logs and terminals that cannot draw: one whenever something happened."""

from __future__ import annotations

from datetime import UTC, datetime

from dispatcher.terminal import words
from dispatcher.terminal.lookout import Sight
from dispatcher.terminal.moving import Moving

STEP = 10
"""Percent between two lines of one phase."""


class Lines:
    """Implements `Screen`."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, ...]] = {}
        self._trouble = ""

    def show(self, sight: Sight) -> None:
        """Print a line for each task that does something else, or has come a tenth further."""
        for task in sight.moving:
            key = (task.status, task.phase, task.attempt, task.says, str(int(task.percent) // STEP))
            if self._shown.get(task.task) != key:
                self._shown[task.task] = key
                _print(sight.at, words.line(task, sight.at))
        if sight.trouble != self._trouble:
            self._trouble = sight.trouble
            _print(sight.at, sight.trouble or "Redis is back.")

    def end(self, task: Moving, at: float) -> None:
        """Print that a task is not under way any more."""
        self._shown.pop(task.task, None)
        _print(at, words.line(task, at))

    def close(self) -> None:
        """Nothing moves."""


def _print(at: float, text: str) -> None:
    moment = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    print(f"[{moment}] {text}", flush=True)
