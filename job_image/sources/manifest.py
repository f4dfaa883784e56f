"""What of a course is on the volume: the plan with every file's state, in `.state/manifest.json`.

    {"schema": 1, "course": {...}, "folder": ..., "skipped": [{"title", "reason"}],
     "files": [{"key", "kind", "lecture", "path", "state", "size", "etag", "reason"}]}

`state` is `planned`, `complete`, `skipped` or `failed`, the last two with a reason; `size` of a
complete file is what the file must have, `etag` the server's or, of a file made here, a digest. The
whole is written when the plan is made and at the end; in between each finished file adds one line
to `fetched.jsonl`, because a course of thousands of files would otherwise write its manifest
thousands of times. A line may be lost with the machine; its file is then fetched again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from io import FileIO
from typing import Any

from contract import names
from job_image.sandbox import Sandbox, refusals, sync_folder, write_durably
from job_image.sources.plan import Plan

SCHEMA = 1
SKIPPED = "skipped"
JOURNAL_FILE = "fetched.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """A finished file: where it lies below the sandbox, and how many bytes it must have."""

    key: str
    path: str
    size: int
    etag: str = ""


_text = json.encoder.encode_basestring_ascii
"""A text as JSON, without the setting up that `json.dumps` costs each time."""


class Manifest:
    """The records of one volume. Thread-safe."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._root = sandbox.root
        self._path = sandbox.state_file(names.MANIFEST_FILE)
        self._journal = sandbox.state_file(JOURNAL_FILE)
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self.records: dict[str, Record] = {}
        self.left: dict[str, str] = {}
        """Keys of files that turned out to be not for us, and why."""
        self.failed: dict[str, str] = {}
        """Keys of files that this run could not have, and why."""

    def load(self) -> None:
        """Read what earlier runs have finished; broken parts count as nothing."""
        data = _object(_bytes(self._path))
        files = data.get("files")
        lines = [_object(line) for line in _bytes(self._journal).splitlines()]
        found = [*(files if isinstance(files, list) else ()), *lines]
        self.records = {one.key: one for one in map(_record, found) if one}
        left = dict(one for one in map(_left, found) if one)
        self.left = {key: why for key, why in left.items() if key not in self.records}

    def write(self, plan: Plan) -> None:
        """Write the whole durably, if it says anything new; the journal begins anew."""
        content = self._text(plan).encode()
        self._close()
        if content != _bytes(self._path):  # a full volume must not stop a run that writes nothing
            self._sync_folders()
            write_durably(self._path, content)
        with refusals(self._journal):
            self._journal.unlink(missing_ok=True)

    def finished(self, *records: Record) -> None:
        """Note files whose bytes are durable and which have their names, or are about to."""
        with self._lock:
            self.records |= {one.key: one for one in records}
            self._write("\n".join(map(_line, records)))

    def leave(self, key: str, reason: str) -> None:
        """Note a file that is not for us, for this run and all others on this volume."""
        with self._lock:
            self.left[key] = reason
            self._note({"key": key, "state": SKIPPED, "reason": reason})

    def _note(self, values: Mapping[str, Any]) -> None:
        self._write(json.dumps(values))

    def _write(self, line: str) -> None:
        with refusals(self._journal):
            if self._file is None:
                self._file = self._journal.open("ab", buffering=0)
            self._file.write(f"{line}\n".encode())

    def _sync_folders(self) -> None:
        """Make the names of all finished files survive a power cut, before the record says so."""
        folders = {one.path.rpartition("/")[0] for one in self.records.values()}
        for folder in map(self._root.__truediv__, folders):
            with refusals(folder):
                if folder.is_dir():
                    sync_folder(folder)

    def _close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _text(self, plan: Plan) -> str:
        """Return the document with one line per file: readable, and quickly made."""
        head = {
            "schema": SCHEMA,
            "course": asdict(plan.course),
            "folder": plan.folder,
            "skipped": [asdict(one) for one in plan.skipped],
        }
        files = ",\n ".join(map(json.dumps, self._files(plan)))
        return f'{json.dumps(head)[:-1]},\n"files": [\n {files}\n]}}\n'

    def _files(self, plan: Plan) -> Iterable[Mapping[str, Any]]:
        for file in plan.files:
            record = self.records.get(file.key)
            yield {
                "key": file.key,
                "kind": file.kind,
                "lecture": file.lecture,
                "path": file.path,
                "state": "complete" if record else self._state(file.key),
                "size": record.size if record else file.size,
                "etag": record.etag if record else "",
                "reason": "" if record else self.left.get(file.key) or self.failed.get(file.key),
            }

    def _state(self, key: str) -> str:
        return SKIPPED if key in self.left else "failed" if key in self.failed else "planned"


def _line(one: Record) -> str:
    return (
        f'{{"key": {_text(one.key)}, "path": {_text(one.path)}, '
        f'"size": {one.size}, "etag": {_text(one.etag)}}}'
    )


def digest(content: bytes) -> str:
    """Return what tells a file made here from another one: the beginning of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:32]


def _bytes(path: Any) -> bytes:
    with refusals(path):
        return path.read_bytes() if path.exists() else b""


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _left(data: Any) -> tuple[str, str] | None:
    """Read a file that was left out; None for any other."""
    if not isinstance(data, dict) or data.get("state") != SKIPPED:
        return None
    key, reason = data.get("key"), data.get("reason")
    return (key, reason) if isinstance(key, str) and isinstance(reason, str) else None


def _record(data: Any) -> Record | None:
    """Read a file of the manifest or a line of the journal; None unless it is complete."""
    if not isinstance(data, dict) or data.get("state", "complete") != "complete":
        return None
    key, path, size = data.get("key"), data.get("path"), data.get("size")
    if isinstance(key, str) and isinstance(path, str) and type(size) is int and size >= 0:
        return Record(key, path, size, str(data.get("etag", "")))
    return None
