"""What of a course is not on the volume, told where people look.

Goes in: the plan's own list and what was found out while fetching. Comes out: one list in the
course's order, `SKIPPED.txt` in the course folder, a log line and the task's progress.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from job_image.context import Context
from job_image.sandbox import Sandbox, refusals, sync_folder, write_durably
from job_image.sources import Skipped
from job_image.sources.plan import File, Plan

SKIPPED_FILE = "SKIPPED.txt"
"""In the course folder: what could not be had, and why. Travels with the course."""

FAILED = "failed"

_PLACE = re.compile(r"(\d+) - [^/]*/(\d+)")


def listed(made: Plan, left: Mapping[File, str], failed: Mapping[File, str]) -> tuple[Skipped, ...]:
    """Return all that is missing, in the course's order, each thing once."""
    found = [
        *made.skipped,
        *(Skipped(file.title, reason) for file, reason in left.items()),
        *(Skipped(_inside(file), f"{FAILED}: {reason}") for file, reason in failed.items()),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (_place(one.title), one.title)))


def counted(skipped: Iterable[Skipped]) -> str:
    """Return how often each reason occurs, such as `drm 2, kind: practice 1`."""
    count = Counter(_sort(one.reason) for one in skipped)
    return ", ".join(f"{reason} {number}" for reason, number in count.most_common())


def tell(context: Context, skipped: tuple[Skipped, ...]) -> None:
    """Tell the log and the task's progress."""
    reasons = counted(skipped)
    context.progress.leave_out(len(skipped), reasons)
    if skipped:
        text = "Not on the volume (%d): %s. Listed in %s."
        context.log.bind(phase="fetch").event("CHECK", text, len(skipped), reasons, SKIPPED_FILE)


def write(sandbox: Sandbox, folder: str, skipped: tuple[Skipped, ...]) -> None:
    """Write the list into the course folder; no file when there is nothing to tell."""
    target = sandbox.root / folder / SKIPPED_FILE
    lines = [f"{one.title}: {one.reason}\n" for one in skipped]
    scratch = sandbox.state_file(SKIPPED_FILE)
    write_durably(scratch, "".join(lines).encode("utf-8", "replace"))
    with refusals(target):
        target.parent.mkdir(exist_ok=True)
        if lines:
            scratch.replace(target)
        else:
            scratch.unlink()
            target.unlink(missing_ok=True)
        sync_folder(target.parent)
        sync_folder(sandbox.root)


def _inside(file: File) -> str:
    return file.path.partition("/")[2]


def _sort(reason: str) -> str:
    return FAILED if reason.startswith(f"{FAILED}:") else reason


def _place(title: str) -> tuple[int, int]:
    found = _PLACE.match(title)
    return (int(found[1]), int(found[2])) if found else (-1, -1)
