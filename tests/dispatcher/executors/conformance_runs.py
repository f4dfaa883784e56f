"""Runs, their endings and their removal, as every executor must do them."""

from __future__ import annotations

import json
import time

import pytest

from contract import names
from contract.handoff import Assignment
from dispatcher.executors import Busy, Phase
from tests.dispatcher.executors.bench import WAITING, Bench, Stage, Steps, at_once, order

STOPPABLE: Steps = [["say", "ready"], ["until stopped", "told"]]


class RunConformance:
    """Part of `ExecutorConformance`."""

    def test_a_run_is_given_its_order(self, bench: Bench) -> None:
        """The program finds the whole order, its attempt and a sandbox it may write into."""
        steps: Steps = [["write", "file", "x"], ["say environment"], ["say arguments"]]
        stage = Stage(bench, order(steps, email="ä@example.com", nested={"a": [1, None]}))
        stage.start(3)
        assert stage.ended(3).phase is Phase.SUCCEEDED
        environment, arguments = map(json.loads, stage.executor.logs(stage.name))
        assert json.loads(environment["TASK"]) == json.loads(stage.task.dump())
        assert environment["ATTEMPT"] == "3"
        assert environment["SANDBOX"]
        assert "REPORT" not in environment
        assert arguments == []

    def test_a_run_is_started_once(self, bench: Bench) -> None:
        """The same attempt again is no second run: not while it lives, not after its end."""
        stage = Stage(bench, order([["append", "count", "x"], *WAITING]))
        assert stage.start() is True
        first = stage.run
        assert first is not None
        assert (first.attempt, first.phase, first.closing) == (1, Phase.ACTIVE, False)
        assert stage.executor.start_run(Assignment(stage.task, 1)) is False
        stage.open("gate")
        assert stage.ended().id == first.id
        assert stage.executor.start_run(Assignment(stage.task, 1)) is False
        assert stage.run is not None
        assert stage.run.id == first.id

    def test_of_many_that_start_a_run_one_does(self, bench: Bench) -> None:
        """Two dispatchers with two threads each start one run, and one of them started it."""
        stage = Stage(bench, order([["append", "count", "x"], *WAITING]))
        stage.executor.ensure_volume(stage.task)
        second = bench.executor()
        started = at_once(
            [stage.executor, second], lambda one: one.start_run(Assignment(stage.task, 1))
        )
        assert sorted(started) == [False, False, False, True]
        stage.open("gate")
        assert stage.ended().phase is Phase.SUCCEEDED

    def test_another_run_waits_for_an_active_one(self, bench: Bench) -> None:
        """Another attempt, or a closing run, is `Busy` while a run is active."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        with pytest.raises(Busy):
            stage.executor.start_run(Assignment(stage.task, 2))
        with pytest.raises(Busy):
            stage.executor.start_run(Assignment(stage.task, 2, report="{}"))
        stage.open("gate")
        assert stage.ended().attempt == 1

    def test_an_ended_run_is_replaced_by_the_next_attempt(self, bench: Bench) -> None:
        """The next attempt takes the ended run's place, on the same volume with its files."""
        first_steps: Steps = [["write", "kept", "x"], ["exit", 75]]
        then: Steps = [["exit if", "kept", 0], ["exit", 64]]
        stage = Stage(bench, order({"1": first_steps, "2": then}))
        first, volume = stage.start_and_end(1), stage.volume
        assert stage.start(2) is True
        second = stage.ended(2)
        assert second.id != first.id
        assert (first.phase, second.phase) == (Phase.FAILED, Phase.SUCCEEDED)
        assert stage.volume.id == volume.id

    def test_a_closing_run_speaks_for_the_dead_one(self, bench: Bench) -> None:
        """A run with a report is a closing run: told so by its argument, with the outcome."""
        told: Steps = [["say arguments"], ["say environment"]]
        stage = Stage(bench, order({"1": [["die"]], "report": told}))
        stage.start_and_end()
        report = json.dumps({"category": "crashed", "summary": "Es starb – ohne ein Wort."})
        assert stage.start(2, report) is True
        run = stage.ended(2, closing=True)
        assert (run.closing, run.phase) == (True, Phase.SUCCEEDED)
        arguments, environment = map(json.loads, stage.executor.logs(stage.name))
        assert arguments == ["report"]
        assert environment["REPORT"] == report

    @pytest.mark.parametrize("code", [0, 64, 75, 76, 143])
    def test_last_words_and_exit_code_are_known(self, bench: Bench, code: int) -> None:
        """An ended run tells its exit code and its last words, and when it was."""
        stage = Stage(bench, order([["exit", code]]))
        before = time.time()
        run = stage.start_and_end()
        assert run.phase is (Phase.FAILED if code else Phase.SUCCEEDED)
        ending = stage.executor.ending(stage.name, run)
        assert ending.exit == code
        assert ending.words is not None
        assert (ending.words.exit, ending.words.summary) == (code, f"The script said {code}.")
        assert run.started is not None
        assert run.ended is not None
        assert before - 5 <= run.started <= run.ended + 1 <= time.time() + 5

    @pytest.mark.parametrize(("step", "codes"), [(["exit silently", 1], {1}), (["die"], {137})])
    def test_a_run_that_died_without_a_word_has_none(
        self, bench: Bench, step: list[object], codes: set[int]
    ) -> None:
        """Without last words there are none, and a death by signal n has the code 128 + n."""
        stage = Stage(bench, order([step]))
        run = stage.start_and_end()
        assert run.phase is Phase.FAILED
        ending = stage.executor.ending(stage.name, run)
        assert ending.words is None
        assert ending.exit in codes

    def test_the_words_of_an_earlier_run_are_not_the_next_ones(self, bench: Bench) -> None:
        """A run that dies silently does not inherit what the run before it said."""
        stage = Stage(bench, order({"1": [["exit", 65]], "2": [["exit silently", 9]]}))
        stage.start_and_end(1)
        run = stage.start_and_end(2)
        ending = stage.executor.ending(stage.name, run)
        assert (ending.exit, ending.words) == (9, None)

    def test_a_later_run_is_never_replaced_by_an_earlier_one(self, bench: Bench) -> None:
        """A dispatcher that has slept may ask for what is long over; it gets no second run."""
        stage = Stage(bench, order({"1": [["exit", 0]], "2": [["exit", 64]]}))
        later = stage.start_and_end(2)
        assert not stage.executor.start_run(Assignment(stage.task, 1))
        assert stage.holding is not None
        assert stage.holding.run is not None
        assert stage.holding.run.id == later.id

    def test_the_ending_of_a_removed_run_is_unknown(self, bench: Bench) -> None:
        """Asking for the ending of a run that is gone is no error; it has no words."""
        stage = Stage(bench, order([["exit", 64]]))
        run = stage.start_and_end()
        stage.remove_run()
        assert stage.executor.ending(stage.name, run).words is None

    def test_an_ended_run_is_removed_and_the_volume_stays(self, bench: Bench) -> None:
        """Removing a run leaves the volume and its marks; removing it again is no error."""
        stage = Stage(bench, order())
        run = stage.start_and_end()
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        volume = stage.volume
        stage.remove_run()
        stage.executor.remove_run(stage.name, run.id)
        stage.executor.remove_run(names.object_name("never-was"), run.id)
        assert stage.volume == volume
        assert stage.again().run is None

    def test_only_that_very_run_is_removed(self, bench: Bench) -> None:
        """The id of an earlier run removes nothing."""
        stage = Stage(bench, order({"1": [["exit", 75]], "2": WAITING}))
        first = stage.start_and_end(1)
        stage.start(2)
        stage.printed("ready")
        stage.executor.remove_run(stage.name, first.id)
        stage.open("gate")
        assert stage.ended(2).phase is Phase.SUCCEEDED

    def test_an_active_run_that_is_removed_is_told_to_stop(self, bench: Bench) -> None:
        """`remove_run` sends SIGTERM, does not wait, and the run is gone once it ended."""
        stage = Stage(bench, order({"1": STOPPABLE, "2": [["exit if", "told", 0], ["exit", 64]]}))
        stage.start()
        stage.printed("ready")
        stage.remove_run()
        stage.start(2)
        assert stage.ended(2).phase is Phase.SUCCEEDED

    def test_a_run_that_is_going_away_is_in_the_way(self, bench: Bench) -> None:
        """While a removed run has not ended it shows as deleting, and everything else is `Busy`."""
        stage = Stage(bench, order([["deaf"], *WAITING]))
        stage.start()
        stage.printed("ready")
        assert stage.run is not None
        stage.executor.remove_run(stage.name, stage.run.id)
        stage.until(lambda: stage.run is None or stage.run.deleting, "the removal shows")
        assert stage.run is not None
        assert stage.run.phase is Phase.ACTIVE
        for attempt in (1, 2):
            with pytest.raises(Busy):
                stage.executor.start_run(Assignment(stage.task, attempt))
        with pytest.raises(Busy):
            stage.executor.remove_volume(stage.name, stage.volume.id)
        stage.open("gate")
        stage.until(lambda: stage.run is None, "the run is gone")

    def test_a_removed_attempt_can_be_started_again(self, bench: Bench) -> None:
        """Once a run is gone its attempt is free: starting it is a new run."""
        stage = Stage(bench, order([["exit", 75]]))
        first = stage.start_and_end()
        stage.remove_run()
        assert stage.start() is True
        assert stage.ended().id != first.id
