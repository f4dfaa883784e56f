"""Which tasks are asked for: filter, search, order, page. Pure.

A search finds what its words are in: the task's id, its account, its course, its message. It is
done here and not in the browser, so ten thousand tasks cost the browser one page of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from contract.errors import Permanent
from dispatcher.web.facts import TaskPage, TaskRow

SIZE = 50
"""Tasks on a page."""

MOST = 500
"""Tasks on the largest page."""

STATES = (
    *("queued", "start", "running", "waiting", "reporting"),
    *("failed", "completed", "cancelled"),
)
"""States in the order of a task's life."""

ORDERS = ("updated", "task", "percent", "speed")
"""What tasks can be ordered by; all but the id with the highest first."""


class BadQuery(Permanent):
    """A query that cannot be answered."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. `state` "" is every state; pages count from 1."""

    state: str = ""
    search: str = ""
    order: str = "updated"
    page: int = 1
    size: int = SIZE

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Query:
        """Read the query of an address. Raise `BadQuery`, naming the field and the cure."""
        return cls(
            state=_choice(given, "state", STATES, ""),
            search=given.get("search", "").strip()[:200],
            order=_choice(given, "order", ORDERS, "updated"),
            page=_number(given, "page", 1, 1_000_000),
            size=_number(given, "size", SIZE, MOST),
        )

    def address(self, **changes: object) -> str:
        """Return the query of an address, with some fields changed; usual ones are left out."""
        usual = {"state": "", "search": "", "order": "updated", "page": 1, "size": SIZE}
        wanted = {name: changes.get(name, getattr(self, name)) for name in usual}
        return urlencode({name: v for name, v in wanted.items() if v != usual[name]})


def _choice(given: Mapping[str, str], name: str, options: Collection[str], usual: str) -> str:
    value = given.get(name, "") or usual
    if value != usual and value not in options:
        raise BadQuery(f"{name} is {value[:40]!r}.", advice=f"Use one of {', '.join(options)}.")
    return value


def _number(given: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = given.get(name, "") or str(usual)
    if text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most:
        return int(text)
    raise BadQuery(f"{name} is {text[:40]!r}.", advice=f"Use a whole number from 1 to {most}.")


def select(rows: Mapping[str, TaskRow], query: Query) -> TaskPage:
    """Return the page that is asked for; one beyond the last is the last."""
    words = query.search.lower().split()
    found = [row for row in rows.values() if _fits(row, query.state, words)]
    found.sort(key=_KEYS[query.order])
    pages = max(1, -(-len(found) // query.size))
    page = min(query.page, pages)
    shown = found[(page - 1) * query.size : page * query.size]
    return TaskPage(tuple(shown), len(found), page, pages, query.size, counts(rows))


def counts(rows: Mapping[str, TaskRow]) -> dict[str, int]:
    """Return how many tasks are in each state, in the order of a task's life."""
    by_state = Counter(row.status for row in rows.values())
    return {state: by_state.pop(state, 0) for state in STATES} | dict(by_state)


def _fits(row: TaskRow, state: str, words: list[str]) -> bool:
    if state and row.status != state:
        return False
    text = f"{row.task} {row.account} {row.course} {row.message}".lower() if words else ""
    return all(word in text for word in words)


def _by_id(row: TaskRow) -> tuple[bool, int, str]:
    """Numbers by their size, before all texts."""
    plain = row.task.isascii() and row.task.isdigit()
    return not plain, int(row.task) if plain else 0, row.task


_KEYS = {
    "updated": lambda row: (-(row.updated or 0.0), row.task),
    "task": _by_id,
    "percent": lambda row: (-(row.percent or 0.0), row.task),
    "speed": lambda row: (-(row.speed or 0.0), row.task),
}
