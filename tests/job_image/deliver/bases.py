"""A database of the test's own on each server, as its backend sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from contract.env import Secret
from job_image.database import begin, finish
from job_image.database_url import address
from tests.job_image.deliver.run import Run


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
