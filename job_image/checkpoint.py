"""What is done, on the volume: one mark per step, written only after the step's effect is durable.

Goes in: `.state/state.json` of an earlier run, if any. Comes out: which steps to leave out, and
what they found (the course folder's name). A repeated step is harmless, a mark too early is not,
so a mark is the last thing a step does. A checkpoint of another order is refused, never mixed; a
broken one is set aside and the work begins anew on the files that are there.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract import names
from contract.errors import Misconfigured
from contract.log import Log
from contract.task import Task
from job_image.sandbox import Sandbox, refusals, write_durably

SCHEMA = 1
STEPS = ("fetch", "upload", "verify", "record", "announce", "release")
"""The steps in their order; each is done at most once per order, as far as anyone can tell."""


@dataclass(slots=True)
class Checkpoint:
    """The marks. `path` None: nothing is ever written.

    `finished_at` and `failed_at` are the times of the events that the webhook announces, in Unix
    seconds, 0 while there is none. A failure belongs to a run: the next run begins without it.
    """

    path: Path | None
    task_key: str
    fingerprint: str
    runs: int = 0
    folder: str = ""
    finished_at: int = 0
    failed_at: int = 0
    done: dict[str, float] = field(default_factory=dict)

    def has(self, step: str) -> bool:
        """Whether `step` is done."""
        return step in self.done

    def mark(self, step: str) -> None:
        """Note, durably, that `step` is done."""
        self.done[step] = time.time()
        self.save()

    def drop(self, *steps: str) -> None:
        """Note, durably, that `steps` have to be done again."""
        for step in steps:
            self.done.pop(step, None)
        self.save()

    def save(self) -> None:
        """Write everything durably."""
        data = {
            "schema": SCHEMA,
            "task": self.task_key,
            "fingerprint": self.fingerprint,
            "runs": self.runs,
            "folder": self.folder,
            "finished_at": self.finished_at,
            "failed_at": self.failed_at,
            "done": self.done,
        }
        if self.path is not None:
            write_durably(self.path, json.dumps(data, indent=1).encode())


def load(sandbox: Sandbox, task: Task, log: Log) -> Checkpoint:
    """Return the order's checkpoint, new or found. Raise `Misconfigured` for another order's."""
    path = sandbox.state_file(names.CHECKPOINT_FILE)
    fresh = Checkpoint(path, task.key, fingerprint(task))
    data = _read(path, log)
    if data is None:
        return fresh
    if data["task"] != fresh.task_key or data["fingerprint"] != fresh.fingerprint:
        raise Misconfigured(
            f"The volume holds task {data['task']} with other wishes; it is left untouched.",
            advice="Let the dispatcher give each order a volume of its own, or push the order "
            "again as it was (same courseUrl, quality and captions).",
        )
    fresh.runs = data["runs"]
    fresh.folder = data["folder"]
    fresh.finished_at = data["finished_at"]
    fresh.failed_at = data["failed_at"]
    fresh.done = {step: at for step, at in data["done"].items() if step in STEPS}
    return fresh


def apart(task: Task) -> Checkpoint:
    """Return empty marks that are written nowhere: for a volume that holds another order's."""
    return Checkpoint(None, task.key, fingerprint(task))


def fingerprint(task: Task) -> str:
    """Return what must be equal for two runs to be one order: what is fetched, not by whom."""
    wishes = json.dumps([task.course_url, task.quality, task.captions])
    return hashlib.sha256(wishes.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_SHAPE: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "fingerprint": str,
    "runs": int,
    "folder": str,
    "finished_at": int,
    "failed_at": int,
    "done": dict,
}


def _read(path: Path, log: Log) -> dict[str, Any] | None:
    with refusals(path):
        if not path.exists():
            return None
        raw = path.read_bytes()
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    data = {"failed_at": 0, **data} if isinstance(data, dict) else None  # it is newer than others
    if data is not None and all(isinstance(data.get(k), t) for k, t in _SHAPE.items()):
        return data
    with refusals(path):
        path.replace(path.with_name(path.name + ".bad"))
    log.event("RESUME", "%s is broken; it is set aside and the files are looked at.", path.name)
    return None
