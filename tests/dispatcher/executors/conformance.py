"""What every executor must do, told once: each sentence of `Executor` as a test on real runs.

A module of its own per executor makes it collectable: a subclass of `ExecutorConformance`, and a
fixture `bench` (see `Bench`). Programs run for real, with `program.py` as the job's program.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from contract import names
from contract.handoff import Assignment
from dispatcher.executors import Busy, Executor, Phase, Refused
from tests.dispatcher.executors.bench import Bench, Script, Stage, order

WAITING: Script = [["say", "ready"], ["wait for", "gate"]]
STOPPABLE: Script = [["say", "ready"], ["until stopped", "told"]]
ODD_IDS = [
    999,
    -5,
    "../../etc/passwd",
    "..",
    ".",
    "a/b\\c",
    "Kurs-Übung ñ 日本語 🎓",
    "UPPER.lower_1",
    "x" * 200,
    " spaces  inside ",
    "-n",
    "%00;$(reboot)`'\"",
]


class ExecutorConformance:
    """Subclass it as `Test…` and give it a fixture `bench`."""

    # --- volumes ----------------------------------------------------------------------------------

    def test_a_new_volume_carries_its_message_and_attempt_one(self, bench: Bench) -> None:
        """`ensure_volume` makes the volume with MESSAGE and ATTEMPT=1, at once in `holdings`."""
        stage = Stage(bench, order(colour="blue"))
        before = time.time()
        assert stage.executor.ensure_volume(stage.task) is True
        assert stage.holding is not None
        assert stage.holding.name == stage.name
        assert stage.holding.run is None
        assert stage.marks()[names.MESSAGE] == stage.task.dump()
        assert stage.marks()[names.ATTEMPT] == "1"
        assert before - 5 <= stage.volume.created <= time.time() + 5
        assert stage.volume.deleting is False

    def test_the_same_volume_is_made_once(self, bench: Bench) -> None:
        """Asked for again, also with another message of the same id, the volume stays as it is."""
        stage = Stage(bench, order())
        stage.executor.ensure_volume(stage.task)
        stage.executor.mark(stage.name, {names.ATTEMPT: "3"})
        volume = stage.volume
        assert stage.executor.ensure_volume(stage.task) is False
        assert stage.executor.ensure_volume(order(task_id=stage.task.task_id, other=1)) is False
        assert stage.volume == volume

    def test_a_volume_of_another_task_is_refused(self, bench: Bench) -> None:
        """A name that is another task's is `Refused`, both its volume and a run on it."""
        stage = Stage(bench, order())
        stage.executor.ensure_volume(stage.task)
        stage.executor.mark(stage.name, {names.MESSAGE: order().dump()})
        with pytest.raises(Refused):
            stage.executor.ensure_volume(stage.task)
        with pytest.raises(Refused):
            stage.executor.start_run(Assignment(stage.task, 1))
        assert stage.run is None

    def test_of_many_that_make_a_volume_one_does(self, bench: Bench) -> None:
        """Two dispatchers with two threads each make one volume, and one of them made it."""
        stage = Stage(bench, order())
        made = _at_once(
            [stage.executor, bench.executor()], lambda one: one.ensure_volume(stage.task)
        )
        assert sorted(made) == [False, False, False, True]

    def test_a_removed_volume_is_gone_and_can_be_made_anew(self, bench: Bench) -> None:
        """`remove_volume` removes for good; the same task's next volume is another one, empty."""
        stage = Stage(bench, order({"1": [["write", "left", "x"]], "2": [["exit if", "left", 64]]}))
        stage.start_and_end()
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        old = stage.volume
        stage.remove_run()
        _remove_volume(stage)
        assert stage.insist(lambda: stage.executor.ensure_volume(stage.task)) is True
        assert stage.volume.id != old.id
        assert names.PINNED not in stage.marks()
        assert stage.start_and_end(2).phase is Phase.SUCCEEDED

    def test_only_that_very_volume_is_removed(self, bench: Bench) -> None:
        """An id of an earlier volume removes nothing; a removed volume is removed without ado."""
        stage = Stage(bench, order())
        stage.executor.ensure_volume(stage.task)
        stage.executor.remove_volume(stage.name, "8d6b1b1e-0000-4000-8000-000000000000")
        volume = stage.volume
        assert stage.again().volume == volume
        stage = Stage(bench, stage.task)
        _remove_volume(stage)
        stage.executor.remove_volume(stage.name, volume.id)
        stage.executor.remove_volume(names.object_name("never-was"), volume.id)
        assert stage.holding is None

    def test_a_volume_with_an_active_run_stays(self, bench: Bench) -> None:
        """`remove_volume` is `Busy` while a run has the volume, and the run goes on unharmed."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        stage.printed("ready")
        with pytest.raises(Busy):
            stage.executor.remove_volume(stage.name, stage.volume.id)
        stage.open("gate")
        assert stage.ended().phase is Phase.SUCCEEDED

    # --- runs -------------------------------------------------------------------------------------

    def test_a_run_is_given_its_order(self, bench: Bench) -> None:
        """The program finds the whole order, its attempt and a sandbox it may write into."""
        steps: Script = [["write", "file", "x"], ["say environment"], ["say arguments"]]
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
        started = _at_once(
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
        script: Script = {
            "1": [["write", "kept", "x"], ["exit", 75]],
            "2": [["exit if", "kept", 0]],
        }
        stage = Stage(bench, order({**script, "2": [*script["2"], ["exit", 64]]}))
        first, volume = stage.start_and_end(1), stage.volume
        assert stage.start(2) is True
        second = stage.ended(2)
        assert second.id != first.id
        assert (first.phase, second.phase) == (Phase.FAILED, Phase.SUCCEEDED)
        assert stage.volume.id == volume.id

    def test_a_closing_run_speaks_for_the_dead_one(self, bench: Bench) -> None:
        """A run with a report is a closing run: told so by its argument, with the outcome."""
        told: Script = [["say arguments"], ["say environment"]]
        stage = Stage(bench, order({"1": [["die"]], "report": told}))
        stage.start_and_end()
        report = json.dumps({"category": "crashed", "summary": "Es starb – ohne ein Wort."})
        assert stage.start(2, report) is True
        run = stage.ended(2, closing=True)
        assert (run.closing, run.phase) == (True, Phase.SUCCEEDED)
        arguments, environment = map(json.loads, stage.executor.logs(stage.name))
        assert arguments == ["report"]
        assert environment["REPORT"] == report

    # --- endings ----------------------------------------------------------------------------------

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

    def test_the_ending_of_a_removed_run_is_unknown(self, bench: Bench) -> None:
        """Asking for the ending of a run that is gone is no error; it has no words."""
        stage = Stage(bench, order([["exit", 64]]))
        run = stage.start_and_end()
        stage.remove_run()
        assert stage.executor.ending(stage.name, run).words is None

    # --- removing runs ----------------------------------------------------------------------------

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

    # --- marks ------------------------------------------------------------------------------------

    def test_marks_are_merged(self, bench: Bench) -> None:
        """Marks are set, changed and removed one by one; the others stay, at once and for good."""
        stage = Stage(bench, order())
        stage.executor.ensure_volume(stage.task)
        message = stage.marks()[names.MESSAGE]
        stage.executor.mark(stage.name, {names.PINNED: "yes", names.RETRY_AT: "17.5"})
        stage.executor.mark(stage.name, {names.RETRY_AT: "18", names.FAILURES: '{"ü":1}'})
        stage.executor.mark(stage.name, {names.PINNED: None, names.OUTCOME: None})
        wanted = {
            names.MESSAGE: message,
            names.ATTEMPT: "1",
            names.RETRY_AT: "18",
            names.FAILURES: '{"ü":1}',
        }
        assert _ours(stage) == wanted
        assert _ours(stage.again()) == wanted

    def test_marks_can_be_set_while_a_run_works(self, bench: Bench) -> None:
        """The record is ours also while the program uses the volume; the run goes on."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        assert stage.marks()[names.PINNED] == "yes"
        stage.open("gate")
        assert stage.ended().phase is Phase.SUCCEEDED
        assert stage.marks()[names.PINNED] == "yes"

    def test_marks_on_a_gone_volume_are_ignored(self, bench: Bench) -> None:
        """Marking what is not there makes nothing and fails nothing."""
        stage = Stage(bench, order())
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        assert stage.holding is None
        assert stage.again().holding is None

    def test_marks_of_two_writers_do_not_undo_each_other(self, bench: Bench) -> None:
        """Two dispatchers that mark different things leave both, however stale their views are."""
        stage = Stage(bench, order())
        stage.executor.ensure_volume(stage.task)
        other = bench.executor()
        for number in range(5):
            stage.executor.mark(stage.name, {names.RETRY_AT: str(number)})
            other.mark(stage.name, {names.EXPIRES_AT: str(number)})
        marks = stage.again().marks()
        assert (marks[names.RETRY_AT], marks[names.EXPIRES_AT]) == ("4", "4")

    # --- seeing -----------------------------------------------------------------------------------

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
        _remove_volume(stage)
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

    # --- logs -------------------------------------------------------------------------------------

    def test_the_log_is_the_newest_runs(self, bench: Bench) -> None:
        """`logs` yields what the newest run printed, line by line, without line breaks."""
        newest: Script = [["say", "två"], ["say", ""], ["say without end", "no end"]]
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

    # --- ids --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("task_id", ODD_IDS, ids=repr)
    def test_any_id_works(self, bench: Bench, task_id: int | str) -> None:
        """Whatever the id is made of, its task runs, is found again and can be removed."""
        stage = Stage(bench, order([["say", "ran"], ["exit", 66]], task_id))
        stage.start_and_end()
        stage = stage.again()
        run = stage.ended()
        assert stage.executor.ending(stage.name, run).exit == 66
        assert list(stage.executor.logs(stage.name)) == ["ran"]
        stage.remove_run()
        _remove_volume(stage)

    def test_ids_that_look_alike_are_two_tasks(self, bench: Bench) -> None:
        """Ids that differ only in case or in odd characters have volumes of their own."""
        executor = bench.executor()
        tasks = [order(task_id=each) for each in ("Look a", "look a", "look-a", "look/a", "Look-A")]
        assert [executor.ensure_volume(task) for task in tasks] == [True] * len(tasks)
        volumes = [Stage(bench, task, executor).volume for task in tasks]
        assert len({volume.id for volume in volumes}) == len(tasks)
        assert [v.marks[names.MESSAGE] for v in volumes] == [task.dump() for task in tasks]


def _ours(stage: Stage) -> dict[str, str]:
    """The marks that are ours: a cluster adds annotations of its own."""
    prefix = names.PREFIX + "/"
    return {name: text for name, text in stage.marks().items() if name.startswith(prefix)}


def _remove_volume(stage: Stage) -> None:
    """Remove the volume as soon as the executor lets us, and see it gone."""
    volume = stage.volume

    def remove() -> bool:
        stage.executor.remove_volume(stage.name, volume.id)
        return True

    stage.insist(remove)
    stage.until(lambda: stage.holding is None, "the volume is gone")


def _at_once(executors: list[Executor], verb: Callable[[Executor], bool]) -> list[bool]:
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
