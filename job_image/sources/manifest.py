"""What of a course is on the volume: the plan with every file's state, in `.state/manifest.json`.

    {"schema": 1, "course": {...}, "folder": ..., "skipped": [{"title", "reason"}],
     "files": [{"key", "kind", "lecture", "path", "state", "size", "etag"}]}

`state` is `planned` or `complete`; `size` of a complete file is what the file must have. The whole
is written when the plan is made and at the end; in between each finished file adds one line to
`fetched.jsonl`, because a course of thousands of files would otherwise write its manifest
thousands of times. A line may be lost with the machine; its file is then fetched again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from contract import names
from job_image.sandbox import Sandbox, refusals, write_durably
from job_image.sources.plan import Plan

SCHEMA = 1
JOURNAL_FILE = "fetched.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """A finished file: where it lies below the sandbox, and how many bytes it must have."""

    key: str
    path: str
    size: int
    etag: str = ""


class Manifest:
    """The records of one volume. Thread-safe."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._path = sandbox.state_file(names.MANIFEST_FILE)
        self._journal = sandbox.state_file(JOURNAL_FILE)
        self._lock = threading.Lock()
        self.records: dict[str, Record] = {}

    def load(self) -> None:
        """Read what earlier runs have finished; broken parts count as nothing."""
        data = _object(_bytes(self._path))
        files = data.get("files")
        lines = [_object(line) for line in _bytes(self._journal).splitlines()]
        found = [*(files if isinstance(files, list) else ()), *lines]
        self.records = {one.key: one for one in map(_record, found) if one}

    def write(self, plan: Plan) -> None:
        """Write the whole durably, if it says anything new; the journal begins anew."""
        content = json.dumps(self._document(plan), indent=1).encode()
        if content != _bytes(self._path):  # a full volume must not stop a run that writes nothing
            write_durably(self._path, content)
        with refusals(self._journal):
            self._journal.unlink(missing_ok=True)

    def finished(self, record: Record) -> None:
        """Note a file whose bytes are durable and which has its name, or is about to get it."""
        line = json.dumps(asdict(record)) + "\n"
        with self._lock, refusals(self._journal):
            self.records[record.key] = record
            with self._journal.open("ab", buffering=0) as file:
                file.write(line.encode())

    def _document(self, plan: Plan) -> Mapping[str, Any]:
        return {
            "schema": SCHEMA,
            "course": asdict(plan.course),
            "folder": plan.folder,
            "skipped": [asdict(one) for one in plan.skipped],
            "files": list(self._files(plan)),
        }

    def _files(self, plan: Plan) -> Iterable[Mapping[str, Any]]:
        for file in plan.files:
            record = self.records.get(file.key)
            yield {
                "key": file.key,
                "kind": file.kind,
                "lecture": file.lecture,
                "path": file.path,
                "state": "complete" if record else "planned",
                "size": record.size if record else file.size,
                "etag": record.etag if record else "",
            }


def _bytes(path: Any) -> bytes:
    with refusals(path):
        return path.read_bytes() if path.exists() else b""


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _record(data: Any) -> Record | None:
    """Read a file of the manifest or a line of the journal; None unless it is complete."""
    if not isinstance(data, dict) or data.get("state", "complete") != "complete":
        return None
    key, path, size = data.get("key"), data.get("path"), data.get("size")
    if isinstance(key, str) and isinstance(path, str) and isinstance(size, int):
        return Record(key, path, size, str(data.get("etag", "")))
    return None
