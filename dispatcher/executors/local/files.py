"""Files of the local executor: JSON written durably, broken ones kept, whole trees removed.

Goes in: paths and plain data. Comes out: the same after any crash, for a file is replaced whole or
not at all. The file system's refusals leave here as the executor's own errors.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dispatcher.executors import QuotaExceeded, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_EXHAUSTED = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_BLOCK = 512
"""Bytes of a block in `st_blocks` (stat(2)), whatever the file system's own block size."""


class Broken(ValueError):
    """A file of ours that does not hold what we write into it."""


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Translate `OSError`: a full disk or table is `QuotaExceeded`, all else `Unavailable`."""
    try:
        yield
    except OSError as exc:
        path, why = exc.filename or path, exc.strerror or str(exc)
        if exc.errno in _FULL:
            raise QuotaExceeded(
                f"There is no room for {path}: {why}.", advice="Make room on that disk."
            ) from exc
        if exc.errno in _EXHAUSTED:
            raise QuotaExceeded(f"The system has nothing left for {path}: {why}.") from exc
        raise Unavailable(f"{path} cannot be used: {why}.", advice="Look at its disk.") from exc


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in `path`, None without such a file. Raise `Broken`."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise Broken(f"{path} holds no JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise Broken(f"{path} holds a JSON {type(data).__name__}, not an object")
    return data


def write_json(path: Path, data: object) -> None:
    """Replace `path` by `data` so that no crash, not even of the power, leaves half of it."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(data, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a broken file to `<name>.bad` (or `.bad2`, …), overwriting nothing."""
    number = 1
    while (bad := path.with_name(f"{path.name}.bad{number if number > 1 else ''}")).exists():
        number += 1
    path.rename(bad)
    sync(path.parent)
    return bad


def remove_tree(folder: Path) -> None:
    """Remove `folder` and all below it, also what its owner made unwritable. Raise `OSError`.

    Another program may be removing the same folder.
    """
    opened = False
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # the other program was faster
            continue
        except PermissionError:
            if opened:
                raise
            opened = True
            _open_up(folder)


def _open_up(folder: Path) -> None:
    """Give ourselves every right to the folders in `folder`, from the top down."""
    folder.chmod(stat.S_IRWXU)
    for base, inner, _ in os.walk(folder):
        for path in (Path(base, name) for name in inner):
            if not path.is_symlink():
                path.chmod(stat.S_IRWXU)


def used_bytes(folder: Path) -> int:
    """Return the bytes that the files below `folder` take on the disk; 0 when it is gone."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(base, name).lstat().st_blocks * _BLOCK
            except FileNotFoundError:  # a run is at work there
                continue
    return total
