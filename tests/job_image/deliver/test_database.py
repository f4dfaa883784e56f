"""The order's row: every move that is allowed, on each of the three databases, and no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contract.env import Secret
from contract.errors import Misconfigured
from job_image.database import begin, finish
from job_image.database_url import address
from tests.job_image.deliver.run import Run, Runs, until

STATES = ("queued", "running", "completed", "failed", "cancelled")


@dataclass
class Base:
    """A database of the test's own, as its backend sees it."""

    url: str
    engine: sa.Engine

    def sql(self, *statements: str) -> None:
        """Do something as the backend."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def row(self, columns: str = "status", table: str = "tasks") -> tuple[Any, ...]:
        """The one row of a table."""
        with self.engine.connect() as connection:
            return tuple(connection.exec_driver_sql(f"SELECT {columns} FROM {table}").one())

    def tasks(self, kind: str = "INTEGER", id_: object = 999, status: str = "queued") -> None:
        """Make the usual table with one row."""
        self.sql(
            f"CREATE TABLE tasks (id {kind} PRIMARY KEY, status VARCHAR(20), error VARCHAR(10), "
            "changed TIMESTAMP NULL)",
            f"INSERT INTO tasks (id, status) VALUES ('{id_}', '{status}')",
        )


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    """Each of the databases in turn."""
    if request.param == "sqlite":
        (tmp_path / "base.db").touch()
        url = f"sqlite:///{tmp_path}/base.db"
    else:
        url = request.getfixturevalue(request.param)
    yield from emptied(url)


@pytest.fixture(params=["postgres", "mariadb"])
def locking_base(request: pytest.FixtureRequest) -> Iterator[Base]:
    """Each of the databases that lock single rows."""
    yield from emptied(request.getfixturevalue(request.param))


@pytest.fixture
def postgres_base(postgres: str) -> Iterator[Base]:
    """PostgreSQL, for what only it has."""
    yield from emptied(postgres)


@pytest.fixture
def mariadb_base(mariadb: str) -> Iterator[Base]:
    """MariaDB, for what only it has."""
    yield from emptied(mariadb)


def emptied(url: str) -> Iterator[Base]:
    """A base without tables, before and after the test."""
    engine = sa.create_engine(address(Secret(url), "").url, poolclass=sa.NullPool)
    base = Base(url, engine)
    yield base
    found = sa.MetaData()
    found.reflect(engine)
    found.drop_all(engine)
    if engine.name == "postgresql":
        base.sql("DROP SCHEMA IF EXISTS shop CASCADE", "DROP TYPE IF EXISTS state")
    engine.dispose()


def move(run: Run, state: str, error: str = "") -> None:
    """Make one move."""
    if state == "running":
        begin(run.context())
    else:
        finish(run.context(), state, error)


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


# --- ids ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["INTEGER", "BIGINT", "NUMERIC(20,0)", "VARCHAR(40)", "CHAR(3)"])
@pytest.mark.parametrize("task_id", [999, "999"])
def test_an_id_fits_a_column_of_either_kind(
    base: Base, runs: Runs, kind: str, task_id: int | str
) -> None:
    base.tasks(kind)
    move(runs(task_id, DATABASE_URL=base.url), "completed")
    assert base.row() == ("completed",)


@pytest.mark.parametrize("odd", ["o'brien; DROP TABLE tasks", "%s :id {x}", "naïve-ключ", "a\\b"])
def test_an_odd_id_is_only_an_id(base: Base, runs: Runs, odd: str) -> None:
    base.tasks("VARCHAR(40)", "placeholder")
    with base.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tasks SET id = :id"), {"id": odd})
    move(runs(odd, DATABASE_URL=base.url), "completed")
    assert base.row() == ("completed",)


@pytest.mark.parametrize("kind", ["INTEGER", "NUMERIC(20,0)"])
def test_a_text_is_no_number_and_the_row_is_missing(base: Base, runs: Runs, kind: str) -> None:
    base.tasks(kind, 0)
    with pytest.raises(Misconfigured, match="no row with id = 'abc'"):
        move(runs("abc", DATABASE_URL=base.url), "completed")
    assert base.row() == ("queued",)


def test_a_uuid_is_found(postgres_base: Base, runs: Runs) -> None:
    key = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
    postgres_base.tasks("UUID", key)
    move(runs(key.upper(), DATABASE_URL=postgres_base.url), "completed")
    assert postgres_base.row() == ("completed",)


# --- what single databases have -------------------------------------------------------------------
def test_an_enumeration_of_postgresql_takes_its_own_words(postgres_base: Base, runs: Runs) -> None:
    postgres_base.sql(
        "CREATE TYPE state AS ENUM ('queued', 'running', 'completed')",
        "CREATE TABLE tasks (id INTEGER, status state)",
        "INSERT INTO tasks VALUES (999, 'queued')",
    )
    run = runs(DATABASE_URL=postgres_base.url)
    move(run, "running")
    move(run, "completed")
    assert postgres_base.row() == ("completed",)


def test_a_word_that_an_enumeration_lacks_is_said(postgres_base: Base, runs: Runs) -> None:
    postgres_base.sql(
        "CREATE TYPE state AS ENUM ('queued', 'completed')",
        "CREATE TABLE tasks (id INTEGER, status state)",
        "INSERT INTO tasks VALUES (999, 'queued')",
    )
    with pytest.raises(Misconfigured, match='enum state: "failed"') as caught:
        move(runs(DATABASE_URL=postgres_base.url), "failed")
    assert "DB_" in caught.value.advice


def test_an_enumeration_of_mariadb_takes_its_own_words(mariadb_base: Base, runs: Runs) -> None:
    mariadb_base.sql(
        "CREATE TABLE tasks (id INTEGER, status ENUM('queued', 'completed'))",
        "INSERT INTO tasks VALUES (999, 'queued')",
    )
    move(runs(DATABASE_URL=mariadb_base.url), "completed")
    assert mariadb_base.row() == ("completed",)


@pytest.mark.parametrize("how", ["setting", "address"])
def test_a_schema_is_used(postgres_base: Base, runs: Runs, how: str) -> None:
    postgres_base.sql(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.tasks (id INTEGER, status TEXT)",
        "INSERT INTO shop.tasks VALUES (999, 'queued')",
    )
    if how == "setting":
        run = runs(DATABASE_URL=postgres_base.url, DB_SCHEMA="shop")
    else:
        run = runs(DATABASE_URL=postgres_base.url + "?schema=shop&connection_limit=5")
    move(run, "completed")
    assert postgres_base.row(table="shop.tasks") == ("completed",)


def test_a_time_with_a_zone_is_this_very_moment(postgres_base: Base, runs: Runs) -> None:
    postgres_base.sql(
        "CREATE TABLE tasks (id INTEGER, status TEXT, changed TIMESTAMPTZ)",
        "INSERT INTO tasks VALUES (999, 'queued')",
    )
    move(runs(DATABASE_URL=postgres_base.url, DB_TIME_COLUMN="changed"), "completed")
    assert postgres_base.row("now() - changed < interval '1 minute'") == (True,)


def test_a_time_without_a_zone_is_utc_wherever_the_server_stands(
    postgres_base: Base, runs: Runs
) -> None:
    postgres_base.tasks()
    postgres_base.sql("ALTER ROLE course SET timezone = 'Asia/Tokyo'")
    try:
        move(runs(DATABASE_URL=postgres_base.url, DB_TIME_COLUMN="changed"), "completed")
        passed = "(now() AT TIME ZONE 'UTC') - changed < interval '1 minute'"
        assert postgres_base.row(f"{passed} AND changed <= now() AT TIME ZONE 'UTC'") == (True,)
    finally:
        postgres_base.sql("ALTER ROLE course RESET timezone")


def test_a_timestamp_of_mariadb_is_this_very_moment(mariadb_base: Base, runs: Runs) -> None:
    mariadb_base.tasks()
    mariadb_base.sql("SET GLOBAL time_zone = '+09:00'")
    try:
        move(runs(DATABASE_URL=mariadb_base.url, DB_TIME_COLUMN="changed"), "completed")
        passed = "ABS(TIMESTAMPDIFF(MINUTE, changed, NOW())) < 2"
        assert mariadb_base.row(passed) == (1,)
    finally:
        mariadb_base.sql("SET GLOBAL time_zone = 'SYSTEM'")


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"]
)
def test_each_spelling_of_postgresql_is_understood(
    postgres_base: Base, runs: Runs, scheme: str
) -> None:
    postgres_base.tasks()
    url = scheme + postgres_base.url.removeprefix("postgresql")
    move(runs(DATABASE_URL=url), "completed")
    assert postgres_base.row() == ("completed",)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+mysqldb", "mariadb+pymysql"])
def test_each_spelling_of_mysql_is_understood(mariadb_base: Base, runs: Runs, scheme: str) -> None:
    mariadb_base.tasks()
    url = scheme + mariadb_base.url.removeprefix("mysql")
    move(runs(DATABASE_URL=url), "completed")
    assert mariadb_base.row() == ("completed",)
