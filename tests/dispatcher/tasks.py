"""Tasks, volumes and runs for tests of what decides: made as an executor would show them."""

from __future__ import annotations

import json
from dataclasses import replace

from contract import names
from contract.outcome import Outcome
from contract.task import Task
from dispatcher.executors import Ending, Holding, Phase, Run, Volume
from dispatcher.record import Judged, Record, Stand, read, stamp, stand

NOW = 1_768_233_600.0
URL = "https://www.udemy.com/course/test-course/"


def order(task_id: int | str = 999, **fields: object) -> bytes:
    """A queue message."""
    return json.dumps({"taskId": task_id, "courseUrl": URL, **fields}).encode()


def task(task_id: int | str = 999, **fields: object) -> Task:
    """A task."""
    return Task.parse(order(task_id, **fields))


def volume(one: Task | None = None, *, created: float = NOW - 3600, **marks: str | None) -> Volume:
    """A task's volume; marks by the names of the constants: attempt="2", retry_at="…"."""
    all_marks = {names.MESSAGE: (one or task()).dump(), names.ATTEMPT: "1"}
    for name, text in marks.items():
        key = getattr(names, name.upper())
        if text is None:
            all_marks.pop(key, None)
        else:
            all_marks[key] = text
    return Volume("volume-1", created, all_marks)


def run(attempt: int = 1, phase: Phase = Phase.ACTIVE, **fields: object) -> Run:
    """A run; its id tells its number."""
    made = Run(f"run-{attempt}", attempt, phase, started=NOW - 600)
    return replace(made, **fields)  # type: ignore[arg-type]


def hold(held: Volume | None = None, running: Run | None = None, key: str = "999") -> Holding:
    """What an executor holds of a task."""
    return Holding(names.object_name(key), held, running)


def judged(category: str, attempt: int = 1, *, report: bool = False, summary: str = "So.") -> str:
    """The mark of a verdict on run `attempt`."""
    return Judged(category, summary, at=NOW - 60, run=f"run-{attempt}", report=report).dump()


def record(held: Volume | None) -> Record | None:
    """Its record."""
    return read(held) if held else None


def where(holding: Holding) -> Stand:
    """Where a task stands."""
    return stand(holding, record(holding.volume))


def ending(exit_code: int | None = None, category: str = "", reason: str = "") -> Ending:
    """How a run ended, with last words if `category` is given."""
    words = Outcome(category, f"It was {category}.", exit=exit_code) if category else None
    return Ending(exit_code, words, reason)


def done(expires: float = NOW - 1, **marks: str) -> Holding:
    """A completed task: volume and run still there."""
    held = volume(outcome=judged("done"), expires_at=stamp(expires), **marks)
    return hold(held, run(phase=Phase.SUCCEEDED))


def failed(expires: float = NOW + 9, **marks: str) -> Holding:
    """A task that failed for good: volume and run still there."""
    held = volume(outcome=judged("auth_expired"), expires_at=stamp(expires), **marks)
    return hold(held, run(phase=Phase.FAILED))


def waiting(retry_at: float = NOW + 300) -> Holding:
    """A task with a delayed retry."""
    marks = {"outcome": judged("temporary"), "retry_at": stamp(retry_at), "attempt": "2"}
    return hold(volume(**marks), run(phase=Phase.FAILED))


def reporting() -> Holding:
    """A task that owes a closing run."""
    held = volume(outcome=judged("auth_expired", report=True), attempt="2")
    return hold(held, run(phase=Phase.FAILED))
