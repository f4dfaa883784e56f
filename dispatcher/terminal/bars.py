"""Live bars on a terminal. The one door to rich, which is an extra: import it when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dispatcher.terminal import words
from dispatcher.terminal.lookout import Sight
from dispatcher.terminal.moving import Moving

HEAD = ("TASK", "PHASE", "", "DONE", "BYTES", "SPEED", "LEFT", "")


class Bars:
    """Implements `Screen`: a bar per task, drawn anew at each look; what has ended stays above."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._live.start()

    def show(self, sight: Sight) -> None:
        """Draw what is under way."""
        self.draw([words.slots(sight)], sight, [])

    def draw(self, above: Sequence[str], sight: Sight, below: Sequence[Sequence[str]]) -> None:
        """Draw lines, the bars, and a table whose first row is its head."""
        parts: list[RenderableType] = [_plain(line) for line in above]
        room = max(1, self._console.height - len(parts) - 3)
        shown = sight.moving[:room]
        if shown:
            parts.append(_bars(shown, sight.at))
        if len(sight.moving) > len(shown):
            parts.append(_plain(f"… and {len(sight.moving) - len(shown)} more"))
        if len(below) > 1:
            parts.append(_table(below[: max(2, room - len(shown))]))
        self._live.update(Group(*parts), refresh=True)

    def end(self, task: Moving, at: float) -> None:
        """Say above the bars that a task is not under way any more."""
        self._console.print(_plain(words.line(task, at)))

    def close(self) -> None:
        """Let the last picture stand, and give the cursor back."""
        self._live.stop()


def _plain(text: str) -> Text:
    """Return a text that came from outside, without what moves the cursor: rich lets that pass."""
    return Text(words.one_line(text), no_wrap=True, overflow="ellipsis")


def _bars(tasks: Sequence[Moving], now: float) -> Table:
    table = Table(*HEAD, box=None, padding=(0, 1), pad_edge=False, expand=False)
    for task in tasks:
        cells = [task.task, task.phase or task.status]
        more = [f"{task.percent:.1f}%", words.amount(task), words.speed(task.speed_at(now))]
        more += [words.lasts(task.left_at(now)), task.says]
        bar = ProgressBar(total=100, completed=task.percent, width=24)
        table.add_row(*map(_plain, cells), bar, *map(_plain, more))
    return table


def _table(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*rows[0], box=None, padding=(0, 1), pad_edge=False)
    for row in rows[1:]:
        table.add_row(*map(_plain, row))
    return table
