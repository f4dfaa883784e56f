"""Which very message a forced order's run was handed over for, kept on its volume.

A forced order runs even what has ended. If its item is read again after the run (Redis hung, or the
dispatcher died, before it was settled), nothing but this mark tells it from a second order. It is
set before the run starts and cleared after the item is settled; one that outlived that, because a
crash or a lost answer came in between, is cleared when no list holds the message any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from contract import names
from dispatcher.crew import Crew
from dispatcher.executors import Executor
from dispatcher.store import Store
from dispatcher.views import View

_DIGITS = 16
"""Hex digits of SHA-256: only messages of one task are compared."""


def fingerprint(raw: bytes) -> str:
    """Return the value of the mark ACCEPTED for a message."""
    return hashlib.sha256(raw).hexdigest()[:_DIGITS]


def clear_settled(store: Store, executor: Executor, crew: Crew, views: Iterable[View]) -> None:
    """Clear the marks whose message is settled. The lists are walked only if there is a mark.

    Without this, the next push of the same bytes would be taken for the one that was settled.
    """
    marked = [(v.name, v.record.accepted) for v in views if v.record and v.record.accepted]
    if not marked:
        return
    kept = set(map(fingerprint, store.walk()))
    settled = [name for name, accepted in marked if accepted not in kept]
    crew.each(settled, str, lambda name: executor.mark(name, {names.ACCEPTED: None}))
