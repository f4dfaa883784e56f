"""What an executor sees, hears and tells, after a restart too."""

from __future__ import annotations

import time

from contract import names
from contract.handoff import Assignment
from dispatcher.executors import Phase
from tests.dispatcher.executors.bench import WAITING, Bench, Stage, Steps, order


class ViewConformance:
    """Part of `ExecutorConformance`."""

    def test_waiting_ends_when_a_run_ends(self, bench: Bench) -> None:
        """`wait` returns true soon after a run ended, and false when nothing happens."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        stage.printed("ready")
        deadline = time.monotonic() + bench.patience
        while stage.executor.wait(1.0):
            assert time.monotonic() < deadline, "it is never quiet"
        stage.open("gate")
        assert stage.executor.wait(bench.patience) is True
        assert stage.ended().phase is Phase.SUCCEEDED

    def test_what_another_dispatcher_does_is_seen(self, bench: Bench) -> None:
        """Volumes, marks, runs and removals of another executor show up, and `wait` returns."""
        stage = Stage(bench, order([["exit", 64]]))
        watching = Stage(bench, stage.task)
        stage.executor.ensure_volume(stage.task)
        watching.until(lambda: watching.holding is not None, "the volume shows")
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        watching.until(lambda: watching.marks().get(names.PINNED) == "yes", "the mark shows")
        stage.start_and_end()
        run = watching.ended()
        assert watching.executor.ending(stage.name, run).exit == 64
        stage.remove_run()
        watching.until(lambda: watching.run is None, "the run's removal shows")
        stage.remove_volume()
        watching.until(lambda: watching.holding is None, "the volume's removal shows")

    def test_a_new_dispatcher_finds_everything(self, bench: Bench) -> None:
        """Closed and made anew, an executor holds the same, and a run has gone on meanwhile."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        stage.printed("ready")
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        before = stage.holding
        stage = stage.again()
        assert stage.holding == before
        assert stage.executor.start_run(Assignment(stage.task, 1)) is False
        stage.executor.close()
        stage.open("gate")
        stage = Stage(bench, stage.task)
        run = stage.ended()
        assert before is not None
        assert before.run is not None
        assert (run.id, run.phase) == (before.run.id, Phase.SUCCEEDED)
        ending = stage.executor.ending(stage.name, run)
        assert ending.exit == 0
        assert ending.words is not None

    def test_all_is_well(self, bench: Bench) -> None:
        """`trouble` is empty while everything works."""
        stage = Stage(bench, order())
        stage.start_and_end()
        assert stage.executor.trouble() == ""

    def test_the_log_is_the_newest_runs(self, bench: Bench) -> None:
        """`logs` yields what the newest run printed, line by line, without line breaks."""
        newest: Steps = [["say", "två"], ["say", ""], ["say without end", "no end"]]
        stage = Stage(bench, order({"1": [["say", "one"], ["exit", 75]], "2": newest}))
        stage.start_and_end(1)
        assert list(stage.executor.logs(stage.name)) == ["one"]
        stage.start_and_end(2)
        assert list(stage.executor.logs(stage.name)) == ["två", "", "no end"]

    def test_a_log_is_followed_to_the_end_of_its_run(self, bench: Bench) -> None:
        """Followed, lines come while the run works, and the log ends with the run."""
        stage = Stage(bench, order([*WAITING, ["say", "after"]]))
        stage.start()
        stage.printed("ready")
        lines = stage.executor.logs(stage.name, follow=True)
        assert next(lines) == "ready"
        stage.open("gate")
        assert list(lines) == ["after"]

    def test_there_is_no_log_of_what_never_ran(self, bench: Bench) -> None:
        """A task without a run, or no task at all, has no lines, followed or not."""
        stage = Stage(bench, order())
        assert list(stage.executor.logs(stage.name)) == []
        stage.executor.ensure_volume(stage.task)
        assert list(stage.executor.logs(stage.name)) == []
        assert list(stage.executor.logs(stage.name, follow=True)) == []
