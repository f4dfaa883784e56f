"""What follows when a run does not begin, and when a volume is full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contract.outcome import CATEGORIES, ExitCode
from contract.task import quantity_bytes
from dispatcher.executors import Obstacle, Phase
from dispatcher.record import Judged, Record
from dispatcher.settings import Limits
from dispatcher.verdict import is_late, judge, judge_obstacle
from tests.dispatcher.tasks import NOW, ending, run, task

LIMITS = Limits()
RECORD = Record(task())
GIB = 2**30
PENDING = run(started=NOW - LIMITS.pending)
IMAGE = Obstacle("image_missing", "image pull: not found", "Load it.", NOW - LIMITS.pending)
FULL = ending(73, "volume_full")
FAILED = run(phase=Phase.FAILED)


def test_a_run_is_late_when_it_has_not_begun_for_so_long() -> None:
    """Neither one that works, nor one that goes away, nor one that has just been made."""
    assert is_late(PENDING, LIMITS, NOW)
    assert not is_late(PENDING, LIMITS, NOW - 1)
    assert not is_late(replace(PENDING, working=True), LIMITS, NOW)
    assert not is_late(replace(PENDING, deleting=True), LIMITS, NOW)
    assert not is_late(replace(PENDING, phase=Phase.FAILED), LIMITS, NOW)
    assert not is_late(None, LIMITS, NOW)


def test_what_will_not_end_by_itself_ends_the_run_and_says_what_it_is() -> None:
    """The task is tried again by the schedule of passing failures, and has its own budget."""
    known = RECORD
    for wait in LIMITS.temporary:
        verdict = judge_obstacle(PENDING, IMAGE, known, LIMITS, NOW)
        assert verdict is not None
        assert verdict.retry_at == NOW + wait
        assert (verdict.outcome.category, verdict.outcome.summary, verdict.outcome.advice) == (
            "image_missing",
            "image pull: not found",
            "Load it.",
        )
        known = replace(known, failures=verdict.failures or {})
    last = judge_obstacle(PENDING, IMAGE, known, LIMITS, NOW)
    assert last is not None
    assert last.retry_at is None
    assert last.report


@pytest.mark.parametrize(
    "obstacle",
    [None, replace(IMAGE, category=""), replace(IMAGE, since=NOW - LIMITS.pending + 1)],
    ids=["nothing is known", "a quota", "a young pod of an old Job"],
)
def test_what_is_worth_the_wait_has_it(obstacle: Obstacle | None) -> None:
    assert judge_obstacle(PENDING, obstacle, RECORD, LIMITS, NOW) is None


def test_a_closing_run_that_cannot_begin_leaves_the_tasks_own_outcome() -> None:
    """It is tried again like any closing run, and the reason of the failure is not overwritten."""
    known = replace(RECORD, outcome=Judged("auth_expired", "Expired.", report=True))
    verdict = judge_obstacle(replace(PENDING, closing=True), IMAGE, known, LIMITS, NOW)
    assert verdict is not None
    assert (verdict.outcome.category, verdict.report) == ("auth_expired", True)
    assert verdict.retry_at == NOW + LIMITS.temporary[0]


def test_a_full_volume_is_doubled_once_and_tried_again_at_once() -> None:
    known = replace(RECORD, size=20 * GIB)
    verdict = judge(FAILED, FULL, known, LIMITS, NOW)
    assert (verdict.grow, verdict.retry_at, verdict.report) == (40 * GIB, NOW, False)
    again = judge(FAILED, FULL, replace(known, failures=verdict.failures or {}), LIMITS, NOW)
    assert (again.grow, again.retry_at, again.report) == (0, None, True)


def test_a_volume_that_has_grown_before_a_crash_is_not_doubled_again() -> None:
    """The aim was noted first; judged again, it is asked for again, and it is there already."""
    known = replace(RECORD, size=40 * GIB, grow_to=40 * GIB)
    verdict = judge(FAILED, FULL, known, LIMITS, NOW)
    assert (verdict.grow, verdict.retry_at) == (40 * GIB, NOW)


@pytest.mark.parametrize("size", [0, 51 * GIB])
def test_a_volume_of_unknown_size_or_near_the_limit_is_not_grown(size: int) -> None:
    verdict = judge(FAILED, FULL, replace(RECORD, size=size), LIMITS, NOW)
    assert (verdict.grow, verdict.retry_at) == (0, None)
    assert verdict.outcome.category == CATEGORIES[ExitCode.VOLUME_FULL]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20Gi", 20 * GIB),
        ("1.5Ki", 1536),
        ("2G", 2_000_000_000),
        ("3k", 3000),
        ("2Mi", 2 << 20),
        ("1Ti", 1 << 40),
        ("1P", 10**15),
        ("7", 7),
        ("", 0),
        ("large", 0),
    ],
)
def test_a_quantity_in_bytes(text: str, size: int) -> None:
    assert quantity_bytes(text) == size
