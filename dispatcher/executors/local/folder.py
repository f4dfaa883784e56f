"""A task's folder and the record of its volume: what is where in it, read and written.

Goes in: paths. Comes out: `VolumeRecord`. The record is kept twice: `record.json` changes with
every mark; `identity.json` is written once, so that a broken record can be rebuilt with the right
id and message.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import names
from contract.errors import BadMessage
from contract.task import Task
from dispatcher.executors.local.files import Broken, read_json, write_json

PREFIX = "Task_"
_IDENTITY_FILE = "identity.json"
_RUNNER_FILE = "runner"
_CONSOLES = "console"


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """`root` is the volume. All other paths are the executor's and the program's own files."""

    root: Path

    @property
    def state(self) -> Path:
        """Folder of everything that is not the course."""
        return self.root / names.STATE_DIR

    @property
    def record(self) -> Path:
        """The volume's record, with its marks."""
        return self.state / names.RECORD_FILE

    @property
    def identity(self) -> Path:
        """What of the record never changes."""
        return self.state / _IDENTITY_FILE

    @property
    def run(self) -> Path:
        """The run's record."""
        return self.state / names.RUN_FILE

    @property
    def runner(self) -> Path:
        """Empty; standard input of a run's processes, locked as long as one of them lives."""
        return self.state / _RUNNER_FILE

    @property
    def lock(self) -> Path:
        """Locked by the program itself while it works."""
        return self.state / names.LOCK_FILE

    @property
    def termination(self) -> Path:
        """The run's last words."""
        return self.state / names.TERMINATION_FILE

    @property
    def released(self) -> Path:
        """Written by the program when it lets go of the volume."""
        return self.state / names.RELEASED_FILE

    @property
    def consoles(self) -> Path:
        """Folder of what the last few runs printed."""
        return self.state / _CONSOLES

    def in_use(self) -> bool:
        """Whether a process of a run, or a program started by hand, holds the volume."""
        return _locked(self.runner) or _locked(self.lock)


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """`id` is unique for ever, `created` in Unix seconds, `task` the task's key."""

    id: str
    created: float
    task: str
    marks: Mapping[str, str]

    def belongs_to(self, task: Task) -> bool:
        """Whether this is the volume of `task`, going by its message where that can be read."""
        message = self.marks.get(names.MESSAGE, "").encode("utf-8", "surrogatepass")
        try:
            return self.task == task.key == Task.parse(message).key
        except BadMessage:
            return self.task == task.key

    def save(self, folder: TaskFolder) -> None:
        """Write the record durably."""
        write_json(folder.record, {**self._fixed(), "marks": dict(self.marks)})

    def save_identity(self, folder: TaskFolder) -> None:
        """Write what never changes, once."""
        write_json(folder.identity, {**self._fixed(), "message": self.marks[names.MESSAGE]})

    def _fixed(self) -> dict[str, Any]:
        return {"id": self.id, "created": self.created, "task": self.task}

    @classmethod
    def load(cls, folder: TaskFolder) -> VolumeRecord | None:
        """Read the record; None without one. Raise `Broken`."""
        data = read_json(folder.record)
        return None if data is None else _record(folder.record, data, data.get("marks"))

    @classmethod
    def rebuild(cls, folder: TaskFolder, attempt: int) -> VolumeRecord | None:
        """Return a record made from the identity; None without one. Raise `Broken`."""
        data = read_json(folder.identity)
        if data is None:
            return None
        marks = {names.MESSAGE: data.get("message"), names.ATTEMPT: str(attempt)}
        return _record(folder.identity, data, marks)


def _record(path: Path, data: Mapping[str, Any], marks: object) -> VolumeRecord:
    try:
        if isinstance(marks, dict) and all(isinstance(text, str) for text in marks.values()):
            return VolumeRecord(
                str(data["id"]), float(data["created"]), str(data["task"]), {**marks}
            )
    except (KeyError, TypeError, ValueError) as exc:
        raise Broken(f"{path} lacks what a record has: {exc!r}") from exc
    raise Broken(f"{path} has no marks")
