"""The order's row: every move that is allowed, on each of the three databases, and no other."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from tests.job_image.deliver.bases import Base, move
from tests.job_image.deliver.run import Runs, until

STATES = ("queued", "running", "completed", "failed", "cancelled")


# --- which moves there are ------------------------------------------------------------------------
@pytest.mark.parametrize("state", STATES[1:])
def test_a_waiting_row_moves_anywhere(base: Base, runs: Runs, state: str) -> None:
    base.tasks()
    run = runs(DATABASE_URL=base.url)
    move(run, state)
    assert base.row() == (state,)
    assert run.lines("DB") == [f"tasks.id=999 is {state} now."]


@pytest.mark.parametrize("state", STATES[1:])
def test_a_repeated_move_is_success(base: Base, runs: Runs, state: str) -> None:
    base.tasks()
    run = runs(DATABASE_URL=base.url)
    move(run, state)
    move(run, state)
    assert base.row() == (state,)


@pytest.mark.parametrize(
    ("before", "state"),
    [
        *[("completed", state) for state in ("running", "failed", "cancelled")],
        *[("cancelled", state) for state in ("running", "completed", "failed")],
        *[("failed", state) for state in ("running", "cancelled")],
    ],
)
def test_a_final_row_stays_and_that_is_no_error(
    base: Base, runs: Runs, before: str, state: str
) -> None:
    base.tasks(status=before)
    run = runs(DATABASE_URL=base.url)
    move(run, state)
    assert base.row() == (before,)
    assert run.lines("DB") == [
        f'tasks.id=999 is "{before}" and stays so; it does not become {state}.'
    ]


def test_a_failed_row_becomes_completed_and_loses_its_error(base: Base, runs: Runs) -> None:
    base.tasks()
    run = runs(DATABASE_URL=base.url, DB_ERROR_COLUMN="error")
    move(run, "failed", "no network")
    assert base.row("status, error") == ("failed", "no network")
    move(run, "completed")
    assert base.row("status, error") == ("completed", "")


def test_a_row_without_a_status_moves(base: Base, runs: Runs) -> None:
    base.tasks()
    base.sql("UPDATE tasks SET status = NULL")
    move(runs(DATABASE_URL=base.url), "completed")
    assert base.row() == ("completed",)


def test_the_american_spelling_is_final_too(base: Base, runs: Runs) -> None:
    base.tasks(status="canceled")
    move(runs(DATABASE_URL=base.url), "completed")
    assert base.row() == ("canceled",)


def test_other_rows_are_not_touched(base: Base, runs: Runs) -> None:
    base.tasks()
    base.sql("INSERT INTO tasks (id, status) VALUES (1000, 'queued')")
    move(runs(DATABASE_URL=base.url), "completed")
    with base.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, status FROM tasks ORDER BY id").all()
    assert [tuple(row) for row in rows] == [(999, "completed"), (1000, "queued")]


def test_a_cancel_that_comes_first_wins(locking_base: Base, runs: Runs) -> None:
    base = locking_base
    base.tasks(status="running")
    run = runs(DATABASE_URL=base.url)
    worker = threading.Thread(target=move, args=(run, "completed"))
    with base.engine.begin() as operator:
        operator.exec_driver_sql("UPDATE tasks SET status = 'cancelled' WHERE id = 999")
        worker.start()
        until(lambda: waits_for_lock(base), "the move waits for the operator's lock")
    worker.join(30)
    assert base.row() == ("cancelled",)
    assert "stays so" in run.log


def waits_for_lock(base: Base) -> bool:
    """Whether a statement waits for a locked row."""
    question = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        "mysql": "SELECT count(*) FROM information_schema.processlist "
        "WHERE command = 'Query' AND info LIKE 'UPDATE tasks%'",
    }[base.engine.name]
    with base.engine.connect() as connection:
        return bool(connection.scalar(sa.text(question)))


# --- settings -------------------------------------------------------------------------------------
def test_own_words_are_written_and_compared(base: Base, runs: Runs) -> None:
    base.tasks(status="neu")
    words = {
        "DB_STATUS_RUNNING": "läuft",
        "DB_STATUS_COMPLETED": "fertig",
        "DB_STATUS_FAILED": "fehlgeschlagen",
        "DB_STATUS_CANCELLED": "storniert",
    }
    run = runs(DATABASE_URL=base.url, **words)
    for state, word in [("running", "läuft"), ("completed", "fertig"), ("failed", "fertig")]:
        move(run, state)
        assert base.row() == (word,)


def test_a_state_without_a_word_is_not_written(base: Base, runs: Runs) -> None:
    base.tasks()
    run = runs(DATABASE_URL=base.url, DB_STATUS_RUNNING="-", DB_STATUS_FAILED="-")
    move(run, "running")
    move(run, "failed")
    assert base.row() == ("queued",)


def test_without_a_database_there_is_no_step(runs: Runs) -> None:
    run = runs()
    move(run, "running")
    move(run, "completed")
    assert run.log == ""


def test_names_may_be_words_of_sql(base: Base, runs: Runs) -> None:
    quote = base.engine.dialect.identifier_preparer.quote_identifier
    base.sql(
        f"CREATE TABLE {quote('order')} ({quote('Key')} INTEGER, {quote('select')} VARCHAR(20))",
        f"INSERT INTO {quote('order')} VALUES (999, 'queued')",
    )
    names = {"DB_TABLE": "order", "DB_ID_COLUMN": "Key", "DB_STATUS_COLUMN": "select"}
    move(runs(DATABASE_URL=base.url, **names), "completed")
    assert base.row(quote("select"), quote("order")) == ("completed",)


def test_error_and_time_are_written_where_asked_for(base: Base, runs: Runs) -> None:
    base.tasks()
    before = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    run = runs(DATABASE_URL=base.url, DB_ERROR_COLUMN="error", DB_TIME_COLUMN="changed")
    move(run, "failed", "longer than the column")
    _, error, changed = base.row("status, error, changed")
    assert error == "longer tha"
    changed = datetime.fromisoformat(changed) if isinstance(changed, str) else changed
    assert before <= changed <= datetime.now(UTC).replace(tzinfo=None)


def test_running_leaves_the_error_alone(base: Base, runs: Runs) -> None:
    base.tasks()
    base.sql("UPDATE tasks SET error = 'old'")
    move(runs(DATABASE_URL=base.url, DB_ERROR_COLUMN="error"), "running")
    assert base.row("status, error") == ("running", "old")


@pytest.mark.parametrize(("kind", "least"), [("BIGINT", 10), ("TEXT", 10)])
def test_the_time_may_be_a_number_or_a_text(base: Base, runs: Runs, kind: str, least: int) -> None:
    base.sql(
        f"CREATE TABLE tasks (id INTEGER PRIMARY KEY, status VARCHAR(20), changed {kind})",
        "INSERT INTO tasks (id, status) VALUES (999, 'queued')",
    )
    move(runs(DATABASE_URL=base.url, DB_TIME_COLUMN="changed"), "completed")
    (changed,) = base.row("changed")
    assert len(str(changed)) >= least
    assert isinstance(changed, int) == (kind == "BIGINT")
