"""A row that cannot be moved: who has to act, what is missing, and no password in any of it."""

from __future__ import annotations

import sqlite3
import traceback
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa

from contract.errors import CourseRunnerError, Misconfigured, Stopped, Temporary
from job_image.database import begin, finish
from job_image.stop import Stop
from tests.job_image.deliver.run import Runs
from tests.services import free_port

QUICK = (0.0, 0.01, 0.01, 0.01)
"""The same number of tries, without the long waits."""


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """URL of a SQLite database with an empty table."""
    with sqlite3.connect(tmp_path / "base.db") as base:
        base.execute("CREATE TABLE tasks (id INTEGER PRIMARY KEY, status TEXT)")
    return f"sqlite:///{tmp_path}/base.db"


def changed(url: str, **parts: object) -> str:
    """The URL with another password, port or database."""
    old = urlsplit(url)
    password, port = parts.get("password", old.password), parts.get("port", old.port)
    netloc = f"{old.username}:{password}@{old.hostname}:{port}"
    return urlunsplit(old._replace(netloc=netloc, path=str(parts.get("path", old.path))))


@pytest.mark.parametrize("state", ["running", "completed", "failed"])
def test_a_missing_row_is_named(sqlite: str, runs: Runs, state: str) -> None:
    run = runs(DATABASE_URL=sqlite, DB_STATUS_RUNNING="-" if state == "running" else "running")
    with pytest.raises(Misconfigured, match="Table tasks has no row with id = 999"):
        begin(run.context()) if state == "running" else finish(run.context(), state, schedule=QUICK)


def test_a_missing_table_is_named(sqlite: str, runs: Runs) -> None:
    with pytest.raises(Misconfigured, match="no table orders"):
        begin(runs(DATABASE_URL=sqlite, DB_TABLE="orders").context())


def test_missing_columns_are_named_together(sqlite: str, runs: Runs) -> None:
    run = runs(DATABASE_URL=sqlite, DB_STATUS_COLUMN="state", DB_TIME_COLUMN="changed")
    with pytest.raises(Misconfigured, match="Table tasks has no column state, changed"):
        begin(run.context())


def test_a_missing_file_is_said_and_not_made(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"there is no file .*none\.db"):
        begin(runs(DATABASE_URL=f"sqlite:///{tmp_path}/none.db").context())
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("url", ["oracle://u:hidden-word@h/x", "no address", "mysql://[::1/x"])
def test_an_address_of_nothing_known_is_final(runs: Runs, url: str) -> None:
    with pytest.raises(Misconfigured, match="DATABASE_URL") as caught:
        begin(runs(DATABASE_URL=url).context())
    assert "hidden-word" not in everything(caught.value)


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_refused_login_is_final(kind: str, request: pytest.FixtureRequest, runs: Runs) -> None:
    url = changed(request.getfixturevalue(kind), password="wrong-pa%40ss")
    with pytest.raises(Misconfigured, match="refuses") as caught:
        begin(runs(DATABASE_URL=url).context())
    assert "wrong-pa" not in everything(caught.value)


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_that_does_not_exist_is_final(
    kind: str, request: pytest.FixtureRequest, runs: Runs
) -> None:
    url = changed(request.getfixturevalue(kind), path="/elsewhere")
    with pytest.raises(Misconfigured, match="elsewhere"):
        begin(runs(DATABASE_URL=url).context())


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_database_that_is_away_stops_no_download(runs: Runs, scheme: str) -> None:
    run = runs(DATABASE_URL=f"{scheme}://course:hidden-word@127.0.0.1:{free_port()}/x")
    begin(run.context())
    assert len(run.lines("DB")) == 1
    assert "The row stays as it is" in run.log


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_database_that_stays_away_is_a_passing_failure(runs: Runs, scheme: str) -> None:
    port = free_port()
    run = runs(DATABASE_URL=f"{scheme}://course:hidden-word@127.0.0.1:{port}/x")
    with pytest.raises(Temporary, match=f"127.0.0.1:{port}/x cannot be used now") as caught:
        finish(run.context(), "completed", schedule=QUICK)
    assert "hidden-word" not in everything(caught.value)
    assert len(run.lines("DB")) == 4


def test_a_database_that_comes_back_is_used(runs: Runs, sqlite: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "base.db") as base:
        base.execute("INSERT INTO tasks VALUES (999, 'queued')")
    run = runs(DATABASE_URL=f"{sqlite}?timeout=0.01")
    blocker = sqlite3.connect(tmp_path / "base.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")

    class Release(Stop):
        """Waits as the real one does, once the blocker has gone."""

        def wait(self, seconds: float) -> None:
            if run.lines("DB") and blocker.in_transaction:
                blocker.execute("ROLLBACK")
            super().wait(seconds)

    run.stop = Release()
    finish(run.context(), "completed", schedule=QUICK)
    blocker.close()
    assert "cannot be used now" in run.lines("DB")[0]
    assert run.lines("DB")[-1] == "tasks.id=999 is completed now."


def test_being_told_to_stop_ends_the_tries(runs: Runs) -> None:
    run = runs(DATABASE_URL=f"postgresql://u:hidden-word@127.0.0.1:{free_port()}/x")
    run.stop.request()
    with pytest.raises(Stopped):
        finish(run.context(), "completed", schedule=QUICK)


def test_an_account_without_rights_is_final(postgres: str, runs: Runs) -> None:
    engine = sa.create_engine(postgres, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as admin:
        admin.exec_driver_sql("CREATE TABLE kept (id INTEGER, status TEXT)")
        admin.exec_driver_sql("CREATE ROLE guest LOGIN PASSWORD 'guest-password'")
        try:
            url = changed(postgres, password="guest-password").replace("course:", "guest:")
            with pytest.raises(Misconfigured, match="permission denied for table kept"):
                begin(runs(DATABASE_URL=url, DB_TABLE="kept").context())
        finally:
            admin.exec_driver_sql("DROP ROLE guest")
            admin.exec_driver_sql("DROP TABLE kept")


def test_a_database_that_only_reads_is_a_passing_failure(postgres: str, runs: Runs) -> None:
    engine = sa.create_engine(postgres, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as admin:
        admin.exec_driver_sql("CREATE TABLE tasks (id INTEGER, status TEXT)")
        admin.exec_driver_sql("INSERT INTO tasks VALUES (999, 'queued')")
        admin.exec_driver_sql("ALTER ROLE course SET default_transaction_read_only = on")
        try:
            with pytest.raises(Temporary, match="read-only transaction"):
                finish(runs(DATABASE_URL=postgres).context(), "completed", schedule=QUICK)
        finally:
            admin.exec_driver_sql("ALTER ROLE course RESET default_transaction_read_only")
            admin.exec_driver_sql("DROP TABLE tasks")


def test_an_option_of_another_language_is_left_out_and_named(postgres: str, runs: Runs) -> None:
    run = runs(DATABASE_URL=f"{postgres}?sslmode=prefer&pgbouncer=true", DB_TABLE="none")
    with pytest.raises(Misconfigured, match="no table none"):
        begin(run.context())
    assert run.lines("DB") == ["DATABASE_URL: the option pgbouncer is not known here and left out."]


def everything(error: CourseRunnerError) -> str:
    """All that a log could ever show of an error, its causes' own words among it."""
    return "".join(traceback.format_exception(error))
