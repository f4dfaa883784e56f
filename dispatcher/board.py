"""What the board says of a run that is alive, and how that is said again after a crash.

The board (a task's hash in Redis) is for people and for the memory of finished tasks; no decision
about a run hangs on it. It is written after the run exists, so a crash in between leaves it behind:
`recall` mends that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from contract.errors import Retryable
from contract.task import Task
from dispatcher.executors import QuotaExceeded, Run
from dispatcher.record import CANCELLED, Stand, stamp
from dispatcher.store import Store, StoreUnavailable
from dispatcher.views import View


def running(task: Task, attempt: int, *, closing: bool = False) -> dict[str, str]:
    """Return the fields of a task whose run is alive."""
    return {
        "status": (Stand.REPORT if closing else Stand.ACTIVE).value,
        "attempt": str(attempt),
        "message": "",
        "obstacle": "",
        "email": task.email or "",
        "course": task.course_url,
    }


@contextmanager
def told(store: Store, task: Task) -> Iterator[None]:
    """Tell the board what keeps a task waiting, when that comes up inside; it goes on being raised.

    Trouble with Redis itself cannot be told there.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except Retryable as exc:
        store.set_obstacle(task.key, waiting(exc))
        raise


def remembered(view: View) -> tuple[dict[str, str], bool]:
    """Return what the board says of a task whose record alone is known, and whether it has ended.

    Redis may have forgotten its last writes (a failover), or everything; the volumes have not.
    """
    record, run = view.record, view.holding.run
    outcome = record.outcome if record else None
    if view.stand is Stand.ACTIVE and record and record.task and run:
        cancelled = outcome is not None and outcome.category == CANCELLED
        fields = running(record.task, run.attempt, closing=run.closing)
        return ({**fields, "status": CANCELLED} if cancelled else fields), False
    if record is None or record.task is None or outcome is None:
        return {"status": view.stand.value}, False
    status = CANCELLED if outcome.category == CANCELLED else view.stand.value
    goes_on = view.stand in (Stand.WAITING, Stand.REPORT)  # the mark is the next run's number
    fields = {
        **running(record.task, record.attempt - goes_on),
        "status": status,
        "message": outcome.summary,
        "category": outcome.category,
        "retry_at": "" if record.retry_at is None else stamp(record.retry_at),
    }
    if view.stand is Stand.DONE:
        fields["percent"] = "100.0"
    return fields, view.stand in (Stand.DONE, Stand.FAILED)


def waiting(error: Retryable) -> str:
    """Return why a task's run cannot be made yet; a quota is back-pressure, and told as that."""
    quota = isinstance(error, QuotaExceeded)
    return f"waiting: quota: {error.summary}" if quota else error.summary


def recall(store: Store, runs: Sequence[tuple[Task, Run]]) -> int:
    """Tell the board of live runs that it does not know; return how many.

    An end that it knows of is not taken back. It is asked about all of them at once: after a start
    there may be ten thousand.
    """
    fields = {task.key: running(task, run.attempt, closing=run.closing) for task, run in runs}
    known = store.statuses(list(fields))
    behind = {
        key: one
        for key, one in fields.items()
        if known[key] not in (one["status"], Stand.DONE.value, CANCELLED)
    }
    store.write_all(behind)
    return len(behind)
