"""What the runs of a task printed: one file per run, the last few kept, read and followed.

Files are named `<number>-attempt-<n>.log`; the number only grows, so the newest is the last.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

KEPT = 5
"""Runs whose output is kept: the first failure and its retries, at a few MB each."""


def next_file(folder: Path, attempt: int, *, closing: bool) -> Path:
    """Make room for another run's output and return its file, not yet made."""
    folder.mkdir(exist_ok=True)
    files = _files(folder)
    for old in files[: -(KEPT - 1)]:
        old.unlink(missing_ok=True)
    number = int(files[-1].name.partition("-")[0]) + 1 if files else 1
    return folder / f"{number:06}-attempt-{attempt}{'-report' if closing else ''}.log"


def newest(folder: Path) -> Path | None:
    """Return the file of the newest run that printed anything, if there is one."""
    files = _files(folder)
    return files[-1] if files else None


def lines(path: Path, more: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines of `path`; at its end ask `more`, which waits, whether to look again."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        rest = b""
        going = True
        while going:
            going = more()  # asked before reading: what was printed before the end is read
            rest = yield from _whole(file, rest)
        if rest:
            yield _text(rest)


def _whole(file: BinaryIO, rest: bytes) -> Generator[str, None, bytes]:
    """Yield the complete lines; return what is left of an incomplete one."""
    for piece in file:
        rest += piece
        if rest.endswith(b"\n"):
            yield _text(rest)
            rest = b""
    return rest


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "replace")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.name.partition("-")[0].isdigit())
