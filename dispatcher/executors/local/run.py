"""One run of the job's program as a child process: its record, its start, its end.

The record is written before the process exists, and again with the process in it. What a crash
in between leaves is told by the run's standard input: an empty file with a lock on it that the
process inherits, so the lock is held exactly as long as something of the run lives.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contract.handoff import Assignment
from contract.outcome import Outcome
from dispatcher.executors import Busy, Ending, Phase, Refused, Run
from dispatcher.executors.local.files import Broken, read_json, write_json
from dispatcher.executors.local.folder import TaskFolder
from dispatcher.executors.local.process import Process, boot_id, carrying, kill_carrying, own

RUN_VARIABLE = "COURSE_RUNNER_RUN"
"""Environment variable with the run's id: its processes are found by it, whoever started them."""
_SIGNAL_BASE = 128
"""Exit code of a death by signal n is 128 + n, as shells and Kubernetes have it."""
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
"""Signals whose handling the child does not inherit: Python ignores the first two, and a
dispatcher started in the background of a shell may ignore the others."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run. `process` None: not yet written down; `parent`: who started it."""

    id: str
    attempt: int
    closing: bool
    started: float
    console: str
    parent: Process | None
    process: Process | None = None
    ended: float | None = None
    exit: int | None = None
    reason: str = ""
    deleting: float | None = None
    """Since when it is being removed."""

    @property
    def variable(self) -> str:
        """What every process of the run has in its environment, as NAME=value."""
        return f"{RUN_VARIABLE}={self.id}"

    def seen(self) -> Run:
        """Return the run as policy sees it."""
        return Run(
            self.id,
            self.attempt,
            self._phase(),
            self.closing,
            self.started,
            self.ended,
            self.deleting is not None,
        )

    def _phase(self) -> Phase:
        if self.ended is None:
            return Phase.ACTIVE
        return Phase.SUCCEEDED if self.exit == 0 else Phase.FAILED

    def is_ours(self) -> bool:
        """Whether this very process started it, so that only we learn its exit code."""
        return self.parent == own()

    def is_anothers(self) -> bool:
        """Whether a living other process started it, so that it will write the end down."""
        return self.parent is not None and not self.is_ours() and self.parent.alive()

    def save(self, folder: TaskFolder) -> None:
        """Write the record durably."""
        write_json(folder.run, asdict(self))

    @classmethod
    def load(cls, folder: TaskFolder) -> RunRecord | None:
        """Read the record; None without one. Raise `Broken`."""
        data = read_json(folder.run)
        if data is None:
            return None
        try:
            process, parent = _process(data.pop("process")), _process(data.pop("parent"))
            return cls(process=process, parent=parent, **data)
        except (KeyError, TypeError) as exc:
            raise Broken(f"{folder.run} is no run's record: {exc}") from exc


def _process(data: Any) -> Process | None:
    return None if data is None else Process(**data)


def intention(assignment: Assignment, output: str) -> RunRecord:
    """Return the record of a run that is about to be started by this process."""
    closing = assignment.report is not None
    return RunRecord(str(uuid.uuid4()), assignment.attempt, closing, time.time(), output, own())


@contextmanager
def runner_lock(folder: TaskFolder) -> Iterator[int]:
    """Hold the lock that a new run inherits; yields its descriptor. Raise `Busy`."""
    if folder.in_use():
        raise _busy(folder)
    descriptor = os.open(folder.runner, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError as exc:
        raise _busy(folder) from exc
    finally:
        os.close(descriptor)


def _busy(folder: TaskFolder) -> Busy:
    return Busy(
        f"Another process works in {folder.root}.",
        advice="Wait until it ended; if you started it by hand, end it.",
    )


def spawn(
    program: Sequence[str], environment: Mapping[str, str], console: Path, runner: int
) -> Process:
    """Start `program` in a session of its own. Raise `Refused` or `OSError`.

    The working folder is ours, so relative paths in settings mean the same to both programs.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawnp(
            program[0],
            list(program),
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, runner, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(console), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_RESTORED,
        )
    except (FileNotFoundError, PermissionError, ValueError) as exc:
        raise Refused(
            f"The job's program {program[0]} cannot be started: {exc}.",
            advice="Install it, or mend the way the dispatcher is told about it.",
        ) from exc
    return Process.of(pid) or Process(pid, 0, boot_id())  # gone if SIGCHLD is ignored here


def find_process(run: RunRecord) -> Process | None:
    """Return the run's first process, found by its environment; None while there is none."""
    found = filter(None, map(Process.of, carrying(run.variable)))
    return min(found, key=lambda process: process.started, default=None)


def sweep(run: RunRecord) -> None:
    """Kill what the run's process left behind: like a container's, a run's end is all of it."""
    if run.process is not None and run.is_ours() and run.process.exit_code() is not None:
        run.process.signal_group(signal.SIGKILL)  # unreaped, its number still names the group
    kill_carrying(run.variable)


def end_of(folder: TaskFolder, run: RunRecord, now: float) -> tuple[float, int | None, str]:
    """Return when and how a run ended whose process is gone: time, exit code, reason."""
    code = run.process.exit_code() if run.process is not None and run.is_ours() else None
    words = last_words(folder)
    if code is not None and code < 0:
        quiet = -code == signal.SIGTERM  # dying of the polite signal is being told to stop
        return now, _SIGNAL_BASE - code, "" if quiet else "Killed"
    if code is not None:
        return now, code, ""
    code = words.exit if words is not None else None
    return _last_sign(folder, run, now), code, "" if words is not None else "Killed"


def _last_sign(folder: TaskFolder, run: RunRecord, now: float) -> float:
    """Return the time of the last thing an unwatched run wrote."""
    times = [run.started]
    for path in (folder.termination, folder.consoles / run.console):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return min(max(times), now)


def ending(folder: TaskFolder, run: RunRecord) -> Ending:
    """Return how an ended run ended."""
    return Ending(run.exit, last_words(folder), run.reason)


def last_words(folder: TaskFolder) -> Outcome | None:
    """Return what the newest run left as its last words, if it did."""
    try:
        return Outcome.parse(folder.termination.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
