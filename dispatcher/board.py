"""What the board says of a run that is alive, and how that is said again after a crash.

The board (a task's hash in Redis) is for people and for the memory of finished tasks; no decision
about a run hangs on it. It is written after the run exists, so a crash in between leaves it behind:
`recall` mends that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from contract.errors import Retryable
from contract.task import Task
from dispatcher.executors import Run
from dispatcher.record import CANCELLED, Stand
from dispatcher.store import Store, StoreUnavailable


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
        store.set_obstacle(task.key, exc.summary)
        raise


def recall(store: Store, task: Task, run: Run) -> None:
    """Tell the board of a live run unless it knows; an end that it knows of is not taken back."""
    fields = running(task, run.attempt, closing=run.closing)
    known = store.show(task.key).get("status")
    if known not in (fields["status"], Stand.DONE.value, CANCELLED):
        store.write(task.key, fields)
