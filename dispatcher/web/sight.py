"""The executor's read-only side: what it holds, what a run said, what else is known of a task.

Two kinds, as there are two executors. Neither starts, ends, marks or mends anything: on one machine
the files are read as they are, on a cluster objects are watched with the right to look alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from dispatcher.executors import Holding
from dispatcher.settings import LOCAL, Settings
from dispatcher.web.facts import ClusterEvent, Item, Moment

TAIL = 300
"""Lines of a log that are shown."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What of a course is on the volume; `note` says why nothing can be told."""

    items: tuple[Item, ...] = ()
    steps: tuple[Moment, ...] = ()
    note: str = ""


class Sight(Protocol):
    """What can be seen. No method raises but for a bug."""

    def start(self) -> None:
        """Begin to look; returns at once."""

    def close(self) -> None:
        """Stop looking."""

    def trouble(self) -> str:
        """Return why nothing, or only what was, can be seen; "" when all is well."""

    def holdings(self) -> Mapping[str, Holding] | None:
        """Return what is held, by name; None while nothing has been seen."""

    def used(self, name: str) -> int | None:
        """Return the bytes that a volume's files take, where that can be told."""

    def tail(self, name: str) -> tuple[tuple[str, ...], str]:
        """Return the last lines of the task's newest run, and a note where there are none."""

    def manifest(self, name: str) -> Manifest:
        """Return what the volume says of its course."""

    def events(self, name: str) -> tuple[ClusterEvent, ...]:
        """Return the cluster's warnings about the task's objects."""


def sight_of(settings: Settings) -> Sight:
    """Return the sight for the executor that the settings name."""
    which = "local" if settings.executor == LOCAL else "cluster"
    # Late: the Kubernetes client costs 0.6 s and 40 MiB that one machine never needs.
    made: Sight = import_module(f"dispatcher.web.{which}_sight").make(settings)
    return made
