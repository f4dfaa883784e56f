"""What the shared suite needs from whoever makes executors, and orders with a script in them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from contract.handoff import Assignment
from contract.names import PREFIX, object_name
from contract.task import Task
from dispatcher.executors import Busy, Executor, Holding, Phase, Run, Volume

PROGRAM_TEXT = (Path(__file__).parent / "program.py").read_text(encoding="utf-8")
"""For `python -c`: where it runs, the tests' folder need not be."""


class Bench(Protocol):
    """Makes executors that all work on the same folder, or cluster and namespace."""

    patience: float
    """Seconds within which anything that must happen happens."""

    def executor(self) -> Executor:
        """Return another, started executor; the bench closes it unless the test does."""

    def open_gate(self, task: Task, gate: str) -> None:
        """Make an empty file of that name in the task's sandbox, where its run waits for it."""


Steps = list[list[Any]]
Script = Steps | dict[str, Steps]
WAITING: Steps = [["say", "ready"], ["wait for", "gate"]]
"""A script that goes on until the test opens the gate."""


def order(script: Script | None = None, task_id: int | str | None = None, **extra: Any) -> Task:
    """Return a task that nobody else has, whose run does what `script` says (see `program`)."""
    return Task(
        task_id=f"t{uuid.uuid4().hex[:12]}" if task_id is None else task_id,
        course_url="https://portal.invalid/course/any/",
        extra={"script": script or [], **extra},
    )


class Stage:
    """One executor and one task on a bench, and the waiting that real processes need."""

    def __init__(self, bench: Bench, task: Task, executor: Executor | None = None) -> None:
        self.bench = bench
        self.task = task
        self.name = object_name(task.key)
        self.executor = executor or bench.executor()

    def again(self) -> Stage:
        """Close the executor and return the same stage with a new one, as after a restart."""
        self.executor.close()
        return Stage(self.bench, self.task)

    @property
    def holding(self) -> Holding | None:
        """What the executor holds of the task."""
        return self.executor.holdings().get(self.name)

    @property
    def volume(self) -> Volume:
        """The task's volume, which must be there."""
        assert self.holding is not None
        assert self.holding.volume is not None
        return self.holding.volume

    @property
    def run(self) -> Run | None:
        """The task's run, if there is one."""
        return self.holding.run if self.holding else None

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for the executor's changes until `holds`; fail when patience is at its end."""
        deadline = time.monotonic() + self.bench.patience
        while not holds():
            assert time.monotonic() < deadline, f"{what}: still not, holding {self.holding}"
            self.executor.wait(0.5)

    def insist(self, verb: Callable[[], bool]) -> bool:
        """Call a verb again and again while it says `Busy`."""
        deadline = time.monotonic() + self.bench.patience
        while True:
            try:
                return verb()
            except Busy:
                assert time.monotonic() < deadline, "still Busy"
                self.executor.wait(0.5)

    def start(self, attempt: int = 1, report: str | None = None) -> bool:
        """Make the volume if need be, and start a run as soon as the executor lets us."""
        self.insist(lambda: self.executor.ensure_volume(self.task))
        assignment = Assignment(self.task, attempt, report)
        return self.insist(lambda: self.executor.start_run(assignment))

    def ended(self, attempt: int = 1, *, closing: bool = False) -> Run:
        """Wait for the end of that run and return it."""

        def over() -> bool:
            run = self.run
            found = run is not None and (run.attempt, run.closing) == (attempt, closing)
            return found and run is not None and run.phase is not Phase.ACTIVE

        self.until(over, f"run {attempt} ended")
        assert self.run is not None
        return self.run

    def start_and_end(self, attempt: int = 1) -> Run:
        """Start a run and return it when it ended."""
        self.start(attempt)
        return self.ended(attempt)

    def printed(self, line: str) -> None:
        """Wait until the run printed that line: then the program works."""
        self.until(lambda: line in self.executor.logs(self.name), f"the run printed {line!r}")

    def open(self, gate: str) -> None:
        """Open a gate of the task's run."""
        self.bench.open_gate(self.task, gate)

    def remove_run(self) -> None:
        """Remove the run and wait until it is gone."""
        if self.run is not None:
            self.executor.remove_run(self.name, self.run.id)
        self.until(lambda: self.run is None, "the run is gone")

    def marks(self) -> Mapping[str, str]:
        """The marks on the volume."""
        return self.volume.marks

    def own_marks(self) -> dict[str, str]:
        """The marks that are ours: a cluster adds annotations of its own."""
        prefix = PREFIX + "/"
        return {name: text for name, text in self.marks().items() if name.startswith(prefix)}

    def remove_volume(self) -> None:
        """Remove the volume as soon as the executor lets us, and see it gone."""
        volume = self.volume

        def remove() -> bool:
            self.executor.remove_volume(self.name, volume.id)
            return True

        self.insist(remove)
        self.until(lambda: self.holding is None, "the volume is gone")


def at_once(executors: list[Executor], verb: Callable[[Executor], bool]) -> list[bool]:
    """Call `verb` in two threads per executor at the same moment; all must return."""
    crowd = [*executors, *executors]
    barrier = threading.Barrier(len(crowd))
    answers: list[bool] = []

    def join(executor: Executor) -> None:
        barrier.wait()
        answers.append(verb(executor))

    threads = [threading.Thread(target=join, args=(each,)) for each in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(crowd)
    return answers
