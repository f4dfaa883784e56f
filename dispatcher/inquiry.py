"""The facts behind `why`, gathered from Redis alone: no right on the executor is needed."""

from __future__ import annotations

import json

from contract.errors import BadMessage
from contract.task import Task
from dispatcher.fairness import account_of
from dispatcher.store import Store
from dispatcher.why import Facts


def inquire(store: Store, key: str) -> Facts:
    """Return what Redis knows about one task."""
    queued = list(store.queued())
    places = [place for place, raw in enumerate(reversed(queued), 1) if _task(raw, key)]
    claimed = [name for name, items in store.claims().items() if any(_task(i, key) for i in items)]
    order = _task(queued[-places[0]], key) if places else None
    fields = store.show(key)
    known = account_of(order) if order else fields.get("email", "").strip().lower()
    return Facts(
        task=key,
        fields=fields,
        place=places[0] if places else 0,
        queued=len(queued),
        account=known,
        claimed_by=claimed[0] if claimed else "",
        silent=bool(claimed) and claimed[0] not in store.alive(),
        pause=store.paused(),
        state=store.state(),
        dead=_dead(store, key),
    )


def _task(raw: bytes, key: str) -> Task | None:
    """Return the order, if it is one of this task."""
    if key.encode("utf-8", "replace") not in raw and b"\\" not in raw:
        return None  # most of a long queue, without reading it whole
    try:
        task = Task.parse(raw)
    except BadMessage:
        return None
    return task if task.key == key else None


def _dead(store: Store, key: str) -> tuple[int, str] | None:
    for letter in reversed(store.letters()):
        try:
            data = json.loads(letter.message)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict) and str(data.get("taskId")) == key:
            return letter.number, str(letter.data.get("reason", ""))
    return None
