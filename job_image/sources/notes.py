"""The note beside an unfinished file: what its bytes belong to, and which of them are durable.

Goes in: `<key>.json`, as this version or an earlier one has left it. Comes out: a `Note`, or None
for one that is broken. In it `synced` is a number for bytes that have come in order, and a list of
runs for others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from job_image.sandbox import write_durably
from job_image.sources import spans
from job_image.sources.ranges import Known
from job_image.sources.spans import Run

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Note:
    """A note: the boot it was written in, what was synced, what it belongs to.

    `runs` None: the bytes are one run from 0 to `synced`.
    """

    boot: str
    synced: int
    known: Known
    runs: list[Run] | None = None


def boot() -> str:
    """Return the id of the running system; "" when it does not tell, which trusts nothing."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def write(path: Path, synced: int | list[Run], known: Known) -> None:
    """Write a note durably, as one of this boot."""
    data = {"boot": boot(), "synced": synced, "known": asdict(known)}
    write_durably(path, json.dumps(data).encode())


def read(path: Path) -> Note | None:
    """Read a note; None when there is none or it is broken."""
    try:
        data = json.loads(path.read_bytes())
        total = data["known"]["total"]
        total = None if total is None else int(total)
        known = Known(str(data["known"]["etag"]), str(data["known"]["modified"]), total)
        synced = data["synced"]
        if isinstance(synced, list):
            runs = spans.joined((int(start), int(stop)) for start, stop in synced)
            return Note(str(data["boot"]), 0, known, runs)
        return Note(str(data["boot"]), int(synced), known)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
