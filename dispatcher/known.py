"""Every task that is known: what the board says, and the orders that only the queue holds.

Goes in: the store. Comes out: rows, a dictionary of texts each. The board's come first; a task that
ended and was ordered again has a row from each.
"""

from __future__ import annotations

from collections.abc import Iterator

from contract.errors import BadMessage
from contract.task import Task
from dispatcher.store import Store

QUEUED = "queued"


def rows(store: Store) -> Iterator[dict[str, str]]:
    """Yield a row per task: `task`, `status`, and the fields of its hash."""
    known = set()
    for key, fields in store.tasks():
        row = {"task": key, "status": QUEUED, **fields}
        if row["status"] in ("running", QUEUED):
            known.add(key)
        yield row
    yield from _queued(store.walk(), known)


def _queued(raw_items: Iterator[bytes], known: set[str]) -> Iterator[dict[str, str]]:
    seen = set(known)
    for raw in raw_items:
        try:
            task = Task.parse(raw)
        except BadMessage:
            continue
        if task.key not in seen:
            seen.add(task.key)
            account = {"email": task.email} if task.email else {}
            yield {"task": task.key, "status": QUEUED, "course": task.course_url, **account}
