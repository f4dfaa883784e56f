"""The executor of one machine: a folder per task, a child process per run.

Goes in: tasks, assignments, marks. Comes out: holdings, endings, logs. The files are the truth and
this object only a view of them: killed and restarted it finds every run again, starts none twice,
and two of them on one folder do not harm each other. Runs outlive the dispatcher.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from contract import handoff
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors import Busy, Ending, Holding, Outdated, Refused, Run
from dispatcher.executors.local import console, files
from dispatcher.executors.local import run as runs
from dispatcher.executors.local.run import RunRecord
from dispatcher.executors.local.store import Held, Store
from dispatcher.executors.local.supervisor import Supervisor

PROGRAM = (sys.executable, "-m", "job_image")
GRACE = 15.0
"""Seconds from SIGTERM to SIGKILL: the program needs about 5, rclone's last chunk the rest."""
INTERVAL = 1.0
"""Seconds between two looks at files that other programs may have changed."""
_FOLLOW = 0.2
"""Seconds between two looks at a log that is being followed."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "TZ", "REQUESTS_CA_BUNDLE"),
    *(form for name in _PROXIES for form in (name, name.lower())),
)
_PASSED_ON_PREFIXES = ("RCLONE_", "SSL_CERT")


class LocalExecutor:
    """Implements `Executor` with child processes and folders below `folder`. Thread-safe.

    `environment` is the dispatcher's own; `program` the job's program; `grace` seconds from
    SIGTERM to SIGKILL; `interval` seconds between two looks at what others changed.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        program: Sequence[str] = PROGRAM,
        *,
        grace: float = GRACE,
        interval: float = INTERVAL,
    ) -> None:
        self._store = Store(folder.absolute())
        self._environment = environment
        self._program = tuple(program)
        self._supervisor = Supervisor(self._store, grace, interval)
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to watch; return when `holdings` is complete for the first time."""
        self._store.prepare()
        self._supervisor.start()

    def close(self) -> None:
        """Stop watching and let go of everything; runs go on."""
        self._closed.set()
        self._supervisor.stop()

    def trouble(self) -> str:
        """Return why the view may be stale, or "" when all is well."""
        return "; ".join(filter(None, (self._supervisor.trouble(), *self._store.troubles.values())))

    def holdings(self) -> Mapping[str, Holding]:
        """Return all holdings by name, as last seen; own writes are always in it."""
        return self._supervisor.holdings()

    def wait(self, seconds: float) -> bool:
        """Wait until something changed since the last call, at most `seconds`; true if so."""
        return self._supervisor.wait(seconds)

    def ensure_volume(self, task: Task) -> bool:
        """Make the task's folder and record; false when they are there. See `Executor`."""
        made = self._store.create(task)
        self._supervisor.reload(self._store.folder(task.key).root.name)
        return made

    def start_run(self, assignment: Assignment) -> bool:
        """Start a run in the task's folder; false when it is there already. See `Executor`."""
        task = assignment.task
        root = self._store.folder(task.key).root
        with self._store.exclusive():
            if not root.exists():
                raise Busy(f"Task {task.key} has no volume (any more); it must be made first.")
            held = self._store.load(root.name)
            self._store.check(held, task)
            started = held is not None and not _is_there(held.run, assignment)
            if held is not None and started:
                self._start(held, assignment)
            self._supervisor.reload(root.name)
        return started

    def _start(self, held: Held, assignment: Assignment) -> None:
        """Write the intention, start the process, write down which one it is."""
        folder, closing = held.folder, assignment.report is not None
        with runs.runner_lock(folder) as runner:
            output = console.next_file(folder.consoles, assignment.attempt, closing=closing)
            run = runs.intention(assignment, output.name)
            folder.termination.unlink(missing_ok=True)
            run.save(folder)
            program = self._program + (("report",) if closing else ())
            environment = {**self._for_run(assignment, held), runs.RUN_VARIABLE: run.id}
            try:
                process = runs.spawn(program, environment, output, runner)
            except (Refused, OSError):
                folder.run.unlink()  # nothing runs: the intention must not look like a death
                raise
            replace(run, process=process).save(folder)

    def _for_run(self, assignment: Assignment, held: Held) -> dict[str, str]:
        """Return the environment of a run on this machine."""
        ours = {
            name: value
            for name, value in self._environment.items()
            if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
        }
        return {
            **ours,
            **handoff.job_environment(assignment, self._environment, secrets=True),
            handoff.SANDBOX: str(held.folder.root),
            handoff.RELEASE: handoff.RELEASE_FILE,
            handoff.TERMINATION_LOG: str(held.folder.termination),
            "PYTHONUNBUFFERED": "1",
        }

    def ending(self, name: str, run: Run) -> Ending:
        """Return how an ended run ended, as far as anything still knows."""
        held = self._supervisor.held(name)
        if held is None or held.run is None or held.run.id != run.id:
            return Ending(reason="Deleted")
        with files.refusals(held.folder.termination):
            return runs.ending(held.folder, held.run)

    def mark(self, name: str, marks: Mapping[str, str | None], version: str | None = None) -> None:
        """Merge marks into the volume's record (None removes); gone volumes are ignored."""
        with self._store.exclusive():
            held = self._supervisor.fresh(name)
            if held is not None:
                self._check_unchanged(held, version)
                self._store.mark(held, marks)
                self._supervisor.reload(held.folder.root.name)

    def remove_run(self, name: str, run_id: str) -> None:
        """Begin to remove that very run, ended or not; an active one is sent SIGTERM."""
        with self._store.exclusive():
            held = self._supervisor.fresh(name)
            if held is None or held.run is None or held.run.id != run_id:
                return
            if held.run.ended is not None:
                held.folder.run.unlink()
            elif held.run.deleting is None:
                replace(held.run, deleting=time.time()).save(held.folder)
            self._supervisor.reload(held.folder.root.name)

    def remove_volume(self, name: str, volume_id: str, version: str | None = None) -> None:
        """Remove that very volume, as it was seen, for good; see the Protocol."""
        with self._store.exclusive():
            held = self._supervisor.fresh(name)
            if held is None or held.record.id != volume_id:
                return
            self._check_unchanged(held, version)
            doomed = self._store.doom(held)
            self._supervisor.reload(held.folder.root.name)
        self._store.discard(doomed)  # outside the lock: a large course takes a while

    def _check_unchanged(self, held: Held, version: str | None) -> None:
        volume = held.holding.volume
        if version is not None and volume is not None and volume.version != version:
            self._supervisor.reload(held.folder.root.name)
            message = f"The record in {held.folder.root} has changed since it was looked at."
            raise Outdated(message, retry_after=_FOLLOW)

    def obstacle(self, name: str) -> None:
        """Return None: a process begins at once or not at all."""

    def grow(self, name: str, size: int) -> bool:
        """Return false: a folder is as large as its disk."""
        return False

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of the task's newest run, without line breaks."""
        held = self._supervisor.held(name)
        path = None if held is None else console.newest(held.folder.consoles)
        if path is None:
            return iter(())
        return console.lines(path, lambda: follow and self._goes_on(name, path.name))

    def _goes_on(self, name: str, output: str) -> bool:
        """Wait a moment; return whether the run that prints into `output` is still at it."""
        if self._closed.wait(_FOLLOW):
            return False
        held = self._supervisor.held(name)
        run = None if held is None else held.run
        return run is not None and run.console == output and run.ended is None


def _is_there(run: RunRecord | None, assignment: Assignment) -> bool:
    """Whether the run asked for, or a later one, is there. Raise `Busy` if an earlier one lives.

    A closing run of an attempt is another run than the attempt itself.
    """
    if run is None:
        return False
    wanted = (assignment.attempt, assignment.report is not None)
    there = (run.attempt, run.closing) >= wanted
    if run.ended is None and (run.deleting is not None or not there):
        raise Busy(
            f"Run {run.attempt} of task {assignment.task.key} is still there.",
            advice="Nothing to do: it is tried again when that one has ended.",
        )
    return there
