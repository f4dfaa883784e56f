"""What earlier runs have left on the volume, set against the plan.

Goes in: the plan and the manifest. Comes out: the keys of the files that are complete. A file is
complete when the manifest has it, it is there with that very size, and no part of it is left. (The
record is written just before the part is renamed, so a kill between the two costs nothing and a
kill before leaves the part to be renamed.) Files of lectures that moved
or were renamed are moved along; what the course does not have any more stays where it is, for
nothing that was fetched is deleted before the order is done.
"""

from __future__ import annotations

import stat
from collections import Counter
from pathlib import Path

from job_image.sandbox import Sandbox, refusals
from job_image.sources.manifest import Manifest, Record
from job_image.sources.plan import File, Plan

PARTS_DIR = "parts"


def parts_folder(sandbox: Sandbox) -> Path:
    """Return the folder of unfinished files."""
    return sandbox.state / PARTS_DIR


def reconcile(sandbox: Sandbox, plan: Plan, manifest: Manifest) -> set[str]:
    """Return the keys of the complete files; write the manifest; clear away what nobody needs."""
    with refusals(parts_folder(sandbox)):
        parts_folder(sandbox).mkdir(parents=True, exist_ok=True)
    manifest.load()
    manifest.records = _trusted(plan, manifest.records)
    _set_aside(sandbox, plan, manifest)
    for file in plan.files:
        if (parts_folder(sandbox) / f"{file.key}.part").exists():
            manifest.records.pop(file.key, None)
    for file in plan.files:
        _settle(sandbox, file, manifest)
    manifest.write(plan)
    _clear(parts_folder(sandbox), {file.key for file in plan.files})
    return set(manifest.records)


def _trusted(plan: Plan, records: dict[str, Record]) -> dict[str, Record]:
    """Return the records of the plan's files, but none of two that claim one path."""
    mine = {file.key: records[file.key] for file in plan.files if file.key in records}
    claims = Counter(record.path for record in mine.values())
    return {key: record for key, record in mine.items() if claims[record.path] == 1}


def _set_aside(sandbox: Sandbox, plan: Plan, manifest: Manifest) -> None:
    """Move what has to move out of the way first: two lectures may have swapped their places."""
    for file in plan.files:
        record = manifest.records.get(file.key)
        if record and record.path != file.path and _has(sandbox.root / record.path, record.size):
            with refusals(sandbox.root / file.path):
                (sandbox.root / record.path).replace(_aside(sandbox, file))


def _settle(sandbox: Sandbox, file: File, manifest: Manifest) -> None:
    """Put a file that was set aside in its new place; forget a record whose file is not there."""
    record, target = manifest.records.get(file.key), sandbox.root / file.path
    if record and record.path != file.path and _has(_aside(sandbox, file), record.size):
        with refusals(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _aside(sandbox, file).replace(target)
        manifest.finished(Record(file.key, file.path, record.size, record.etag))
    elif record and not (record.path == file.path and _has(target, record.size)):
        del manifest.records[file.key]


def _aside(sandbox: Sandbox, file: File) -> Path:
    return parts_folder(sandbox) / f"{file.key}.moved"


def _has(path: Path, size: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def _clear(folder: Path, keys: set[str]) -> None:
    """Remove unfinished files that belong to nothing in the plan."""
    with refusals(folder):
        for path in folder.iterdir():
            if path.name.rpartition(".")[0] not in keys or path.suffix == ".moved":
                path.unlink()
