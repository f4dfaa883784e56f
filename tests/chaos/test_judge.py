"""The judge of the chaos must see what it is there for: each kind of loss and of duplicate."""

from __future__ import annotations

from typing import Any

from tests.chaos import judge


def line(event: str, at: float, attempt: int = 1, *, pid: int = 1, step: str = "") -> judge.Entry:
    """A line of the journal, of task "t"."""
    entry: dict[str, Any] = {"event": event, "task": "t", "kind": "run", "step": step}
    return entry | {"attempt": attempt, "pid": pid, "at": at}


def a_run(began: float, ended: float, attempt: int, how: str = "end") -> list[judge.Entry]:
    """A run with one effect."""
    return [
        line("start", began, attempt, pid=attempt),
        line("effect", began, attempt, pid=attempt, step="upload"),
        line(how, ended, attempt, pid=attempt),
    ]


def test_one_run_after_the_other_is_no_duplicate() -> None:
    second = [line("start", 3, 2, pid=2), line("end", 4, 2, pid=2)]
    assert judge.duplicates([*a_run(1, 2, 1), *second]) == []


def test_a_run_beside_another_of_its_task_is_a_duplicate() -> None:
    second = [line("start", 1.5, 2, pid=2), line("end", 4, 2, pid=2)]
    found = judge.duplicates([*a_run(1, 2, 1), *second])
    assert found == ["task t: run 2 began while run 1 was alive"]


def test_an_effect_done_twice_is_a_duplicate_unless_the_run_before_was_killed() -> None:
    again = a_run(3, 4, 2)
    assert judge.duplicates([*a_run(1, 2, 1), *again]) == ["task t: upload was done twice"]
    assert judge.duplicates([*a_run(1, 2, 1, "killed"), *again]) == []


def test_the_same_attempt_twice_is_a_duplicate() -> None:
    second = [line("start", 3, 1, pid=2), line("end", 4, 1, pid=2)]
    found = judge.duplicates([*a_run(1, 2, 1), *second])
    assert found == ["task t: ('run', 1) was done twice"]


def test_two_writers_on_one_volume_are_a_duplicate() -> None:
    found = judge.duplicates([*a_run(1, 2, 1), line("clash", 1.5, 1, pid=9)])
    assert found == ["task t: two writers on one volume"]


def test_a_task_without_its_end_is_a_loss() -> None:
    must = {"a": "completed", "b": "failed", "c": "completed"}
    found = judge.losses(must, {"a": "completed", "b": "completed", "c": ""})
    assert found == [
        "task b: must be failed, is completed",
        "task c: must be completed, is unknown",
    ]


def test_most_runs_at_one_moment_are_counted() -> None:
    journal = [line("start", n, n, pid=n) for n in (1, 2, 3)]
    journal += [line("end", 2.5, 1, pid=1), line("end", 9, 2, pid=2), line("end", 9, 3, pid=3)]
    assert judge.peak(journal) == 2


def test_any_loss_or_duplicate_is_unlawful() -> None:
    assert judge.Report().lawful
    assert not judge.Report(losses=["a"]).lawful
    assert not judge.Report(duplicates=["a"]).lawful
