"""Uploads the course folder with `rclone copy`.

In: a folder of the sandbox. Out: the same folder on the remote. `copy` and not `sync` or `move`: it
deletes nothing on either side, and repeating it moves only what is missing. rclone's own output is
read and told anew; it never goes through raw, because it holds addresses and tokens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contract.errors import Misconfigured
from job_image import rclone
from job_image.context import Context
from job_image.rclone import STALL_LIMIT, Record
from job_image.rclone_failure import failure, shown, words

FLAGS = (
    *("--transfers", "4", "--checkers", "8", "--check-first"),
    *("--retries", "1", "--low-level-retries", "10"),
    *("--drive-stop-on-upload-limit", "--drive-chunk-size", "32M"),
)
"""4 transfers of 32 MiB chunks hold 128 MiB in memory. `--check-first` makes totals true from the
first byte on. Whole passes are repeated by the pipeline, which can be told to stop meanwhile, and
not by rclone as well. The limit flag turns a full Drive into an end instead of hours of retries."""

INTERVAL = 10.0
"""Seconds between two lines about progress; earlier when 5 % were done."""

STEP = 5.0
"""Percent after which a line about progress is written."""

_TOLD = 10
"""Messages of rclone itself that are told; a broken remote says the same for every file."""


def upload(context: Context, folder: str, *, stall: float = STALL_LIMIT) -> None:
    """Upload `folder`, a course folder's name below the sandbox's root.

    Raise `Misconfigured` when somebody has to act (remote, token, quota), `Temporary` when trying
    again may help, `Stopped` when told to stop; in each case what is uploaded stays uploaded.
    """
    settings = context.settings.upload
    source = context.sandbox.root / folder
    target = rclone.destination(settings, folder)
    if not source.is_dir():
        raise Misconfigured(
            f"The course folder {folder} is not on the volume.",
            advice="Order the course again with force.",
        )
    reporter = Reporter(context, size(source))
    with rclone.prepared(settings) as tool:
        arguments = ["copy", str(source), target, *FLAGS, *rclone.EXCLUDES]
        ended = tool.run(arguments, context.stop, reporter.hear, stall=stall)
    if ended.code not in (0, 9):  # 9: nothing was left to do, said only on request
        raise failure(ended, f"Uploading {folder}", shown(settings.remote), context.redact)
    reporter.finish()


class Reporter:
    """Turns rclone's records into progress and a line now and then."""

    def __init__(self, context: Context, total: int) -> None:
        self._context = context
        self._log = context.log.bind(phase="upload")
        self._total = total
        self._there: int | None = None
        self._done = 0
        self._moved = 0
        self._told = 0
        self._next_line = time.monotonic() + INTERVAL
        self._next_percent = STEP
        context.progress.begin("upload", total_bytes=total)

    def hear(self, record: Record) -> None:
        """Take one record in."""
        if record.stats:
            self._count(record.stats)
        elif record.level not in ("info", "plain"):
            self._tell(record)

    def finish(self) -> None:
        """Count everything as done: rclone says so."""
        self._reach(self._total)
        self._context.progress.moved("uploaded", self._moved)
        self._log.event("UPLOAD", "All of %s is uploaded.", _size(self._total))

    def _count(self, stats: Mapping[str, Any]) -> None:
        """Count bytes. rclone counts what it repeats twice, and leaves out what was there."""
        moved, planned = int(stats.get("bytes") or 0), int(stats.get("totalBytes") or 0)
        self._moved = max(self._moved, moved)
        if self._there is None and moved:
            self._there = max(0, self._total - planned)
        self._reach(min(self._total, (self._there or 0) + moved))
        percent = 100 * self._done / self._total if self._total else 100.0
        if time.monotonic() >= self._next_line or percent >= self._next_percent:
            self._next_line = time.monotonic() + INTERVAL
            self._next_percent = percent - percent % STEP + STEP
            self._line(percent, stats)

    def _line(self, percent: float, stats: Mapping[str, Any]) -> None:
        self._log.event(
            "UPLOAD",
            "%d %%: %s of %s, %s/s, %d of %d files.",
            percent,
            _size(self._done),
            _size(self._total),
            _size(float(stats.get("speed") or 0)),
            int(stats.get("transfers") or 0),
            int(stats.get("totalTransfers") or 0),
        )

    def _reach(self, done: int) -> None:
        if done > self._done:
            self._context.progress.advance(bytes_=done - self._done)
            self._done = done

    def _tell(self, record: Record) -> None:
        self._told += 1
        if self._told <= _TOLD:
            where = f"{record.name}: " if record.name else ""
            self._log.event("RCLONE", "%s%s", where, words(record.text, self._context.redact))
        elif self._told == _TOLD + 1:
            self._log.event("RCLONE", "It has more to say; only the last word counts.")


def size(folder: Path) -> int:
    """Return the bytes of what is uploaded from `folder`."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            path = Path(parent, name)
            if not name.endswith(".part") and not path.is_symlink():
                total += path.stat().st_size
    return total


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
