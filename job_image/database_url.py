"""Reads `DATABASE_URL` as backends of any language write it, and gives what SQLAlchemy wants.

In: the address as a secret. Out: the same database through the drivers that are installed
(psycopg, PyMySQL, sqlite3), without options that only another language's driver knows. An option
that is left out is named, because it may have been meant as protection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from psycopg.pq import Conninfo
from sqlalchemy import exc as sa_errors

from contract.env import Secret
from contract.errors import Misconfigured

CONNECT_TIMEOUT = 10
"""Seconds to a connection."""

ANSWER_TIMEOUT = 60
"""Seconds for an answer of MySQL; longer than its 50 seconds for a locked row."""

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
}
_MYSQL_OPTIONS = {
    *("charset", "unix_socket"),
    *("ssl_ca", "ssl_cert", "ssl_key", "ssl_capath", "ssl_cipher", "ssl_check_hostname"),
    *("ssl_verify_cert", "ssl_verify_identity"),
}
_OPTIONS: dict[str, dict[str, object]] = {
    "postgresql": {"connect_timeout": CONNECT_TIMEOUT, "prepare_threshold": None},
    "sqlite": {"timeout": CONNECT_TIMEOUT},
}
_MYSQL: dict[str, object] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "read_timeout": ANSWER_TIMEOUT,
    "write_timeout": ANSWER_TIMEOUT,
    "init_command": "SET time_zone = '+00:00'",  # so that TIMESTAMP columns take our UTC as UTC
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is. `options` go to the driver; `notes` are worth a line in the log."""

    url: sa.URL
    schema: str
    options: Mapping[str, object]
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The address without user, password and options."""
        host = f"{self.url.host}:{self.url.port}" if self.url.port else self.url.host or ""
        return f"{self.url.get_backend_name()}://{host}/{self.url.database or ''}"

    def hide(self, text: str) -> str:
        """Return `text` without the password, also as it may be written in an address."""
        password = str(self.url.password or "")
        for form in {password, quote(password), quote_plus(password)}:
            text = text.replace(form, "****") if form else text
        return text


def address(url: Secret, schema: str) -> Address:
    """Read `url`; `schema` is the one of the settings, "" for none. Raise `Misconfigured`."""
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        _check_file(parsed)
        return Address(parsed, schema, _OPTIONS["sqlite"])
    known = _known_options() if backend == "postgresql" else _MYSQL_OPTIONS
    foreign = sorted(set(parsed.query) - known - {"schema"})
    if backend == "postgresql" and not schema:  # Prisma names the schema in the address
        schema = str(parsed.query.get("schema", ""))
    notes = [f"DATABASE_URL: the option {name} is not known here and left out." for name in foreign]
    parsed = parsed.difference_update_query(set(parsed.query) - known)
    return Address(parsed, schema, _OPTIONS.get(backend, _MYSQL), tuple(notes))


def _parsed(url: Secret) -> sa.URL:
    try:
        parsed = sa.make_url(url.reveal())
    except (sa_errors.ArgumentError, ValueError) as exc:
        raise _bad("cannot be read as an address") from exc
    driver = _DRIVERS.get(parsed.drivername.partition("+")[0])
    if driver is None:
        raise _bad(f"begins with {parsed.drivername}://, which is no known database")
    return parsed.set(drivername=driver)


def _bad(what: str) -> Misconfigured:
    return Misconfigured(
        f"DATABASE_URL {what}.",
        advice="Use postgresql://, mysql://, mariadb:// or sqlite:///, with special characters of "
        "the password as %XX.",
    )


def _known_options() -> set[str]:
    return {option.keyword.decode() for option in Conninfo.get_defaults()}


def _check_file(url: sa.URL) -> None:
    """Refuse a file that is not there: SQLite would make an empty one."""
    path = url.database or ""
    if path and not path.startswith((":memory:", "file:")) and not Path(path).exists():
        raise Misconfigured(f"DATABASE_URL: there is no file {path}.")
