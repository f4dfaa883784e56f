"""What can be seen on one machine: the folders of the tasks, read as they are.

No lock is taken and nothing is mended, so a dispatcher at work never waits for whoever is looking.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract import names
from dispatcher.executors import Holding
from dispatcher.executors.local import console, files
from dispatcher.executors.local.folder import TaskFolder, VolumeRecord
from dispatcher.executors.local.run import RunRecord
from dispatcher.executors.local.store import Signature, Store, holding_of
from dispatcher.settings import Settings
from dispatcher.web.edge import Edge
from dispatcher.web.facts import ClusterEvent, Item, Moment
from dispatcher.web.rows import number
from dispatcher.web.sight import TAIL, Manifest

INTERVAL = 1.0
"""Seconds between two looks at the folders."""

MEASURE = 60.0
"""Seconds for which a folder's size counts: thousands of files take a while to add up."""

MOMENT = 0.2
"""Seconds of one look that are spent on measuring."""

_TAIL_BYTES = 256 * 1024
_JOURNAL = "fetched.jsonl"


class LocalSight:
    """Implements `Sight` for folders below `root`."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root.absolute())
        self._known: dict[str, tuple[Signature, Holding]] = {}
        self._folders: dict[str, TaskFolder] = {}
        self._holdings: dict[str, Holding] | None = None
        self._used: dict[str, tuple[float, int]] = {}
        self._trouble = ""
        self._edge = Edge("The tasks' folders")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sight", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()

    def trouble(self) -> str:
        """Return why the folders cannot be read, or ""."""
        return self._trouble

    def holdings(self) -> Mapping[str, Holding] | None:
        """Return what the folders hold."""
        return self._holdings

    def _run(self) -> None:
        while not self._stop.is_set():
            self._trouble = self._edge(self._once)
            self._stop.wait(INTERVAL)

    def _once(self) -> None:
        self._look()
        self._measure()

    def _look(self) -> None:
        known = {}
        for name in self._store.folders() if self._store.root.is_dir() else ():
            signature = self._store.signature(name)
            old = self._known.get(name)
            holding = old[1] if old and old[0] == signature else self._read(name)
            if holding is not None:
                known[name] = signature, holding
        self._known = known
        self._folders = {h.name: TaskFolder(self._store.root / n) for n, (_, h) in known.items()}
        self._holdings = {holding.name: holding for _, holding in known.values()}

    def _read(self, name: str) -> Holding | None:
        folder = TaskFolder(self._store.root / name)
        try:
            record, run = VolumeRecord.load(folder), RunRecord.load(folder)
        except (files.Broken, OSError):  # the dispatcher mends it, or it has just gone
            return None
        if record is None:
            return None
        return holding_of(record, run, released=folder.released.exists())

    def used(self, name: str) -> int | None:
        """Return what the folder's files take, as measured lately."""
        measured = self._used.get(name)
        return measured[1] if measured else None

    def _measure(self) -> None:
        """Measure what has not been for a while, for a moment; the rest in the next look."""
        end = time.monotonic() + MOMENT
        used = {name: self._used[name] for name in self._folders if name in self._used}
        for name, folder in self._folders.items():
            if time.monotonic() - used.get(name, (-MEASURE, 0))[0] >= MEASURE:
                with suppress(OSError):
                    used[name] = time.monotonic(), files.used_bytes(folder.root)
            if time.monotonic() > end:
                break
        self._used = used

    def tail(self, name: str) -> tuple[tuple[str, ...], str]:
        """Return the last lines that the newest run printed."""
        folder = self._folders.get(name)
        path = console.newest(folder.consoles) if folder and folder.consoles.is_dir() else None
        if path is None:
            return (), "No run of this task has printed anything that is still here."
        try:
            return _last_lines(path), ""
        except OSError as exc:
            return (), f"{path.name} cannot be read: {exc.strerror}."

    def manifest(self, name: str) -> Manifest:
        """Return what the volume's manifest and marks say."""
        folder = self._folders.get(name)
        if folder is None:
            return Manifest(note="The task has no folder (any more).")
        data = _json(folder.state / names.MANIFEST_FILE)
        if not data:
            return Manifest((), _steps(folder), "No manifest has been written yet.")
        return Manifest(_items(data, folder.state / _JOURNAL), _steps(folder))

    def events(self, name: str) -> tuple[ClusterEvent, ...]:
        """Return nothing: there is no cluster."""
        return ()


def make(settings: Settings) -> LocalSight:
    """Return the sight of this machine."""
    return LocalSight(settings.staging)


def _last_lines(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    whole = lines[1:] if size > _TAIL_BYTES else lines
    return tuple(deque(whole, TAIL))


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _steps(folder: TaskFolder) -> tuple[Moment, ...]:
    done = _json(folder.state / names.CHECKPOINT_FILE).get("done")
    pairs = done.items() if isinstance(done, dict) else ()
    times = ((str(step), number(at)) for step, at in pairs)
    return tuple(Moment(at, f"{step} done") for step, at in times if at is not None)


def _items(data: dict[str, Any], journal: Path) -> tuple[Item, ...]:
    """Return the manifest's files, with what the journal has finished since it was written."""
    finished = _journal(journal)
    listed = data.get("files")
    files_ = [_item(one, finished) for one in listed if isinstance(one, dict)] if listed else []
    left = data.get("skipped")
    skipped = [
        Item(str(one.get("title", "")), "lecture", "skipped", None, str(one.get("reason", "")))
        for one in left or ()
        if isinstance(one, dict)
    ]
    return tuple(files_ + skipped)


def _item(one: dict[str, Any], finished: Mapping[str, dict[str, Any]]) -> Item:
    later = finished.get(str(one.get("key")), {})
    state = later.get("state", "complete") if later else one.get("state")
    size = number(later.get("size", one.get("size")))
    return Item(
        path=str(one.get("path", "")),
        kind=str(one.get("kind", "")),
        state=str(state or "planned"),
        size=None if size is None else int(size),
        reason=str(later.get("reason") or one.get("reason") or ""),
    )


def _journal(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, RecursionError):
                data = json.loads(line)
                if isinstance(data, dict):
                    found[str(data.get("key"))] = data
    return found
