"""The demo's folder: what lies where in it, and how it is emptied.

In: a path. Out: paths below it. It is emptied only if it bears the demo's own mark, so a mistyped
path costs nobody a file; the sample media stay, because making them takes longer than the rest.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract import names

MARK = ".course-runner-demo"


class DemoError(Exception):
    """The demo itself cannot go on; the text says what, where and the cure."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of everything that the demo makes. `root` is absolute."""

    root: Path

    @property
    def mark(self) -> Path:
        """What makes the folder the demo's; locked while one runs."""
        return self.root / MARK

    @property
    def media(self) -> Path:
        """What the portal offers."""
        return self.root / "portal-media"

    @property
    def remote(self) -> Path:
        """What the rclone remote `library:` stands for."""
        return self.root / "remote"

    @property
    def courses(self) -> Path:
        """Where the courses arrive."""
        return self.remote / "Courses"

    @property
    def rclone_config(self) -> Path:
        """rclone's configuration."""
        return self.root / "rclone.conf"

    @property
    def rows(self) -> Path:
        """The backend's database."""
        return self.root / "orders.sqlite"

    @property
    def webhooks(self) -> Path:
        """What the receiver got, one delivery a line."""
        return self.root / "webhooks.jsonl"

    @property
    def logs(self) -> Path:
        """Logs of the dispatcher and of each task, and the tasks' manifests."""
        return self.root / "logs"

    @property
    def dispatcher_log(self) -> Path:
        """What `course-runner local` printed."""
        return self.logs / "dispatcher.log"

    @property
    def summary(self) -> Path:
        """The summary, for programs."""
        return self.root / "summary.json"

    @property
    def home(self) -> Path:
        """HOME of all that is started, so that nothing of the user's is read or changed."""
        return self.root / "home"

    @property
    def staging(self) -> Path:
        """Where the tasks' own folders come and go."""
        return self.root / names.STAGING_DIR

    def sandbox(self, key: str) -> Path:
        """The folder of one task."""
        return self.staging / names.folder_name(key)

    def shown(self, path: Path) -> str:
        """How a person at this prompt would name a path."""
        here = Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextmanager
def prepared(folder: Folder) -> Iterator[None]:
    """Empty the folder and hold it. Raise `DemoError` if it is not the demo's, or in use."""
    if folder.root.exists() and any(folder.root.iterdir()) and not folder.mark.is_file():
        raise DemoError(
            f"{folder.root} has files and no {MARK}, so no demo made it. Name another --output."
        )
    folder.root.mkdir(parents=True, exist_ok=True)
    with folder.mark.open("a") as mark:
        _lock(mark.fileno(), folder)
        _empty(folder)
        for each in (folder.courses, folder.logs, folder.home):
            each.mkdir(parents=True)
        yield


def _lock(descriptor: int, folder: Folder) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DemoError(f"Another demo is at work in {folder.root}. Wait for its end.") from error


def _empty(folder: Folder) -> None:
    for each in folder.root.iterdir():
        if each in (folder.mark, folder.media):
            continue
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()
