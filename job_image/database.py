"""Moves the order's row: queued -> running -> completed | failed | cancelled.

In: a state. Out: the row in that state, or a reason why not. Each move is one compare-and-set
UPDATE, so a repeated move is success and two writers cannot undo each other. Completed and
cancelled are final; a failed row may still become completed, because an operator's retry may
succeed. The columns' types are read from the database first: PostgreSQL compares no text with a
number, and an id arrives as whichever the message had.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_errors

from contract.errors import Misconfigured, Temporary
from contract.job_settings import DatabaseSettings
from job_image.context import Context
from job_image.database_url import Address, address

SCHEDULE = (0.0, 2.0, 5.0, 10.0)
"""Seconds before each try: a failover takes some ten. Longer outages are the pipeline's retries."""

LOCK_TIMEOUT = 30
"""Seconds that a row locked by somebody else is waited for."""

RUNNING, COMPLETED, FAILED, CANCELLED = "running", "completed", "failed", "cancelled"

_FINAL_FOR = {
    RUNNING: (RUNNING, COMPLETED, FAILED, CANCELLED),
    COMPLETED: (COMPLETED, CANCELLED),
    FAILED: (COMPLETED, CANCELLED),
    CANCELLED: (COMPLETED, FAILED, CANCELLED),
}
"""For each state: the states in which a row is left as it is."""

_ERROR_LENGTH = 2000
"""Characters of an error for a column without a limit."""

_REFUSED = (
    *("password authentication failed", "no pg_hba.conf entry", "does not exist"),
    *("access denied", "unknown database", "permission denied", "unable to open"),
    *("readonly database", "file is not a database", "no such table", "no such column"),
)
"""Words of drivers for what only an operator can change; the driver's class alone does not tell."""


def begin(context: Context) -> None:
    """Set the row to running. A database that is away is only a warning: the download goes on.

    Raise `Misconfigured` for a missing row, table or column, or a refused login: better now than
    hours later.
    """
    try:
        _move(context, RUNNING, "")
    except Temporary as exc:
        context.log.bind(phase="record").event("DB", "The row stays as it is: %s", exc.summary)


def finish(
    context: Context, state: str, error: str = "", *, schedule: Sequence[float] = SCHEDULE
) -> None:
    """Set the row to `state`, completed, failed or cancelled, with `error` where there is a column.

    Raise `Misconfigured` as `begin` does, `Temporary` when the database is away in every try.
    """
    if not _words(context.settings.database)[state]:
        return  # this state is not written; whether the row exists was asked at the start
    problem = Temporary("The database was not tried.")
    for wait in schedule:
        context.stop.wait(wait)
        try:
            _move(context, state, error)
            return
        except Temporary as exc:
            problem = exc
            context.log.bind(phase="record").event("DB", "%s", exc.summary)
    raise problem


def _move(context: Context, state: str, error: str) -> None:
    settings = context.settings.database
    if settings.url is None:
        return
    words = _words(settings)
    where = address(settings.url, settings.schema)
    for note in where.notes:
        context.log.bind(phase="record").event("DB", "%s", note)
    with _connection(where, context) as connection:
        table = _table(connection, settings, where)
        row = _Row(connection, table, settings, _id(table.c[settings.id_column].type, context))
        found = row.move(state, words, error)
    _tell(context, state, words[state], found)


def _tell(context: Context, state: str, word: str, found: str | None) -> None:
    """Say what became of it. `found`: the state in which the row is left, None if it moved."""
    log = context.log.bind(phase="record")
    settings = context.settings.database
    row = f"{settings.table}.{settings.id_column}={context.task.key}"
    if found is None:
        log.event("DB", "%s is %s now.", row, word)
    elif not word:
        log.event("DB", "%s is left as it is: there is no word for %s.", row, state)
    elif found == word:
        log.event("DB", "%s is %s already.", row, word)
    else:
        log.event("DB", '%s is "%s" and stays so; it does not become %s.', row, found, word)


@dataclass(frozen=True, slots=True)
class _Row:
    """The order's row in an open transaction."""

    connection: sa.Connection
    table: sa.TableClause
    settings: DatabaseSettings
    id: object

    def move(self, state: str, words: Mapping[str, str], error: str) -> str | None:
        """Move the row; return None, or the state in which it is left. Raise `Misconfigured`."""
        word = words[state]
        if word:
            final = [words[name] for name in _FINAL_FOR[state] if words[name]]
            final += ["canceled"] if "cancelled" in final else []
            status = self._status()
            free = sa.or_(status.is_(None), status.not_in(final))
            statement = self.table.update().where(self._mine(), free)
            if self.connection.execute(statement.values(self._values(word, state, error))).rowcount:
                return None
        return self._found()

    def _found(self) -> str:
        status = self.connection.execute(sa.select(self._status()).where(self._mine())).first()
        if status is None:
            raise _missing_row(self.settings, self.id)
        return str(status[0])

    def _mine(self) -> sa.ColumnElement[bool]:
        return self.table.c[self.settings.id_column] == self.id

    def _status(self) -> sa.ColumnElement[str]:
        """The status as text: an enumeration would not even be compared with a foreign word."""
        return sa.cast(self.table.c[self.settings.status_column], sa.String(64))

    def _values(self, word: str, state: str, error: str) -> dict[str, object]:
        settings, columns = self.settings, self.table.c
        values: dict[str, object] = {settings.status_column: word}
        if settings.error_column and state != RUNNING:
            limit = getattr(columns[settings.error_column].type, "length", None)
            values[settings.error_column] = error[: limit or _ERROR_LENGTH]
        if settings.time_column:
            now = datetime.now(UTC)
            values[settings.time_column] = _time(columns[settings.time_column].type, now)
        return values


def _words(settings: DatabaseSettings) -> dict[str, str]:
    return {
        RUNNING: settings.running,
        COMPLETED: settings.completed,
        FAILED: settings.failed,
        CANCELLED: settings.cancelled,
    }


def _missing_row(settings: DatabaseSettings, value: object) -> Misconfigured:
    return Misconfigured(
        f"Table {settings.table} has no row with {settings.id_column} = {value!r}.",
        advice="The backend must insert the row before it pushes the order; see also DB_TABLE, "
        "DB_SCHEMA and DB_ID_COLUMN.",
    )


def _id(type_: sa.types.TypeEngine[Any], context: Context) -> object:
    """Return the task's id as the column's type wants it. Raise `Misconfigured` if it cannot be."""
    key = context.task.key
    try:
        for kind, convert in _CONVERSIONS:
            if isinstance(type_, kind):
                return convert(key)
    except (ValueError, InvalidOperation) as exc:
        raise _missing_row(context.settings.database, key) from exc
    return context.task.task_id


_CONVERSIONS: tuple[tuple[type[sa.types.TypeEngine[Any]], Callable[[str], object]], ...] = (
    (sa.Integer, int),
    (sa.Numeric, Decimal),
    (sa.Uuid, uuid.UUID),
    (sa.String, str),
)


def _time(type_: sa.types.TypeEngine[Any], now: datetime) -> object:
    """Return `now` (UTC) as the column's type wants it; naive where it knows no time zone."""
    if isinstance(type_, sa.DateTime):
        return now if type_.timezone else now.replace(tzinfo=None)
    if isinstance(type_, sa.Integer):
        return int(now.timestamp())
    return now.isoformat(timespec="seconds")


def _table(connection: sa.Connection, settings: DatabaseSettings, where: Address) -> sa.TableClause:
    """Return the table with the columns in use and their types as the database has them."""
    schema = where.schema or None
    try:
        found = sa.inspect(connection).get_columns(settings.table, schema=schema)
    except sa_errors.NoSuchTableError as exc:
        raise Misconfigured(
            f"The database has no table {settings.table}.", advice="See DB_TABLE and DB_SCHEMA."
        ) from exc
    types = {column["name"]: column["type"] for column in found}
    names = (settings.id_column, settings.status_column, settings.error_column)
    used = [name for name in (*names, settings.time_column) if name]
    missing = [name for name in used if name not in types]
    if missing:
        raise Misconfigured(
            f"Table {settings.table} has no column {', '.join(missing)}.",
            advice="See DB_ID_COLUMN, DB_STATUS_COLUMN, DB_ERROR_COLUMN and DB_TIME_COLUMN.",
        )
    columns = [sa.column(name, types[name]) for name in used]
    return sa.table(settings.table, *columns, schema=schema)


@contextmanager
def _connection(where: Address, context: Context) -> Iterator[sa.Connection]:
    """Open a transaction, for this one move; translate everything the library may raise."""
    engine = sa.create_engine(
        where.url, poolclass=sa.NullPool, connect_args=dict(where.options), hide_parameters=True
    )
    try:
        with engine.begin() as connection:
            if where.url.get_backend_name() == "postgresql":
                connection.execute(sa.text(f"SET LOCAL statement_timeout = '{LOCK_TIMEOUT}s'"))
            yield connection
    except sa_errors.DBAPIError as exc:
        raise _translated(exc, where, context) from exc
    except sa_errors.SQLAlchemyError as exc:
        words = where.hide(context.redact(str(exc)))
        raise Misconfigured(f"The row cannot be moved: {words[:300]}") from exc


def _translated(
    error: sa_errors.DBAPIError, where: Address, context: Context
) -> Misconfigured | Temporary:
    words = " ".join(where.hide(context.redact(str(error.orig))).split())[:300]
    final = (sa_errors.ProgrammingError, sa_errors.DataError, sa_errors.IntegrityError)
    if isinstance(error, final) or any(word in words.lower() for word in _REFUSED):
        return Misconfigured(
            f"The database {where.shown} refuses: {words}",
            advice="See DATABASE_URL, the account's rights, and the DB_... settings.",
        )
    return Temporary(f"The database {where.shown} cannot be used now: {words}")
