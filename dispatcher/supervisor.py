"""The care for runs that have been started: verdicts on those that ended, an end for the stuck.

Goes in: views of what the executor holds. Comes out: verdicts, put into effect by `conclusions`. It
decides nothing itself: `record` and `verdict` do. Every act is repeated safely after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from contract import fault, names
from contract.log import Log
from contract.task import Task
from dispatcher.conclusions import Conclusions
from dispatcher.crew import Crew
from dispatcher.executors import Executor
from dispatcher.record import CANCELLED, Stand
from dispatcher.settings import Limits
from dispatcher.store import Store
from dispatcher.verdict import is_late, judge, judge_obstacle, judge_report
from dispatcher.views import View

LOOK = 5.0
"""Seconds between two looks at what keeps a run from beginning."""


class Supervisor:
    """Acts on what the pure modules decide."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        limits: Limits,
        crew: Crew,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._executor = executor
        self._limits = limits
        self._crew = crew
        self._clock = clock
        self._conclusions = Conclusions(store, executor, limits, log, clock)
        self._looked: dict[str, float] = {}

    def give_verdicts(self, views: Iterable[View]) -> int:
        """Judge every ended run that has no verdict yet; return how many."""
        ended = [view for view in views if view.stand is Stand.ENDED]
        return self._crew.each(ended, _name, self._judge, _task)

    def _judge(self, view: View) -> None:
        record, run = view.record, view.holding.run
        if record is None or run is None or record.task is None:
            return
        ending = self._executor.ending(view.name, run)
        decide = judge_report if run.closing else judge
        verdict = decide(run, ending, record, self._limits, self._clock())
        if verdict.grow and not self._grow(view.name, verdict.grow):
            fixed = replace(record, size=0, grow_to=0)
            verdict = decide(run, ending, fixed, self._limits, self._clock())
        fault.point("verdict:judged")
        self._conclusions.conclude(view, run, record, verdict)

    def _grow(self, name: str, size: int) -> bool:
        """Note the aim first: judged again after a crash, the volume must not grow twice."""
        self._executor.mark(name, {names.GROW_TO: str(size)})
        fault.point("grow:marked")
        grown = self._executor.grow(name, size)
        fault.point("grow:asked")
        return grown

    def end_late(self, views: Iterable[View]) -> int:
        """End runs that something keeps from beginning for too long; return how many were asked.

        Each is looked at every `LOOK` seconds: the answer costs a few questions. One that goes on
        although it was judged is ended `LOOK` seconds after it is first seen so: perhaps it has
        ended, was judged by another dispatcher, and only that news is still on its way.
        """
        now = self._clock()
        late = [view for view in views if self._is_late(view, now)]
        self._looked = {
            view.name: self._looked.get(view.name, self._first(view, now)) for view in late
        }
        due = [view for view in late if now - self._looked[view.name] >= LOOK]
        self._looked.update((view.name, now) for view in due)
        return self._crew.each(due, _name, self._end_late, _task)

    def _is_late(self, view: View, now: float) -> bool:
        """Also one that was judged, and whose removal did not get through: it may work by now."""
        if view.stand is not Stand.ACTIVE:
            return False
        return is_late(view.holding.run, self._limits, now) or is_condemned(view)

    def _first(self, view: View, now: float) -> float:
        """When a run that is seen as late for the first time counts as looked at."""
        return 0.0 if is_late(view.holding.run, self._limits, now) else now

    def _end_late(self, view: View) -> None:
        """Mark first, then remove: the other way round, a crash would start the run again."""
        record, run = view.record, view.holding.run
        if record is None or run is None:
            return
        is_judged = record.outcome is not None and record.outcome.run == run.id
        if not is_judged and not is_condemned(view):
            obstacle = self._executor.obstacle(view.name)
            verdict = judge_obstacle(run, obstacle, record, self._limits, self._clock())
            if verdict is None:
                return
            self._conclusions.conclude(view, run, record, verdict)
            fault.point("late:marked")
        self._executor.remove_run(view.name, run.id)


def is_condemned(view: View) -> bool:
    """Whether a run that is alive has been judged already, and nobody has told it to stop.

    Of a cancelled task, any but the closing run: another dispatcher started it meanwhile.
    """
    run, outcome = view.holding.run, view.record.outcome if view.record else None
    if run is None or run.deleting or outcome is None:
        return False
    return outcome.run == run.id or (outcome.category == CANCELLED and not run.closing)


def _name(view: View) -> str:
    return view.name


def _task(view: View) -> Task | None:
    return view.task
