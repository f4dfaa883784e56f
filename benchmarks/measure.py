"""One run of a program, and what it cost: time, processor time and memory of all its processes.

Goes in: a command. Comes out: a `Cost`, or why there is none. Processor time is the kernel's own
account of the process and the children it has waited for. Memory is looked at while it runs: what
the kernel tells of a child afterwards counts its parent's memory before the exec, and a group's
account counts the files in memory that it has written.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CORE = "1"
"""The core that clients run on; the server has core 0."""
SAMPLE = 0.01
"""Seconds between two looks at a client's memory."""


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds on the clock, seconds of CPU, MiB at the peak."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Failed:
    """A run that does not count, and why."""

    why: str


def run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, seconds: float
) -> Cost | Failed:
    """Run a program in a folder, on a core of its own and for so many seconds at most."""
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "--cpu-list", CORE, *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        guard = Guard(process.pid, seconds)
        watch = Watch(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # told to stop: leave nothing running behind
            guard.end()
            guard.dismiss()
            raise
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        is_late = guard.dismiss()
    peak = watch.peak()
    if is_late:
        return Failed(f"took longer than {seconds:.0f} s")
    if process.returncode != 0:
        print(log.read_text(errors="replace")[-500:], flush=True)
        return Failed(f"gave up (exit {process.returncode})")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak)


class Guard:
    """Ends a session of processes when its time is over."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._is_late = False
        self._timer = threading.Timer(seconds, self.end)
        self._timer.start()

    def dismiss(self) -> bool:
        """Stand down; whether the time was over before."""
        self._timer.cancel()
        self._timer.join()
        return self._is_late

    def end(self) -> None:
        """End it now."""
        self._is_late = True
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except ProcessLookupError:
            self._is_late = False


class Watch:
    """Looks at the memory of a process and its children while they run."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def peak(self) -> float:
        """Return the MiB at the peak, to a hundredth of a second before the end."""
        self._over.set()
        self._thread.join()
        return self._peak / 1024

    def _look(self) -> None:
        while not self._over.wait(SAMPLE):
            self._peak = max(self._peak, sum(_resident(pid) for pid in _family(self._pid)))


def _family(pid: int) -> list[int]:
    """Return a process and what its main thread has started, and so on."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        text = ""
    return [pid, *(each for child in text.split() for each in _family(int(child)))]


def _resident(pid: int) -> int:
    """Return the KiB that a process had at most; 0 when it is gone, or not yet the client."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) if found and "Name:\ttaskset" not in text else 0
