"""What earlier runs have left on the volume, set against the plan.

Goes in: the plan and the manifest. Comes out: the keys of the files that are complete. A file is
complete when the manifest has it and it is there with that very size. Files of lectures that moved
or were renamed are moved along; what the course does not have any more stays where it is, for
nothing that was fetched is deleted before the order is done.

Two marks outweigh a record, because both are written after it: a part means that the file has not
got its name yet, a file set aside means that it is on its way to another one. So a record may be
written before the rename that makes it true, and a kill between the two costs nothing.
"""

from __future__ import annotations

import shutil
import stat
from collections import Counter
from pathlib import Path

from contract import fault
from job_image.sandbox import Sandbox, refusals
from job_image.sources.manifest import Manifest, Record, digest
from job_image.sources.plan import File, Plan

PARTS_DIR = "parts"


def parts_folder(sandbox: Sandbox) -> Path:
    """Return the folder of unfinished files."""
    return sandbox.state / PARTS_DIR


def reconcile(sandbox: Sandbox, plan: Plan, manifest: Manifest) -> set[str]:
    """Return the keys of the files that are complete, or left out by an earlier run.

    Write the manifest; clear away what nobody needs.
    """
    with refusals(parts_folder(sandbox)):
        parts_folder(sandbox).mkdir(parents=True, exist_ok=True)
    manifest.load()
    look = _Look(sandbox, manifest)
    look.trust(plan)
    look.set_aside(plan)
    fault.point("fetch:aside")
    for file in plan.files:
        look.settle(file)
    _forget_changed(plan, manifest)
    manifest.write(plan)
    fault.point("fetch:planned")
    done = set(manifest.records) | set(manifest.left)
    _clear(parts_folder(sandbox), {file.key for file in plan.files} - done)
    return done


def _forget_changed(plan: Plan, manifest: Manifest) -> None:
    """Forget files made here whose text is another one now. (A text with images is made later.)"""
    for file in plan.files:
        record = manifest.records.get(file.key)
        is_made = file.content is not None and not file.images
        if record and is_made and record.etag != digest(file.content or b""):
            del manifest.records[file.key]


class _Look:
    """One look at the volume."""

    def __init__(self, sandbox: Sandbox, manifest: Manifest) -> None:
        self._root = sandbox.root
        self._parts = parts_folder(sandbox)
        self._manifest = manifest

    def trust(self, plan: Plan) -> None:
        """Keep the records of the plan's files that a part does not outweigh.

        Of two records that claim one path none is kept, unless one of the two was set aside.
        """
        known = self._manifest.records
        mine = [known[file.key] for file in plan.files if file.key in known]
        mine = [one for one in mine if not (self._parts / f"{one.key}.part").exists()]
        claims = Counter(one.path for one in mine if not self._is_aside(one))
        self._manifest.records = {
            one.key: one for one in mine if self._is_aside(one) or claims[one.path] == 1
        }

    def set_aside(self, plan: Plan) -> None:
        """Move what has to move out of the way first: two lectures may have swapped places."""
        for file in plan.files:
            record = self._manifest.records.get(file.key)
            if record is None or record.path == file.path or self._is_aside(record):
                continue
            place = self._root / record.path
            if _has(place, record.size):
                with refusals(place):
                    place.replace(self._aside(file.key))

    def settle(self, file: File) -> None:
        """Put a file that is aside into its place; forget a record whose file is not there."""
        record = self._manifest.records.get(file.key)
        if record is None:
            return
        target = self._root / file.path
        if self._is_aside(record):
            self._manifest.finished(Record(file.key, file.path, record.size, record.etag))
            fault.point("fetch:placing")
            with refusals(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                self._aside(file.key).replace(target)
            fault.point("fetch:moved")
        elif record.path != file.path or not _has(target, record.size):
            del self._manifest.records[file.key]

    def _aside(self, key: str) -> Path:
        return self._parts / f"{key}.moved"

    def _is_aside(self, record: Record) -> bool:
        return _has(self._aside(record.key), record.size)


def _has(path: Path, size: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def _clear(folder: Path, unfinished: set[str]) -> None:
    """Remove what belongs to no file that is still to be finished."""
    with refusals(folder):
        for path in folder.iterdir():
            if path.name.rpartition(".")[0] in unfinished and path.suffix != ".moved":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
