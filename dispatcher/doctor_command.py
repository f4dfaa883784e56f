"""`course-runner doctor`: one audit of the live system, by the dispatcher's own rules."""

from __future__ import annotations

import time
from typing import Any

from dispatcher.auditor import confirmed, look
from dispatcher.executors import Executor
from dispatcher.settings import Settings
from dispatcher.store import Store, connect
from dispatcher.views import Views

BETWEEN = 2.0
"""Seconds between the two looks: what has just moved is settled then."""


def run(settings: Settings, executor: Executor) -> dict[str, Any]:
    """Return the verdict: at, found, counts, findings. Nothing is changed."""
    store = Store(connect(settings.redis_url), settings.queue, settings.identity)
    views, limit = Views(), settings.limits.max_active
    executor.start()
    try:
        found = look(store, lambda: views.look(executor.holdings()), limit)
        if found.findings:
            time.sleep(BETWEEN)
            found = confirmed(found, look(store, lambda: views.look(executor.holdings()), limit))
    finally:
        executor.close()
    return {"at": time.time(), "found": len(found.findings), **found.dump()}
