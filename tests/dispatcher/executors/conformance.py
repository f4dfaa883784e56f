"""What every executor must do, told once: each sentence of `Executor` as a test on real runs.

A module of its own per executor makes it collectable: a subclass of `ExecutorConformance`, and a
fixture `bench` (see `Bench`). Programs run for real, with `program.py` as the job's program.
"""

from __future__ import annotations

from tests.dispatcher.executors.conformance_runs import RunConformance
from tests.dispatcher.executors.conformance_view import ViewConformance
from tests.dispatcher.executors.conformance_volumes import VolumeConformance


class ExecutorConformance(VolumeConformance, RunConformance, ViewConformance):
    """Subclass it as `Test…` and give it a fixture `bench`."""
