"""Which tasks a query finds, and in which order."""

from __future__ import annotations

import pytest

from dispatcher.web.facts import TaskRow
from dispatcher.web.query import BadQuery, Query, select

ROWS = {
    row.task: row
    for row in (
        TaskRow("9", "running", account="ann@example.com", updated=30.0, percent=10.0),
        TaskRow("10", "failed", message="No such course.", updated=20.0, percent=90.0),
        TaskRow("b", "completed", course="https://c.example/course/Knots/", updated=10.0),
    )
}


def found(**given: str) -> list[str]:
    """The ids that a query finds."""
    return [row.task for row in select(ROWS, Query.parse(given)).tasks]


def test_without_a_wish_the_latest_change_comes_first() -> None:
    assert found() == ["9", "10", "b"]


def test_ids_that_are_numbers_are_ordered_as_numbers() -> None:
    assert found(order="task") == ["9", "10", "b"]


def test_a_state_leaves_only_its_tasks() -> None:
    assert found(state="failed") == ["10"]


@pytest.mark.parametrize(
    ("words", "ids"), [("ANN", ["9"]), ("such no", ["10"]), ("knots", ["b"]), ("nowhere", [])]
)
def test_every_word_of_a_search_must_be_in_the_task(words: str, ids: list[str]) -> None:
    assert found(search=words) == ids


def test_a_page_beyond_the_last_is_the_last() -> None:
    page = select(ROWS, Query(page=99, size=2))
    assert (page.page, page.pages, [row.task for row in page.tasks]) == (2, 2, ["b"])


def test_counts_are_of_all_tasks_whatever_is_searched() -> None:
    counts = select(ROWS, Query(search="ann")).counts
    assert counts["failed"] == counts["completed"] == counts["running"] == 1


@pytest.mark.parametrize(
    "given", [{"page": "0"}, {"size": "501"}, {"state": "odd"}, {"order": "x"}]
)
def test_what_cannot_be_answered_is_refused_by_name(given: dict[str, str]) -> None:
    with pytest.raises(BadQuery, match=next(iter(given))):
        Query.parse(given)


def test_an_address_leads_to_the_query_that_it_was_made_of() -> None:
    query = Query(state="failed", search="a b&c", page=3)
    pairs = (pair.split("=") for pair in query.address().split("&"))
    assert {name for name, _ in pairs} == {"state", "search", "page"}
