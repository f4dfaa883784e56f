"""What a person sees while the demo runs: bars on a terminal, plain lines elsewhere.

In: sentences and how far each task is. Out: text. The one door to rich.
"""

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

STEP = 20
"""Percent between two plain lines of one phase."""


class Screen(Protocol):
    """Where the demo speaks. Threads may speak at the same time."""

    def say(self, sentence: str) -> None:
        """Tell what happens."""

    def progress(self, title: str, stand: str, percent: float) -> None:
        """Show how far one task is; `stand` says what it is doing."""

    def show(self, text: str) -> None:
        """Print a text as it is."""

    def close(self) -> None:
        """End all that moves; what was said stays."""


def open_screen() -> Screen:
    """Return what fits where standard output goes."""
    return Bars(Console()) if sys.stdout.isatty() else Lines()


class Lines:
    """One line whenever something has changed."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown: dict[str, tuple[str, int]] = {}

    def say(self, sentence: str) -> None:
        """Print the sentence behind the seconds since the beginning."""
        print(f"[{time.monotonic() - self._began:5.1f} s] {sentence}", flush=True)

    def progress(self, title: str, stand: str, percent: float) -> None:
        """Print a line when the task does something else, or has done another fifth."""
        now = (stand, int(percent) // STEP)
        if self._shown.get(title) != now:
            self._shown[title] = now
            self.say(f"{title}: {stand}, {percent:.0f} %")

    def show(self, text: str) -> None:
        """Print the text."""
        print(text, flush=True)

    def close(self) -> None:
        """Nothing moves."""


class Bars:
    """A bar per task, below what is said."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[stand]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._known: dict[str, TaskID] = {}
        self._bars.start()

    def say(self, sentence: str) -> None:
        """Print the sentence above the bars."""
        self._bars.console.print(sentence, markup=False, highlight=False)

    show = say

    def progress(self, title: str, stand: str, percent: float) -> None:
        """Move the bar."""
        if title not in self._known:
            self._known[title] = self._bars.add_task(title, total=100, stand=stand)
        self._bars.update(self._known[title], completed=percent, stand=stand)

    def close(self) -> None:
        """Let the bars stand."""
        self._bars.stop()
