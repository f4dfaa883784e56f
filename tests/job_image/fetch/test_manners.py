"""How the fetch behaves towards a platform that asks for less, and how far it goes unasked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from playground.content import Synthetic
from playground.portal import actions
from playground.portal.courses import Chapter, Course, Video
from tests.job_image.fetch.film import whole
from tests.job_image.fetch.order import QUICK, Order

Ordering = Callable[..., Order]
SIZE = 400_000


def many(count: int, size: int = SIZE) -> Course:
    films = tuple(Video(f"Film {n}", {720: Synthetic(f"m{n}", size)}) for n in range(1, count + 1))
    return Course("many", chapters=(Chapter("All", films),))


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_names_its_wait_is_left_alone_by_all(ordering: Ordering, code: int) -> None:
    """One answer with Retry-After: 1, and no transfer of the task begins a request before that."""
    order = ordering(many(24), environ={"DOWNLOAD_CONCURRENCY": "4"})
    refusal = actions.Status(code, retry_after=1)
    order.portal.faults.add("cdn:many/003/720.mp4", refusal)
    order.fetch()
    visits = order.portal.ledger.visits("cdn:")
    at = next(visit.started for visit in visits if visit.status == code)
    soon = [visit for visit in visits if at + 0.2 < visit.started < at + 0.95]
    late = [visit for visit in visits if visit.started >= at + 0.95]
    assert soon == [] and len(late) >= 15


def test_after_a_429_half_as_many_lines_are_used(ordering: Ordering) -> None:
    """Four at once before the refusal, two after it."""
    order = ordering(many(30), environ={"DOWNLOAD_CONCURRENCY": "4"})
    order.portal.faults.add("cdn:*", actions.Rate(4_000_000), times=None)
    order.portal.faults.add("cdn:many/010/720.mp4", actions.Status(429))
    order.fetch()
    visits = order.portal.ledger.visits("cdn:")
    refused = next(visit for visit in visits if visit.status == 429)
    rest = [visit for visit in visits if visit.number > refused.number + 6]
    assert len(rest) > 10
    assert at_once([visit for visit in visits if visit.number < refused.number]) == 4
    assert at_once(rest) == 2


def at_once(visits: list[object]) -> int:
    """Return how many of these requests ran at one time, at most."""
    edges: list[tuple[float, int]] = []
    for visit in visits:
        began: float = visit.started  # type: ignore[attr-defined]
        lasted: float = visit.seconds or 0.0  # type: ignore[attr-defined]
        edges += [(began, 1), (began + lasted - 0.01, -1)]
    now = most = 0
    for _, change in sorted(edges):
        now += change
        most = max(most, now)
    return most


def test_as_many_lines_as_were_asked_for_and_no_more(ordering: Ordering) -> None:
    """A number in DOWNLOAD_CONCURRENCY is a promise: to each host that many connections."""
    order = ordering(many(40), environ={"DOWNLOAD_CONCURRENCY": "3"})
    order.portal.faults.add("cdn:*", actions.Rate(400_000), times=24)
    order.fetch()
    assert order.portal.ledger.meters["cdn"].peak == 3
    assert order.portal.ledger.meters["cdn"].total == 3
    assert order.portal.ledger.meters["api"].peak <= 3


def test_lines_that_are_held_back_each_are_multiplied(ordering: Ordering) -> None:
    """Without a number, a server that holds each connection back is asked on more: up to 16."""
    order = ordering(many(60))
    order.portal.faults.add("cdn:*", actions.Rate(250_000), times=None)
    order.fetch()
    assert 8 <= order.portal.ledger.meters["cdn"].peak <= 16
    assert order.read("01 - All/060 Film 60.mp4") == whole(Synthetic("m60", SIZE))


def test_a_platform_that_asked_for_less_is_never_asked_on_more(ordering: Ordering) -> None:
    """After a 429 slow lines are no reason for further ones."""
    order = ordering(many(16), pace=replace(QUICK, budget=5.0))
    order.portal.faults.add("cdn:many/001/720.mp4", actions.Status(429))
    order.portal.faults.add("cdn:*", actions.Rate(400_000), times=None)
    order.fetch()
    assert order.portal.ledger.meters["cdn"].peak <= 4


def test_threads_end_with_the_run(ordering: Ordering) -> None:
    """A run that has widened leaves no thread behind."""
    order = ordering(many(30))
    order.fetch()
    assert [one.name for one in threading.enumerate() if one.name.startswith("fetch-")] == []
