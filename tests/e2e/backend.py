"""The backend's table of orders in a real PostgreSQL, which notes each state that a row ever had.

A trigger of the database itself writes the notes, so a state that lasted for a moment is seen too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

_TABLES = """
CREATE TABLE tasks (id bigint PRIMARY KEY, status text NOT NULL);
CREATE TABLE moves (number bigserial, id bigint, status text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO moves (id, status) VALUES (NEW.id, NEW.status); RETURN NEW; END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION note();
"""


class Backend:
    """Rows of orders, as a backend writes and reads them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, task: int) -> None:
        """The row of a new order."""
        with self._engine.begin() as connection:
            row = {"id": task}
            connection.execute(sa.text("INSERT INTO tasks VALUES (:id, 'queued')"), row)

    def row(self, task: int) -> str:
        """The status now."""
        return self._words("SELECT status FROM tasks WHERE id = :id", task)[0]

    def states(self, task: int) -> list[str]:
        """Every status that the row had, the first one first."""
        return self._words("SELECT status FROM moves WHERE id = :id ORDER BY number", task)

    def _words(self, query: str, task: int) -> list[str]:
        with self._engine.connect() as connection:
            return [str(each) for each in connection.scalars(sa.text(query), {"id": task})]


@contextmanager
def backend(server_url: str) -> Iterator[tuple[Backend, str]]:
    """A backend with a database of its own on that server, and the database's address."""
    name = f"backend_{uuid.uuid4().hex[:8]}"
    url = sa.make_url(server_url)
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    engine = sa.create_engine(url.set(database=name), poolclass=sa.NullPool)
    _run(server, f"CREATE DATABASE {name}")
    try:
        _run(engine, _TABLES)
        yield Backend(engine), url.set(database=name).render_as_string(hide_password=False)
    finally:
        _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def _run(engine: sa.Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statements)
