"""What is under way, in numbers and words: speeds from what runs say, and texts that do no harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.terminal import words
from dispatcher.terminal.lookout import Sight
from dispatcher.terminal.moving import SILENT, Moving, moved

NOW = 1_768_233_600.0


def fields(done: int, at: float, **more: str) -> dict[str, str]:
    """A running task's hash."""
    usual = {"status": "running", "phase": "fetch", "attempt": "1", "total_bytes": "1000"}
    return {**usual, "bytes": str(done), "updated": f"{at:.3f}", "percent": "10.0", **more}


def test_a_speed_is_made_of_the_runs_own_times_not_of_the_looks() -> None:
    first = moved(None, "7", fields(100, NOW))
    assert first.speed is None
    second = moved(first, "7", fields(300, NOW + 2))
    assert second.speed == 100.0
    assert moved(second, "7", fields(300, NOW + 2)).speed == 100.0, "nothing new, nothing changes"
    assert second.left_at(NOW + 2) == 7.0


def test_a_newer_speed_counts_more_but_not_alone() -> None:
    task = moved(moved(None, "7", fields(0, NOW)), "7", fields(100, NOW + 1))
    faster = moved(task, "7", fields(300, NOW + 2)).speed
    assert faster is not None
    assert 100 < faster < 200


@pytest.mark.parametrize("change", [{"phase": "upload"}, {"attempt": "2"}, {"status": "completed"}])
def test_another_phase_or_run_begins_without_a_speed(change: dict[str, str]) -> None:
    task = moved(moved(None, "7", fields(0, NOW)), "7", fields(100, NOW + 1))
    assert moved(task, "7", fields(200, NOW + 2, **change)).speed is None


def test_the_speed_of_a_run_that_has_gone_silent_is_not_believed() -> None:
    task = moved(moved(None, "7", fields(0, NOW)), "7", fields(100, NOW + 1))
    assert task.speed_at(NOW + SILENT) == 100.0
    assert task.speed_at(NOW + 1 + SILENT) is None
    assert task.left_at(NOW + 1 + SILENT) is None


@given(st.dictionaries(st.sampled_from(sorted(fields(0, 0.0))), st.text(max_size=20)), st.floats())
def test_whatever_is_written_on_the_board_is_shown_in_one_line_and_moves_no_cursor(
    odd: dict[str, str], now: float
) -> None:
    task = moved(moved(None, "7\x1b[2J", fields(0, NOW)), "7\x1b[2J", {**fields(1, NOW), **odd})
    for text in (words.line(task, now), words.slots(Sight(at=now, tasks={"7": task}))):
        assert text.isprintable()
    assert words.rates(Sight(at=now, tasks={"7": task}))
    assert 0 <= task.percent <= 100


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 KB"), (9994, "9.99 KB"), (9999, "10.0 KB"),
     (123_456_789, "123 MB"), (999_600, "1.00 MB"), (5e15, "5000 TB")],
)  # fmt: skip
def test_sizes_have_three_digits(count: float, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, "0s"), (59.9, "59s"), (125, "2m05s"), (3720, "1h02m")]
)
def test_times_are_short(seconds: float | None, text: str) -> None:
    assert words.lasts(seconds) == text


def test_a_line_says_all_that_is_known_and_nothing_that_is_not() -> None:
    task = Moving("7", "running", "fetch", 12.34, 123_000, 1_000_000, "2", "Lecture 3", NOW, 1000.0)
    assert words.line(task, NOW) == (
        "task 7  running  fetch  12.3%  123 KB of 1.00 MB  1.00 KB/s  14m37s left  run 2  Lecture 3"
    )
    assert words.line(Moving("7", "completed", says="Done."), NOW) == "task 7  completed  Done."


def test_slots_and_rates_are_told_in_a_line_each() -> None:
    one = Moving("1", "running", "fetch", updated=NOW, speed=2e6)
    two = replace(one, task="2", speed=1e6)
    three = replace(one, task="3", phase="upload", speed=None)
    sight = Sight(
        at=NOW,
        tasks={task.task: task for task in (one, two, three)},
        counts={"running": 3, "failed": 2},
        ended={"completed": 4},
        queued=9,
        state={"active": 3, "max_active": 5, "trouble": ""},
        pause={"at": NOW, "why": "upgrade"},
    )
    said = "3 of 5 slots in use, 9 queued, 2 failed, intake is paused upgrade"
    assert words.slots(sight) == said
    assert words.rates(sight) == "fetch 3.00 MB/s, upload 0 B/s; last hour: 4 completed"
    silent = replace(sight, state={}, pause={}, counts={}, queued=0)
    assert words.slots(silent).startswith("3 running, no dispatcher has spoken for a minute")


def test_tasks_are_in_the_order_of_their_numbers() -> None:
    tasks = {key: Moving(key, "running") for key in ("10", "9", "x", "1")}
    assert [task.task for task in Sight(NOW, tasks).moving] == ["1", "9", "x", "10"]
