"""Volumes, their marks, and ids of any kind, as every executor must have them."""

from __future__ import annotations

import time

import pytest

from contract import names
from contract.handoff import Assignment
from dispatcher.executors import Busy, Outdated, Phase, Refused
from tests.dispatcher.executors.bench import WAITING, Bench, Stage, at_once, order

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


class VolumeConformance:
    """Part of `ExecutorConformance`."""

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
        made = at_once(
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
        stage.remove_volume()
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
        stage.remove_volume()
        stage.executor.remove_volume(stage.name, volume.id)
        stage.executor.remove_volume(names.object_name("never-was"), volume.id)
        assert stage.holding is None

    def test_a_volume_that_was_marked_since_the_look_stays(self, bench: Bench) -> None:
        """Whoever looked before another revived or pinned it is `Busy`, and may look again."""
        stage, other = Stage(bench, order()), bench.executor()
        stage.executor.ensure_volume(stage.task)
        seen = stage.volume
        other.mark(stage.name, {names.ATTEMPT: "2", names.PINNED: "yes"})
        with pytest.raises(Busy):
            stage.executor.remove_volume(stage.name, seen.id, seen.version)
        again = Stage(bench, stage.task)
        assert again.marks()[names.PINNED] == "yes"

        def remove() -> bool:
            again.executor.remove_volume(again.name, again.volume.id, again.volume.version)
            return True

        again.insist(remove)
        again.until(lambda: again.holding is None, "the volume is gone")

    def test_a_volume_with_an_active_run_stays(self, bench: Bench) -> None:
        """`remove_volume` is `Busy` while a run has the volume, and the run goes on unharmed."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        stage.printed("ready")
        with pytest.raises(Busy):
            stage.executor.remove_volume(stage.name, stage.volume.id)
        stage.open("gate")
        assert stage.ended().phase is Phase.SUCCEEDED

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
        assert stage.own_marks() == wanted
        assert stage.again().own_marks() == wanted

    def test_marks_can_be_set_while_a_run_works(self, bench: Bench) -> None:
        """The record is ours also while the program uses the volume; the run goes on."""
        stage = Stage(bench, order(WAITING))
        stage.start()
        stage.executor.mark(stage.name, {names.PINNED: "yes"})
        assert stage.marks()[names.PINNED] == "yes"
        stage.open("gate")
        assert stage.ended().phase is Phase.SUCCEEDED
        assert stage.marks()[names.PINNED] == "yes"

    def test_marks_by_an_old_look_are_not_made(self, bench: Bench) -> None:
        """Whoever looked before another changed the record is `Outdated`, and undoes nothing of
        it; by a look that is still true the marks are made, and the next look has its version.
        """
        stage, other = Stage(bench, order()), bench.executor()
        stage.executor.ensure_volume(stage.task)
        seen = stage.volume
        other.mark(stage.name, {names.OUTCOME: '{"category":"cancelled"}'})
        with pytest.raises(Outdated):
            stage.executor.mark(stage.name, {names.OUTCOME: None, names.ATTEMPT: "9"}, seen.version)
        again = Stage(bench, stage.task)
        assert again.marks()[names.OUTCOME] == '{"category":"cancelled"}'
        assert again.marks()[names.ATTEMPT] == "1"

        def mark(number: str) -> bool:
            again.executor.mark(again.name, {names.ATTEMPT: number}, again.volume.version)
            return True

        assert again.insist(lambda: mark("2"))
        assert again.insist(lambda: mark("3"))
        assert again.marks()[names.ATTEMPT] == "3"

    def test_marks_by_a_look_on_a_gone_volume_are_ignored(self, bench: Bench) -> None:
        """Also with a version: there is nothing that could be undone."""
        stage = Stage(bench, order())
        stage.executor.ensure_volume(stage.task)
        seen = stage.volume
        stage.remove_volume()
        stage.executor.mark(stage.name, {names.PINNED: "yes"}, seen.version)
        assert stage.holding is None

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
        stage.remove_volume()

    def test_ids_that_look_alike_are_two_tasks(self, bench: Bench) -> None:
        """Ids that differ only in case or in odd characters have volumes of their own."""
        executor = bench.executor()
        tasks = [order(task_id=each) for each in ("Look a", "look a", "look-a", "look/a", "Look-A")]
        assert [executor.ensure_volume(task) for task in tasks] == [True] * len(tasks)
        volumes = [Stage(bench, task, executor).volume for task in tasks]
        assert len({volume.id for volume in volumes}) == len(tasks)
        assert [v.marks[names.MESSAGE] for v in volumes] == [task.dump() for task in tasks]
