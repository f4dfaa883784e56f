"""`course-runner reap`: what retention chooses now, shown or done, by the loop's own rules."""

from __future__ import annotations

from contract.log import Log
from dispatcher.crew import Crew
from dispatcher.executors import Executor
from dispatcher.reaper import Reaper
from dispatcher.settings import Settings
from dispatcher.store import Store, connect
from dispatcher.views import Views


def run(settings: Settings, executor: Executor, log: Log, *, dry: bool) -> list[dict[str, str]]:
    """Return the removals as rows with what, name, reason; make them unless `dry`."""
    store = Store(connect(settings.redis_url), settings.queue, settings.identity)
    crew = Crew(log)
    reaper = Reaper(store, executor, settings.limits, crew, log)
    executor.start()
    try:
        views = Views().look(executor.holdings())
        chosen = reaper.removable(views)
        if not dry:
            reaper.remove(chosen)
        return [{"what": r.what, "name": r.name, "reason": r.reason} for r in chosen]
    finally:
        crew.close()
        executor.close()
