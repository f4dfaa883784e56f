"""From fields to rows: speed, time left, timeline."""

from __future__ import annotations

from dispatcher.web.facts import Moment
from dispatcher.web.rows import changed, told


def update(count: int, at: float, **more: str) -> dict[str, str]:
    """One update of a run's progress."""
    return {"phase": "fetch", "bytes": str(count), "updated": str(at), "attempt": "1", **more}


BEGUN = changed(None, "7", update(0, 100.0, status="running", total_bytes="1000"))


def test_speed_and_time_left_come_from_two_updates() -> None:
    row = changed(BEGUN, "7", update(200, 102.0))
    assert (row.speed, row.eta) == (100.0, 8.0)


def test_another_phase_begins_without_a_speed() -> None:
    row = changed(changed(BEGUN, "7", update(200, 102.0)), "7", update(5, 103.0, phase="upload"))
    assert (row.speed, row.eta) == (None, None)


def test_a_task_that_does_not_run_has_no_speed() -> None:
    row = changed(BEGUN, "7", update(200, 102.0, status="waiting"))
    assert row.speed is None


def test_what_is_no_number_is_not_known_and_no_error() -> None:
    row = changed(None, "7", {"percent": "much", "attempt": "nan", "updated": "1e400"})
    assert (row.percent, row.attempt, row.updated) == (None, None, None)


def test_progress_within_a_phase_adds_nothing_to_the_timeline() -> None:
    story: tuple[Moment, ...] = ()
    for at, event in enumerate(
        [
            {"status": "running", "attempt": "1", "message": ""},
            {"phase": "fetch", "attempt": "1"},
            {"phase": "fetch", "attempt": "1"},
            {"phase": "upload", "attempt": "1"},
            {"status": "waiting", "message": "The remote is away."},
            {"status": "running", "attempt": "2", "message": ""},
        ]
    ):
        story = told(story, event, float(at))
    said = [(moment.what, moment.attempt, moment.detail) for moment in story]
    assert said == [
        ("running", 1, ""),
        ("fetch", 1, ""),
        ("upload", 1, ""),
        ("waiting", 1, "The remote is away."),
        ("running", 2, ""),
    ]
