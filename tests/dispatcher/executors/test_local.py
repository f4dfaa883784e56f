"""The local executor passes the suite that every executor passes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.names import folder_name
from contract.task import Task
from dispatcher.executors import Phase
from dispatcher.executors.local import LocalExecutor
from tests.dispatcher.executors.bench import PROGRAM_TEXT
from tests.dispatcher.executors.conformance import ExecutorConformance


class LocalBench:
    """Local executors on one folder."""

    patience = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = (sys.executable, "-c", PROGRAM_TEXT)
        self.grace = 15.0
        self._made: list[LocalExecutor] = []

    def executor(self) -> LocalExecutor:
        """Return another executor, as another dispatcher's process would have it."""
        made = LocalExecutor(self.folder, os.environ, self.program, grace=self.grace, interval=0.2)
        made.start()
        self._made.append(made)
        return made

    def open_gate(self, task: Task, gate: str) -> None:
        """Make the file the run waits for."""
        (self.root(task) / gate).touch()

    def root(self, task: Task) -> Path:
        """The task's folder."""
        return self.folder / folder_name(task.key)

    def close(self) -> None:
        """Close all executors and end the runs that a failed test left."""
        for executor in self._made:
            for held in executor.holdings().values():
                if held.run is not None and held.run.phase is Phase.ACTIVE:
                    executor.remove_run(held.name, held.run.id)
            executor.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalBench]:
    """Local executors on a folder of this test alone."""
    bench = LocalBench(tmp_path / "Staging_Download")
    yield bench
    bench.close()


class TestLocal(ExecutorConformance):
    """Every test of the shared suite, on this machine."""
