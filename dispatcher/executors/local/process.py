"""Processes as the kernel knows them: told apart for ever, found again, signalled, reaped.

A number alone is no process: numbers are used again. A process is its number, the tick at which
it started and the boot it belongs to, so one that was written down is found again after any
restart and a stranger is never taken for it. Linux only (/proc, pidfd).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_STATE, _STARTED, _MEMORY = 0, 19, 20
"""Places of a process's state, start and memory in /proc/<pid>/stat behind the name (in proc(5)
these are 3, 22 and 23)."""
_TICKS = os.sysconf("SC_CLK_TCK")
_DEAD = ("Z", "X")
_SWEEP = 3.0
"""Seconds at most for killing what carries a variable."""
_BIRTH = 0.5
"""Seconds within which a process surely has its environment, also on a busy machine."""
_DYING = 1.0
"""Seconds that a killed process may take to be gone; more only in an endless wait for a disk."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `started` in clock ticks since the boot whose id is `boot`."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this number now; None without one."""
        fields = _stat(pid)
        return cls(pid, int(fields[_STARTED]), boot_id()) if fields else None

    def alive(self) -> bool:
        """Whether it still runs; one that only waits to be reaped does not."""
        fields = _stat(self.pid)
        return self._is(fields) and fields[_STATE] not in _DEAD

    def exists(self) -> bool:
        """Whether its number is still its own: it runs, or waits to be reaped."""
        return self._is(_stat(self.pid))

    def _is(self, fields: list[str]) -> bool:
        return bool(fields) and int(fields[_STARTED]) == self.started and self.boot == boot_id()

    def open(self) -> int | None:
        """Return a pidfd, readable once the process ended; None when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.exists():  # asked after opening: now the number cannot change hands
            return descriptor
        os.close(descriptor)
        return None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process's group, which it leads."""
        if self.exists():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def exit_code(self) -> int | None:
        """Return how it ended if it is an unreaped child of ours: 0 to 255, or -signal."""
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def reap(self) -> None:
        """Let the kernel forget a child of ours that ended."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)


def own() -> Process:
    """Return this very process."""
    process = Process.of(os.getpid())
    if process is None:
        raise OSError(errno.ENOENT, "the running process is not in it", str(_PROC))
    return process


@cache
def boot_id() -> str:
    """Return the id of the running kernel's boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def carrying(variable: str) -> Iterator[int]:
    """Yield the numbers of the processes with `NAME=value` in the environment they began with."""
    return (pid for pid in _numbers() if _carries(pid, variable))


def kill_carrying(variable: str) -> None:
    """Kill all those processes, and those they start meanwhile, and see them gone."""
    deadline = time.monotonic() + _SWEEP
    while time.monotonic() < deadline:
        unborn = any(map(_being_born, _numbers()))  # asked first: then none is born unseen between
        found = list(carrying(variable))
        for pid in found:
            with suppress(ProcessLookupError):
                _kill(pid, variable)
        if not found and not unborn:
            return
        time.sleep(_BIRTH / 50 if unborn else 0)


def _kill(pid: int, variable: str) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        if _carries(pid, variable):  # asked after opening: now the number cannot change hands
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            select.select([descriptor], [], [], _DYING)
    finally:
        os.close(descriptor)


def _numbers() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _carries(pid: int, variable: str) -> bool:
    return variable.encode() in (_environment(pid) or b"").split(b"\0")


def _environment(pid: int) -> bytes | None:
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone meanwhile, or another user's
        return None


def _being_born(pid: int) -> bool:
    """Whether it may be in the middle of exec, when a process has memory but no environment yet."""
    fields = _stat(pid)
    if not fields or int(fields[_MEMORY]) == 0 or _environment(pid) != b"":
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_STARTED]) / _TICKS
    return age < _BIRTH


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat behind the name, which may hold anything."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
