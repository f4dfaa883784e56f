"""Enters each verdict into the tally, with what the run itself said of its steps.

A run's pod is gone before anybody could ask it, so the run leaves its numbers in the task's hash in
Redis, and they are read once, when its end is judged. A run that shows no progress there (no
PROGRESS_REDIS_URL), or could not, leaves the numbers of its steps out. Nothing hangs on any of
this: what cannot be read is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from contract import names
from contract.outcome import CATEGORIES, WEBHOOK_REFUSED, ExitCode
from dispatcher.executors import Run
from dispatcher.record import CANCELLED, Record
from dispatcher.store import Store, StoreUnavailable
from dispatcher.tally import (
    ENDED,
    FAILURES,
    FETCHED,
    RETRIES,
    RUN,
    STEP,
    TALLY,
    UPLOADED,
    WEBHOOKS,
)
from dispatcher.verdict import Verdict

_NOT_DELIVERED = {
    CATEGORIES[ExitCode.NOT_DELIVERED]: "not_delivered",
    WEBHOOK_REFUSED: "refused",
}
_MOST = 2**53
"""More bytes, or seconds, than any run has: what is above is no number of a run."""


def enter(store: Store, run: Run | None, record: Record, verdict: Verdict) -> None:
    """Count the verdict on `run`, None where nothing is left of it."""
    category = verdict.outcome.category
    passing_on = record.outcome is not None and record.outcome.report
    final = verdict.retry_at is None
    if final and not verdict.report:
        TALLY.add(ENDED, _result(verdict))
    if passing_on or (run is not None and run.closing):
        return  # a closing run: the failure that it passes on has been counted
    if not verdict.done:
        TALLY.add(FAILURES if final else RETRIES, category)
    if run is None:
        return
    if run.started is not None and run.ended is not None:
        result = "completed" if verdict.done else "failed" if final else "retried"
        TALLY.observe(RUN, run.ended - run.started, result)
    steps = _enter_numbers(store, run, record)
    if "announce" in steps or category in _NOT_DELIVERED:
        TALLY.add(WEBHOOKS, _NOT_DELIVERED.get(category, "delivered"))


def _result(verdict: Verdict) -> str:
    if verdict.done:
        return "completed"
    return "cancelled" if verdict.outcome.category == CANCELLED else "failed"


def _enter_numbers(store: Store, run: Run, record: Record) -> Mapping[str, float]:
    """Count what the run says of itself; return the seconds of each step that it finished."""
    numbers = _numbers(store, run, record)
    steps = _table(numbers.get("seconds"))
    for step, seconds in steps.items():
        if step in STEP.values:
            TALLY.observe(STEP, seconds, step)
    moved = _table(numbers.get("bytes"))
    TALLY.add(FETCHED, amount=int(moved.get("fetched", 0)))
    TALLY.add(UPLOADED, amount=int(moved.get("uploaded", 0)))
    return steps


def _numbers(store: Store, run: Run, record: Record) -> Mapping[str, object]:
    """Return what this very run said; the hash may still hold an earlier one's words."""
    try:
        text = store.show(record.task.key).get(names.NUMBERS, "") if record.task else ""
        found = json.loads(text or "{}")
    except (StoreUnavailable, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("run") == run.attempt else {}


def _table(found: object) -> dict[str, float]:
    """Return the numbers of a table that a run wrote."""
    if not isinstance(found, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
    }
