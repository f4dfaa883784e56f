"""The order's row, whatever kind its columns are, and with what single databases have."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from contract.errors import Misconfigured
from tests.job_image.deliver.bases import Base, move
from tests.job_image.deliver.run import Runs


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
