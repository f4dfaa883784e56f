"""The processes that descend from this one, all of them.

In: command lines. Out: processes, and the certainty that none is left. As their reaper
(`PR_SET_CHILD_SUBREAPER`) this process inherits every orphan of its descendants, so "nothing is
left running" is a look at its children and no guess. Linux only, as the local executor is.
"""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from playground.demo.folder import DemoError

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_STATE, _PARENT, _STARTED = 0, 1, 19
"""Places in /proc/<pid>/stat behind the name (proc(5): fields 3, 4 and 22)."""


class Family:
    """All processes that are started from here, and what they start. Thread-safe."""

    def __init__(self) -> None:
        """Become the parent of every descendant whose own parent ends."""
        if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
            why = os.strerror(ctypes.get_errno())
            raise DemoError(f"prctl refused: {why}. The demo needs Linux.")
        self._lock = threading.Lock()
        self._started: set[int] = set()

    def spawn(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str], out: IO[str] | int
    ) -> subprocess.Popen[str]:
        """Start a process in a session of its own, out of reach of the terminal's Ctrl-C."""
        with self._lock:  # or `reap` might take its end away from whoever waits for it
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            self._started.add(process.pid)
        return process

    def reap(self) -> None:
        """Let the kernel forget inherited children that ended, as init would."""
        with self._lock:
            for pid in _children(dead=True):
                if pid not in self._started:
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)

    def left(self) -> dict[int, str]:
        """Return number and command line of every child that still runs."""
        return {pid: _command(pid) for pid in _children(dead=False)}

    def end(self) -> None:
        """End every child that still runs, and what that leaves behind, at once."""
        while left := _children(dead=False):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def started_at(pid: int) -> int | None:
    """Return the tick at which a process started, which tells it from a later one of its number."""
    fields = _stat(pid)
    return int(fields[_STARTED]) if fields else None


def _children(*, dead: bool) -> list[int]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if _is_child(_stat(pid), dead)]


def _is_child(fields: list[str], dead: bool) -> bool:
    if not fields or int(fields[_PARENT]) != os.getpid():
        return False
    return (fields[_STATE] in "ZX") == dead


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:  # gone meanwhile
        return []
    return text.rpartition(")")[2].split()


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace").strip()
