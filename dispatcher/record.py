"""A task's record and where the task stands, read from what the executor holds. Pure.

Goes in: a `Holding` (volume with marks, run). Comes out: a `Record` and a `Stand`. Nothing is
counted or remembered: after a restart the same objects give the same answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from contract import names
from contract.errors import BadMessage
from contract.task import Task, quantity_bytes
from dispatcher.executors import Holding, Phase, Run, Volume

DONE = "done"
CANCELLED = "cancelled"

_NO = ("", "false", "no", "off", "0")
"""Words of a person who unsets a mark instead of removing it."""


class Stand(StrEnum):
    """Where a task stands."""

    START = "start"
    """Has a volume and needs a run: accepted, or due for a retry."""
    ACTIVE = "running"
    """A run is alive (or still being started, or stopping)."""
    ENDED = "ended"
    """The run ended and no verdict has been given yet."""
    WAITING = "waiting"
    """A delayed retry, at `Record.retry_at`."""
    REPORT = "reporting"
    """Failed for good or cancelled; a closing run has yet to pass that on."""
    FAILED = "failed"
    """Failed for good (or cancelled); the volume is kept until it expires."""
    DONE = "completed"
    """Every step done; the volume goes when it expires."""
    STRAY = "stray"
    """A run without a volume, or a volume that is going away: not a task any more."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The mark OUTCOME: the verdict on a run. `run` is that run's id, `at` in Unix seconds."""

    category: str
    summary: str
    advice: str = ""
    at: float = 0.0
    run: str = ""
    report: bool = False
    """A closing run is still owed."""

    def dump(self) -> str:
        """Return compact JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Record:
    """The marks of a volume, read."""

    task: Task | None
    """None when the message cannot be read: such a volume is never touched."""
    attempt: int = 1
    outcome: Judged | None = None
    retry_at: float | None = None
    expires_at: float | None = None
    released: bool = False
    pinned: bool = False
    failures: Mapping[str, int] = field(default_factory=dict)
    accepted: str = ""
    """Fingerprint of the forced order that was handed over and perhaps not settled."""
    size: int = 0
    """Bytes of the volume, 0 when nothing tells."""
    grow_to: int = 0
    """Bytes that a full volume is about to be given, 0 for none: an aim, so that it may be asked
    for twice."""


def read(volume: Volume) -> Record:
    """Read a volume's marks; whatever cannot be read counts as absent."""
    marks = volume.marks
    return Record(
        task=_task(marks.get(names.MESSAGE, "")),
        attempt=max(1, int(_number(marks.get(names.ATTEMPT)) or 1)),
        outcome=_outcome(marks.get(names.OUTCOME)),
        retry_at=_number(marks.get(names.RETRY_AT)),
        expires_at=_number(marks.get(names.EXPIRES_AT)),
        released=_is_set(marks.get(names.RELEASED)),
        pinned=_is_set(marks.get(names.PINNED)),
        failures=_failures(marks.get(names.FAILURES)),
        accepted=marks.get(names.ACCEPTED, ""),
        size=quantity_bytes(volume.size),
        grow_to=max(0, int(_number(marks.get(names.GROW_TO)) or 0)),
    )


def stand(holding: Holding, record: Record | None) -> Stand:
    """Return where the task stands. `record` is None exactly when there is no volume."""
    run, volume = holding.run, holding.volume
    if volume is None or record is None or volume.deleting or record.task is None:
        return Stand.STRAY
    if run is not None and run.phase is Phase.ACTIVE:
        return Stand.ACTIVE
    outcome = record.outcome
    current = run is not None and run.attempt >= record.attempt
    if run is not None and current and (outcome is None or outcome.run != run.id):
        return Stand.ENDED
    if run is not None and _has_delivered(run, outcome):
        return Stand.ENDED
    if outcome is None:
        return Stand.START
    return _judged(outcome, record)


def _has_delivered(run: Run, outcome: Judged | None) -> bool:
    """Whether a run succeeded that was given up as one that does not begin: it began after all.

    Then a closing run would tell of a failure what has been delivered. A cancelled one is over.
    """
    if outcome is None or outcome.run != run.id or not outcome.report:
        return False
    return run.phase is Phase.SUCCEEDED and not run.closing and outcome.category != CANCELLED


def _judged(outcome: Judged, record: Record) -> Stand:
    if outcome.category == DONE:
        return Stand.DONE
    if outcome.report:
        return Stand.REPORT
    return Stand.FAILED if record.retry_at is None else Stand.WAITING


def stamp(seconds: float) -> str:
    """Return a time as a mark's text: Unix seconds."""
    return f"{seconds:.3f}"


def _task(text: str) -> Task | None:
    try:
        return Task.parse(text.encode("utf-8", "surrogatepass"))
    except BadMessage:
        return None


def _is_set(text: str | None) -> bool:
    return (text or "").strip().lower() not in _NO


def _number(text: str | None) -> float | None:
    """Return a number that clocks can take; None for anything else, as for no mark."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e12 else None


def _json(text: str | None) -> dict[str, object]:
    try:
        data = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _outcome(text: str | None) -> Judged | None:
    data = _json(text)
    if not data.get("category"):
        return None
    return Judged(
        category=str(data["category"]),
        summary=str(data.get("summary", "")),
        advice=str(data.get("advice", "")),
        at=_number(str(data.get("at"))) or 0.0,
        run=str(data.get("run", "")),
        report=data.get("report") is True,
    )


def _failures(text: str | None) -> dict[str, int]:
    return {
        cause: count
        for cause, count in _json(text).items()
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0
    }
