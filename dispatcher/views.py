"""What the executor holds, read: each holding with its record and where it stands.

Records are JSON in marks; they are parsed again only when a holding has changed, so that a look at
thousands of tasks costs next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contract.task import Task
from dispatcher.executors import Holding, Run
from dispatcher.fairness import account_of
from dispatcher.record import Record, Stand, read, stand


@dataclass(frozen=True, slots=True)
class View:
    """One holding, its record, and where it stands."""

    holding: Holding
    record: Record | None
    stand: Stand

    @property
    def name(self) -> str:
        """The name of the task's objects."""
        return self.holding.name

    @property
    def task(self) -> Task | None:
        """The order, where its record can be read."""
        return self.record.task if self.record else None


def view(holding: Holding) -> View:
    """Read one holding."""
    record = read(holding.volume) if holding.volume else None
    return View(holding, record, stand(holding, record))


def alive(views: Iterable[View]) -> list[tuple[Task, Run]]:
    """Return the tasks whose runs are alive, with these."""
    found = ((view.task, view.holding.run) for view in views if view.stand is Stand.ACTIVE)
    return [(task, run) for task, run in found if task is not None and run is not None]


def runs_by_account(views: Iterable[View]) -> Counter[str]:
    """Return how many runs each account has. Closing runs do not count: they fetch nothing."""
    runs: Counter[str] = Counter()
    for one in views:
        run, task = one.holding.run, one.record.task if one.record else None
        if one.stand is Stand.ACTIVE and task is not None and run is not None and not run.closing:
            runs[account_of(task)] += 1
    return runs


class Views:
    """All views, remembered between looks."""

    def __init__(self) -> None:
        self._known: dict[str, View] = {}
        self._holdings: Mapping[str, Holding] = {}
        self._views: Sequence[View] = ()

    def look(self, holdings: Mapping[str, Holding]) -> Sequence[View]:
        """Return a view of each holding. The very same mapping is taken to hold the same."""
        if holdings is self._holdings:
            return self._views
        known, self._known = self._known, {}
        for name, holding in holdings.items():
            old = known.get(name)
            same = old is not None and (old.holding is holding or old.holding == holding)
            self._known[name] = old if old is not None and same else view(holding)
        self._holdings, self._views = holdings, tuple(self._known.values())
        return self._views
