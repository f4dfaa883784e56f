"""The task's own folder: where things lie in it, durable writes, and the lock of its one writer.

Everything a step leaves behind goes through `write_durably`: either the whole new content is
there after a power cut, or the whole old one.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from contract import names
from contract.errors import Stopped, Temporary, VolumeFull


@dataclass(frozen=True, slots=True)
class Sandbox:
    """`root` is the volume; the course folder lies in it beside `.state/`."""

    root: Path

    @property
    def state(self) -> Path:
        """The folder of the program's own files; never uploaded."""
        return self.root / names.STATE_DIR

    def state_file(self, name: str) -> Path:
        """Path of one of the program's own files."""
        return self.state / name

    def prepare(self) -> None:
        """Make the folders. Raise `VolumeFull` or `Temporary` when the volume refuses."""
        with refusals(self.root):
            self.state.mkdir(parents=True, exist_ok=True)


class refusals:  # noqa: N801 - reads as the sentence it is: with refusals(path)
    """Translate the file system's refusals: no space is `VolumeFull`, all else `Temporary`.

    A class, because a generator costs more than the calls it guards, at every small file.
    """

    __slots__ = ("_path",)

    def __init__(self, path: Path | str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise _refusal(Path(self._path).name, error) from error


def _refusal(name: str, error: OSError) -> VolumeFull | Temporary:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return VolumeFull(
            f"The volume is full: writing {name} failed ({os.strerror(error.errno)}).",
            advice='Order it again with a larger volumeSize and "force": true.',
        )
    return Temporary(f"The volume refused {name}: {error.strerror or error}.")


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content` so that no crash leaves half of it."""
    with refusals(path):
        scratch = path.with_name(path.name + ".new")
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(sandbox: Sandbox, owner: str) -> Iterator[None]:
    """Hold the volume's lock while inside. Raise `Stopped` when another process holds it.

    Kubernetes may start the same pod twice; the lock dies with its process, so it needs no
    clean-up. The second one ends as if told to stop: any failure code would end the Job and with
    it the first one. `owner` is written into the file for whoever looks.
    """
    path = sandbox.state_file(names.LOCK_FILE)
    with refusals(path):
        file = path.open("ab", buffering=0)
    with file:
        _take(file, path)
        with suppress(OSError):  # only a note: on a full volume a run must still be able to end
            file.truncate(0)
            file.write(f"{owner}\n".encode())
        yield


def _take(file: FileIO, path: Path) -> None:
    with refusals(path):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Stopped(
                "Another process is working on this volume; this one leaves it alone.",
                advice="Nothing to do: the other one finishes the task.",
            ) from exc
