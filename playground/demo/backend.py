"""What stands for the user's own backend: rows in SQLite, orders in Redis, a look at the board.

In: orders. Out: rows as they are, and what the product says of each task. The one door to Redis of
the demo: it speaks to it as a backend would, in the words of the contract.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from contract import names
from playground.demo.folder import DemoError
from playground.demo.orders import Order

_TABLE = """CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, course TEXT NOT NULL, status TEXT NOT NULL, updated_at TEXT
)"""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the board says of a task."""

    status: str = ""
    phase: str = ""
    percent: float = 0.0
    attempt: str = ""
    message: str = ""


class Board:
    """The queue and the board, as any client of Redis sees them."""

    def __init__(self, url: str) -> None:
        # redis-py types every answer as maybe bytes, maybe awaitable
        self._redis: Any = redis.Redis.from_url(url, decode_responses=True, socket_timeout=10)

    def push(self, message: str) -> None:
        """LPUSH one order."""
        try:
            self._redis.lpush(names.DEFAULT_QUEUE, message)
        except redis.RedisError as error:
            raise DemoError(f"The order could not be pushed: {error}") from error

    def look(self, key: str) -> Sight | None:
        """Return what is known of a task; None while nothing is, or the server is silent."""
        try:
            found = self._redis.hgetall(names.task_hash(key))
        except redis.RedisError:
            return None
        if not found:
            return None
        return Sight(
            found.get("status", ""),
            found.get("phase", ""),
            float(found.get("percent") or 0),
            found.get("attempt", ""),
            found.get("message", ""),
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()


def make_rows(path: Path, orders: Iterable[Order]) -> None:
    """Make the table with one queued row per order."""
    with closing(sqlite3.connect(path)) as rows, rows:
        rows.execute(_TABLE)
        rows.executemany(
            "INSERT INTO tasks (id, course, status) VALUES (?, ?, 'queued')",
            [(order.task_id, order.title) for order in orders],
        )


def statuses(path: Path) -> dict[int, str]:
    """Return each row's status by id."""
    with closing(sqlite3.connect(path)) as rows:
        return dict(rows.execute("SELECT id, status FROM tasks ORDER BY id"))
