"""The Kubernetes executor passes, on a real cluster, the suite that every executor passes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from contract.names import object_name
from contract.task import Task
from dispatcher.executors import Phase
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from tests.dispatcher.executors.bench import PROGRAM_TEXT, Bench, Stage, order
from tests.dispatcher.executors.conformance import ExecutorConformance
from tests.dispatcher.kubernetes_executor.namespaces import namespace, need_cluster, settings, tried

pytestmark = pytest.mark.cluster


class ClusterBench:
    """Kubernetes executors in one namespace."""

    patience = 90.0

    def __init__(self, name: str) -> None:
        self.namespace = name
        self._made: list[KubernetesExecutor] = []

    def executor(self) -> KubernetesExecutor:
        """Return another executor, as another dispatcher's process would have it."""
        chosen = settings(self.namespace, command=("python3", "-c", PROGRAM_TEXT), backoff_limit=0)
        made = KubernetesExecutor(chosen, os.environ)
        self._made.append(made)
        made.start()
        return made

    def open_gate(self, task: Task, gate: str) -> None:
        """Make the file from inside, as soon as the container runs."""
        job = f"job/{object_name(task.key)}"
        touch = ("exec", job, "-n", self.namespace, "--", "touch", f"/sandbox/{gate}")
        deadline = time.monotonic() + self.patience
        while tried(*touch).returncode != 0:
            assert time.monotonic() < deadline, f"{job} does not run"

    def close(self) -> None:
        """Close all executors."""
        for executor in self._made:
            executor.close()


@pytest.fixture(scope="module")
def restricted() -> Iterator[str]:
    """A namespace for all tests of this module."""
    need_cluster()
    with namespace() as name:
        yield name


@pytest.fixture
def bench(restricted: str) -> Iterator[ClusterBench]:
    """Kubernetes executors in the module's namespace."""
    bench = ClusterBench(restricted)
    yield bench
    bench.close()


class TestKubernetes(ExecutorConformance):
    """The shared suite on a cluster."""

    @pytest.mark.parametrize("code", [0, 64, 75, 76])
    def test_last_words_and_exit_code_are_known(self, bench: Bench, code: int) -> None:
        """As shared, but for 143: a run that was told to stop is begun anew by its Job."""
        super().test_last_words_and_exit_code_are_known(bench, code)

    def test_a_run_that_was_told_to_stop_ends(self, bench: Bench) -> None:
        """Exit code 143 ends the Job, which would not count: the dispatcher starts the next run."""
        again = [["exit if", "begun", 64], ["write", "begun", "x"], ["exit", 143]]
        stage = Stage(bench, order(again))
        stage.start()
        run = stage.ended()
        assert run.phase is Phase.FAILED
        assert stage.executor.ending(stage.name, run).exit == 143
