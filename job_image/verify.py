"""Compares the remote with the volume: `rclone check`.

In: a course folder. Out: by what it was compared, "hash" or "size". A remote without a hash that
rclone knows (plain WebDAV, FTP) can be compared by size alone; that is said, never passed off as
more. What differs is a passing failure: the upload is repeated and moves only that.
"""

from __future__ import annotations

import re
from pathlib import Path

from contract.errors import Temporary
from job_image import rclone
from job_image.context import Context
from job_image.rclone import STALL_LIMIT, Record
from job_image.rclone_failure import failure, shown

HASH = "hash"
SIZE = "size"

_UNCHECKED = re.compile(r"(\d+) hashes could not be checked")
_NAMED = 5
"""Differing files that the message names."""


def verify(context: Context, folder: str, *, stall: float = STALL_LIMIT) -> str:
    """Compare `folder` with the remote; return "hash" or "size".

    Raise `Temporary` naming the files that differ or are missing; otherwise as `upload` does.
    """
    settings = context.settings.upload
    log = context.log.bind(phase="verify")
    context.progress.begin("verify")
    source = str(context.sandbox.root / folder)
    unchecked = _Unchecked()
    with rclone.prepared(settings) as tool:
        report = tool.scratch / "report"
        target = rclone.destination(settings, folder)
        arguments = ["check", source, target, "--one-way", "--combined", str(report)]
        arguments += ["--checkers", "8", *rclone.EXCLUDES]
        ended = tool.run(arguments, context.stop, unchecked.hear, stall=stall)
        same, different = read_report(report)
    if different:
        raise Temporary(f"The remote {shown(settings.remote)} differs in {_some(different)}.")
    if ended.code != 0:
        raise failure(ended, f"Comparing {folder}", shown(settings.remote), context.redact)
    if unchecked.count:
        log.event(
            "CHECK",
            "%d files compared by size only: the remote has no hash for %d of them.",
            len(same),
            unchecked.count,
        )
        return SIZE
    log.event("CHECK", "%d files compared by hash; all are equal.", len(same))
    return HASH


class _Unchecked:
    """Looks for the one line that tells a comparison by size from one by hash."""

    def __init__(self) -> None:
        self.count = 0

    def hear(self, record: Record) -> None:
        match = _UNCHECKED.search(record.text)
        if match:
            self.count = int(match[1])


def read_report(path: Path) -> tuple[list[str], list[str]]:
    """Return the equal and the different files of a combined report; both empty without one.

    Each line is a sign and a path: `=` equal, `+` missing on the remote, `*` different. `!` could
    not be compared: that is rclone's failure and told by its last error.
    """
    files: dict[str, list[str]] = {"=": [], "+": [], "*": [], "!": []}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            sign, _, name = line.partition(" ")
            files.setdefault(sign, []).append(name)
    return files["="], files["+"] + files["*"]


def _some(names: list[str]) -> str:
    named = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return named if more <= 0 else f"{named} and {more} more"
