"""All task folders of one machine: found, read, locked against other programs, mended.

Goes in: the folder that holds them (`Staging_Download`). Comes out: `Held`, a task's folder with
what its records say. Nothing is known beyond the files, so a restarted dispatcher and the command
line see the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from contract import names
from contract.log import Log
from contract.task import Task
from dispatcher.executors import Busy, Holding, Refused, Volume
from dispatcher.executors.local import files
from dispatcher.executors.local.folder import PREFIX, TaskFolder, VolumeRecord
from dispatcher.executors.local.run import RunRecord

_LOCK_FILE = ".lock"
_NEW = ".new-"
_DELETING = ".deleting-"
_WATCHED = (names.RECORD_FILE, names.RUN_FILE, names.RELEASED_FILE)

Signature = tuple[tuple[int, int, int], ...]
"""Inode, size and time of each file that a holding is read from; it changes when they do."""


@dataclass(frozen=True, slots=True)
class Held:
    """A task's folder, the volume's record and the run's, and what policy sees of them."""

    folder: TaskFolder
    record: VolumeRecord
    run: RunRecord | None
    holding: Holding


def holding_of(record: VolumeRecord, run: RunRecord | None, *, released: bool) -> Holding:
    """Return what policy sees of a volume's record and its run's."""
    marks = dict(record.marks)
    if released:
        marks.setdefault(names.RELEASED, "true")
    volume = Volume(
        record.id, record.created, MappingProxyType(marks), version=_version(record.marks)
    )
    return Holding(names.object_name(record.task), volume, run.seen() if run else None)


def _version(marks: Mapping[str, str]) -> str:
    """The same for the same marks: a pin that came and went is no change."""
    return hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """Reads and writes the folders. Writes need `exclusive()`; reads do not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._told: set[str] = set()
        self.troubles: dict[str, str] = {}
        """Why a folder of ours cannot be used, by the folder's name."""

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other thread and program from writing; may be entered again inside."""
        if self._owner == threading.get_ident():
            yield
            return
        with self._mutex, files.refusals(self.root / _LOCK_FILE), self._locked():
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / _LOCK_FILE).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def prepare(self) -> None:
        """Make the folder and finish what a crash left half made or half removed."""
        with files.refusals(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with self.exclusive():
            for path in self.root.glob(_NEW + "*"):
                files.remove_tree(path)
        for path in self.root.glob(_DELETING + "*"):
            self.discard(path)

    def folder(self, task_key: str) -> TaskFolder:
        """Return the folder of a task, whether it is there or not."""
        return TaskFolder(self.root / names.folder_name(task_key))

    def folders(self) -> list[str]:
        """Return the names of all folders that may be tasks'."""
        with files.refusals(self.root), os.scandir(self.root) as entries:
            return [e.name for e in entries if e.name.startswith(PREFIX) and e.is_dir()]

    def signature(self, name: str) -> Signature:
        """Return what changes when a folder's records do; cheap, for it is asked all the time."""
        state = f"{self.root}/{name}/{names.STATE_DIR}/"
        return tuple([_signature(state + file) for file in _WATCHED])

    def load(self, name: str) -> Held | None:
        """Read a folder; None when it is no task's, or beyond repair (see `troubles`)."""
        folder = TaskFolder(self.root / name)
        try:
            with files.refusals(folder.root):
                record, run = VolumeRecord.load(folder), RunRecord.load(folder)
        except files.Broken:
            record, run = self._mend(folder)
        if record is None:
            self._foreign(folder)
            return None
        self.troubles.pop(name, None)
        if names.folder_name(record.task) != name:
            self._tell(name, "holds a copy of task %s; it is left alone.", record.task)
            return None
        holding = holding_of(record, run, released=folder.released.exists())
        return Held(folder, record, run, holding)

    def _foreign(self, folder: TaskFolder) -> None:
        if not folder.root.is_dir():
            self.troubles.pop(folder.root.name, None)
        elif folder.root.name not in self.troubles:
            self._tell(folder.root.name, "has no record of ours; it is left alone.")

    def _tell(self, name: str, what: str, *args: object) -> None:
        """Warn about a folder once."""
        if name not in self._told:
            self._told.add(name)
            Log.for_task().warning(f"Folder %s {what}", self.root / name, *args)

    def _mend(self, folder: TaskFolder) -> tuple[VolumeRecord | None, RunRecord | None]:
        """Put broken records aside and rebuild what can be; what cannot is a trouble."""
        with self.exclusive():
            run = self._sound_run(folder)
            try:
                return VolumeRecord.load(folder), run
            except files.Broken as exc:
                return self._rebuild(folder, run, exc), run

    def _sound_run(self, folder: TaskFolder) -> RunRecord | None:
        """Without its record a run that lives is still known by its lock, and waited for."""
        try:
            return RunRecord.load(folder)
        except files.Broken as exc:
            bad = files.set_aside(folder.run)
            Log.for_task().error("%s; it is kept as %s, the run is forgotten.", exc, bad.name)
            return None

    def _rebuild(
        self, folder: TaskFolder, run: RunRecord | None, why: files.Broken
    ) -> VolumeRecord | None:
        try:
            record = VolumeRecord.rebuild(folder, run.attempt if run else 1)
        except files.Broken:
            record = None
        if record is None:
            self.troubles[folder.root.name] = f"{why}, and {folder.identity} does not help"
            return None
        bad = files.set_aside(folder.record)
        record.save(folder)
        Log.for_task().error(
            "%s; it is kept as %s and rebuilt: retry times and pins are lost.", why, bad.name
        )
        return record

    def create(self, task: Task) -> bool:
        """Make a task's folder and record in one step; false when they are there."""
        folder = self.folder(task.key)
        with self.exclusive():
            if folder.root.exists():
                self.check(self.load(folder.root.name), task)
                return False
            marks = {names.MESSAGE: task.dump(), names.ATTEMPT: "1"}
            self._build(folder, VolumeRecord(str(uuid.uuid4()), time.time(), task.key, marks))
            return True

    def check(self, held: Held | None, task: Task) -> None:
        """Raise `Refused` unless what is held in the task's folder is the task's."""
        root = self.folder(task.key).root
        if held is None:
            raise Refused(
                f"Folder {root} is in the way of task {task.key}: it has no usable record.",
                advice="Move it away, or mend its .state folder.",
            )
        if not held.record.belongs_to(task):
            raise Refused(
                f"Folder {root} belongs to another task than {task.key}.",
                advice="Give the order another taskId, or remove the other task.",
            )

    def _build(self, folder: TaskFolder, record: VolumeRecord) -> None:
        scratch = TaskFolder(self.root / f"{_NEW}{uuid.uuid4()}")
        scratch.state.mkdir(parents=True)
        record.save_identity(scratch)
        record.save(scratch)
        scratch.root.rename(folder.root)
        files.sync(self.root)

    def mark(self, held: Held, marks: Mapping[str, str | None]) -> None:
        """Merge marks into the record, as it is on the disk now."""
        merged = {**held.record.marks, **marks}
        kept = {name: text for name, text in merged.items() if text is not None}
        if marks.get(names.RELEASED, "") is None:
            held.folder.released.unlink(missing_ok=True)
        if kept != held.record.marks:
            replace(held.record, marks=kept).save(held.folder)

    def doom(self, held: Held) -> Path:
        """Make a task's folder no task's any more; the rest is `discard`. Raise `Busy`."""
        doomed = self.root / f"{_DELETING}{uuid.uuid4()}"
        with self.exclusive():
            if (held.run is not None and held.run.ended is None) or held.folder.in_use():
                raise Busy(
                    f"A run still works in {held.folder.root}.",
                    advice="Wait for its end, or stop it first.",
                )
            held.folder.root.rename(doomed)
            files.sync(self.root)
        return doomed

    def discard(self, doomed: Path) -> None:
        """Remove what `doom` returned; what resists is tried again at the start."""
        try:
            files.remove_tree(doomed)
            self.troubles.pop(doomed.name, None)
        except OSError as exc:
            self.troubles[doomed.name] = f"{doomed} cannot be removed: {exc.strerror or exc}"
            Log.for_task().error("Folder %s cannot be removed: %s.", doomed, exc)


def _signature(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - twenty thousand times a look at many tasks
    except OSError:  # `load` says what is wrong with it
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
