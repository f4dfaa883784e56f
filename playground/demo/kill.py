"""The second accident: the run of one order is killed in the middle of a large file.

In: the portal's ledger, the task's folder. Out: what was true at that moment: which files were
whole on the disk and which were open, against which the checks hold what happened afterwards.
"""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract import names
from playground.content import Content, sha256
from playground.demo import tally
from playground.demo.folder import DemoError, Folder
from playground.demo.orders import KILL_AT, LONG, VICTIM
from playground.demo.product import kill_run
from playground.portal import Portal
from playground.portal.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Kill:
    """The moment of the kill. Targets are the ledger's names of files."""

    at: float
    """Unix seconds; whatever began later was asked for by the next run."""
    pid: int
    long_at: int
    """Bytes of the large lecture that had been fetched."""
    finished: dict[str, int]
    """Files that lay whole on the disk, with their sizes."""
    opened: dict[str, int]
    """Files of which only a part had been fetched, with its bytes."""


def is_cut(ledger: Ledger) -> bool:
    """Whether the first connection of the large lecture has been cut."""
    return bool(ledger.of(LONG).statuses)


def is_half(ledger: Ledger) -> bool:
    """Whether half of the large lecture has been fetched, in more than one connection."""
    visits = ledger.visits(LONG)
    return len(visits) > 1 and tally.total(tally.by_target(visits)).distinct >= KILL_AT


def kill(portal: Portal, folder: Folder) -> Kill:
    """Kill the order's run; return what was there."""
    pid = kill_run(folder, VICTIM.key)
    at = time.time()
    prefix = f"cdn:{VICTIM.slug}/"
    _settled(portal.ledger, prefix)
    visits = [visit for visit in portal.ledger.visits(prefix) if visit.started < at]
    sums = tally.by_target(visits)
    given = {name for name, one in sums.items() if one.distinct == _size(portal, name)}
    finished = _finished(portal, folder.sandbox(VICTIM.key))
    opened = {name: one.distinct for name, one in sums.items() if name not in {*given, *finished}}
    return Kill(at, pid, sums[LONG].distinct, finished, opened)


def _settled(ledger: Ledger, prefix: str) -> None:
    """Wait until the portal has noticed that its client is gone: only then do its counts stand."""
    try:
        ledger.wait(lambda it: it.total(prefix).running == 0)
    except TimeoutError as error:
        raise DemoError(f"The portal still serves a run that was killed: {error}") from error


def _finished(portal: Portal, sandbox: Path) -> dict[str, int]:
    """Return the portal's files that lie whole in the sandbox, known by their bytes."""
    there = Counter(digest(path) for path in files(sandbox))
    known: dict[str, list[str]] = defaultdict(list)
    for key in (key for key in portal.catalogue.objects if key.startswith(f"{VICTIM.slug}/")):
        known[sha256(content_of(portal, key))].append(key)
    sure = (keys for name, keys in known.items() if there[name] >= len(keys))
    return {f"cdn:{key}": content_of(portal, key).size for keys in sure for key in keys}


def _size(portal: Portal, target: str) -> int:
    return content_of(portal, target.removeprefix("cdn:")).size


def content_of(portal: Portal, key: str) -> Content:
    """Return what the portal serves under a key."""
    return portal.stored(key).content


def files(folder: Path) -> Iterator[Path]:
    """Yield the whole files of a course, unfinished ones and the product's own left out."""
    for path in sorted(folder.rglob("*")):
        own = names.STATE_DIR in path.relative_to(folder).parts
        if path.is_file() and not own and path.suffix != ".part":
            yield path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
