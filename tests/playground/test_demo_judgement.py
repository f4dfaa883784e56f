"""The demo's judgement: its sums are right, and each of its checks can fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from playground.demo import checks, tally
from playground.demo.evidence import Course, Evidence
from playground.demo.kill import Kill
from playground.demo.orders import CUT_AT, LONG, ORDERS, REFUSALS, SECOND, VICTIM
from playground.demo.tally import Tally
from playground.portal.ledger import Visit
from playground.receiver.receiver import Delivery
from playground.receiver.verify import OK, UNCHECKED, Verdicts

KILLED_AT = 1000.0
WHOLE = "cdn:test-course/001/720.mp4"


def visit(target: str, started: float, start: int, sent: int, outcome: str) -> Visit:
    """A request that asked for everything from `start` on."""
    asked = f"bytes={start}-" if start else None
    return Visit(0, target, "GET", asked, None, started, 206 if start else 200, sent, outcome)


def delivery(task_id: int, status: int, at: float, **verdicts: str) -> Delivery:
    """A webhook of a task as the receiver noted it; every proof holds but the named ones."""
    body = b'{"task_id":%d,"folder_name":"x"}' % task_id
    proofs = {"body": OK, "secret_key": OK, "signature": OK, "standard": OK} | verdicts
    headers = {"webhook-id": f"{task_id}:completed:1"}
    return Delivery(1, at, "/webhook", headers, body, Verdicts(**proofs), status)


@pytest.mark.parametrize(
    ("spans", "fetched", "distinct"),
    [
        ([(0, 100)], 100, 100),
        ([(0, 60), (60, 40)], 100, 100),
        ([(0, 60), (50, 50)], 110, 100),
        ([(0, 100), (0, 100)], 200, 100),
        ([(50, 50), (0, 100)], 150, 100),
        ([(0, 10), (90, 10)], 20, 20),
    ],
)
def test_bytes_count_twice_exactly_where_requests_overlap(
    spans: list[tuple[int, int]], fetched: int, distinct: int
) -> None:
    """Whatever the order of the requests, and over gaps."""
    visits = [visit(LONG, 1.0, start, sent, "complete") for start, sent in spans]
    assert tally.by_target(visits) == {LONG: Tally(fetched, distinct)}


def test_an_answer_without_the_file_is_no_byte_of_it() -> None:
    """The body of an error says nothing about what was fetched."""
    refused = replace(visit(LONG, 1.0, 500, 30, "complete"), status=403)
    assert tally.by_target([refused]) == {}


def test_a_range_that_was_ignored_begins_at_zero() -> None:
    """200 to a request with Range is the whole file again."""
    ignored = replace(visit(LONG, 1.0, 500, 1000, "complete"), status=200)
    assert tally.start_of(ignored) == 0


def good() -> Evidence:
    """What a demo leaves in which everything went as it must."""
    opened = {LONG: 10_000_000, SECOND: 5_000_000}
    visits = (
        visit(WHOLE, 900, 0, 1_500_000, "complete"),
        visit(LONG, 901, 0, CUT_AT, "cut"),
        visit(SECOND, 901, 0, 5_000_000, "gone"),
        visit(LONG, 902, CUT_AT, 10_000_000 - CUT_AT, "gone"),
        visit(LONG, KILLED_AT + 3, 10_000_000, 9_000_000, "complete"),
        visit(SECOND, KILLED_AT + 3, 5_000_000, 4_900_000, "complete"),
    )
    short = ORDERS[1].task_id
    refused = [delivery(short, 503, 990.0 + number) for number in range(REFUSALS)]
    sent = {order.key: [delivery(order.task_id, 200, KILLED_AT + 9)] for order in ORDERS}
    sent[str(short)] = [*refused, *sent[str(short)]]
    return Evidence(
        kill=Kill(KILLED_AT, 4711, 10_000_000, {WHOLE: 1_500_000}, opened),
        visits=visits,
        tallies=tally.by_target(visits),
        deliveries=sent,
        courses={order.key: Course(None, 3, 10, 3, ()) for order in ORDERS},
        rows={order.task_id: "completed" for order in ORDERS},
        attempts={order.key: 2 for order in ORDERS},
        noticed=0.5,
        credentials_at_cdn=0,
        sandboxes=(),
        leaks=(),
        exit_code=0,
        left={},
    )


def with_visits(*more: Visit) -> Evidence:
    """The good evidence, with more requests."""
    visits = (*good().visits, *more)
    return replace(good(), visits=visits, tallies=tally.by_target(visits))


def with_deliveries(task_id: int, *sent: Delivery) -> Evidence:
    """The good evidence, with other deliveries of one task."""
    return replace(good(), deliveries={**good().deliveries, str(task_id): list(sent)})


def lost(key: str) -> Evidence:
    """The good evidence, with one file missing on the remote."""
    courses = {**good().courses, key: Course(None, 2, 10, 3, ("a",))}
    return replace(good(), courses=courses)


def test_good_evidence_passes_every_check() -> None:
    """Otherwise the failures below would say nothing."""
    assert [fact.name for fact in checks.judge(good()) if not fact.holds] == []


SPOILT: dict[str, tuple[str, Callable[[], Evidence]]] = {
    "a file is missing": ("files", lambda: lost(VICTIM.key)),
    "a row is not completed": (
        "rows",
        lambda: replace(good(), rows={**good().rows, VICTIM.task_id: "running"}),
    ),
    "a row is missing": ("rows", lambda: replace(good(), rows={VICTIM.task_id: "completed"})),
    "a webhook was accepted twice": (
        "webhooks",
        lambda: with_deliveries(999, delivery(999, 200, 1.0), delivery(999, 200, 2.0)),
    ),
    "a webhook never came": ("webhooks", lambda: with_deliveries(999)),
    "a webhook has no secret": (
        "signatures",
        lambda: with_deliveries(999, delivery(999, 200, 2000.0, secret_key="missing secret_key")),
    ),
    "nobody checked the signature": (
        "signatures",
        lambda: with_deliveries(999, delivery(999, 200, 2000.0, signature=UNCHECKED)),
    ),
    "the event changed between two tries": (
        "redelivery",
        lambda: with_deliveries(
            999, delivery(999, 200, 2000.0), replace(delivery(999, 200, 2001.0), body=b"{}")
        ),
    ),
    "something was fetched for a redelivery": (
        "redelivery",
        lambda: with_visits(visit("cdn:odd-titles/001/720.mp4", 995.0, 0, 10, "complete")),
    ),
    "the cut file began anew": (
        "cut",
        lambda: replace(
            good(),
            visits=(good().visits[1], visit(LONG, 902, 0, 6_000_000, "gone"), *good().visits[4:]),
        ),
    ),
    "the killed order took one run": (
        "restart",
        lambda: replace(good(), attempts={**good().attempts, VICTIM.key: 1}),
    ),
    "a whole file was fetched again": (
        "finished",
        lambda: with_visits(visit(WHOLE, KILLED_AT + 4, 0, 1_500_000, "complete")),
    ),
    "an open file began anew": (
        "open",
        lambda: replace(
            good(),
            visits=(*good().visits[:5], visit(SECOND, KILLED_AT + 3, 0, 9_900_000, "complete")),
        ),
    ),
    "more than a MiB was fetched twice": (
        "open",
        lambda: with_visits(visit(LONG, KILLED_AT + 5, 8_000_000, 1_048_577, "complete")),
    ),
    "the token went to the CDN": ("token", lambda: replace(good(), credentials_at_cdn=1)),
    "a log holds a secret": ("secrets", lambda: replace(good(), leaks=("task-999.log",))),
    "a folder is left": ("volumes", lambda: replace(good(), sandboxes=("Task_999",))),
    "a process is left": ("processes", lambda: replace(good(), left={1: "rclone"})),
    "the dispatcher crashed": ("processes", lambda: replace(good(), exit_code=-11)),
}


@pytest.mark.parametrize(("name", "spoilt"), SPOILT.values(), ids=SPOILT.keys())
def test_each_check_fails_on_what_it_is_there_for(name: str, spoilt: Callable[[], Any]) -> None:
    """One thing is wrong; the check with that name says so."""
    assert name in [fact.name for fact in checks.judge(spoilt()) if not fact.holds]
