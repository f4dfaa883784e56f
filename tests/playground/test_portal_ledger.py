"""The ledger: what was asked and what was given, to the byte."""

import threading

import pytest
import requests

from playground.content import Synthetic
from playground.portal import actions
from tests.playground.playground_course import SIZE, VIDEO

TARGET = f"cdn:{VIDEO}"


def test_requests_bytes_ranges_and_statuses_are_counted_per_object(portal, fetch):
    fetch()
    fetch(Range="bytes=1000-1999")
    fetch(Range=f"bytes={SIZE}-")
    count = portal.ledger.of(TARGET)
    assert count.requests == 3
    assert count.sent == SIZE + 1000
    assert count.ranges == ["bytes=1000-1999", f"bytes={SIZE}-"]
    assert count.statuses == {200: 1, 206: 1, 416: 1}


def test_what_nobody_asked_for_counts_zero(portal):
    assert portal.ledger.of("cdn:nothing").requests == 0


def test_a_cut_counts_the_bytes_before_the_cut(portal, fetch):
    portal.faults.add(TARGET, actions.CutBody(after=77_777))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        fetch()
    portal.ledger.settle()
    assert portal.ledger.of(TARGET).sent == 77_777
    assert portal.ledger.visits(TARGET)[0].outcome == "cut"


def test_visits_tell_order_range_and_end_of_every_request(portal, fetch):
    etag = fetch().headers["ETag"]
    fetch(Range="bytes=5-", If_Range=etag)
    portal.ledger.settle()
    first, second = portal.ledger.visits("cdn:")
    assert (first.number, first.range, first.if_range, first.status) == (1, None, None, 200)
    assert (second.number, second.range, second.if_range) == (2, "bytes=5-", etag)
    assert (second.status, second.sent, second.outcome) == (206, SIZE - 5, "complete")
    assert second.seconds is not None


def test_a_large_object_is_counted_whole(portal, fetch):
    portal.replace(VIDEO, Synthetic("large", 5_000_000))
    fetch()
    assert portal.ledger.of(TARGET).sent == portal.ledger.visits(TARGET)[0].sent == 5_000_000


def test_a_client_that_leaves_is_charged_only_what_its_side_took(portal):
    size = 200_000_000
    portal.replace(VIDEO, Synthetic("huge", size))
    with requests.get(portal.signed_url(VIDEO), stream=True, timeout=10) as answer:
        answer.raw.read(1000)
    portal.ledger.settle()
    visit = portal.ledger.visits(TARGET)[0]
    assert visit.outcome == "gone"
    assert 1000 <= visit.sent < size / 2


def test_api_routes_are_counted_by_what_they_are_about(portal, ask):
    number = portal.catalogue.listings[0].id
    ask("users/me/subscribed-courses")
    ask(f"courses/{number}/subscriber-curriculum-items/")
    ask(f"users/me/subscribed-courses/{number}/lectures/{number * 10_000 + 3}")
    ask("somewhere/else")
    assert [visit.target for visit in portal.ledger.visits("api:")] == [
        "api:subscribed-courses",
        "api:curriculum/test-course",
        "api:lecture/test-course/welcome",
        "api:unknown",
    ]


def test_totals_sum_over_a_prefix(portal, fetch):
    fetch()
    fetch("test-course/welcome/Auto.mp4")
    total = portal.ledger.total("cdn:")
    assert (total.requests, total.sent, total.statuses) == (2, SIZE + 1000, {200: 2})
    assert portal.ledger.total("api:").requests == 0


def test_the_peak_of_connections_is_the_most_at_one_time(portal, fetch):
    portal.faults.add("cdn:*", actions.StallBody(after=10), times=3)
    clients = [threading.Thread(target=fetch) for _ in range(3)]
    for client in clients:
        client.start()
    portal.ledger.wait(lambda ledger: ledger.of(TARGET).stalled == 3)
    portal.release()
    for client in clients:
        client.join(10)
    fetch()
    assert portal.ledger.meters["cdn"].peak == 3
    assert portal.ledger.meters["cdn"].total == 4


def test_many_clients_at_once_lose_no_count(portal, fetch):
    def client():
        for _ in range(10):
            fetch(Range="bytes=0-99")

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(30)
    count = portal.ledger.of(TARGET)
    assert (count.requests, count.sent, count.statuses) == (80, 8000, {206: 80})


def test_waiting_in_vain_ends_with_what_there_is(portal):
    with pytest.raises(TimeoutError, match="did not reach"):
        portal.ledger.wait(lambda ledger: False, timeout=0.05)


def test_reset_forgets_everything(portal, fetch):
    fetch(Cookie="a=b")
    portal.ledger.settle()
    portal.ledger.reset()
    assert portal.ledger.visits() == []
    assert portal.ledger.total("").requests == 0
    assert portal.ledger.credentials_at_cdn == []


def test_the_json_form_holds_the_same(portal, fetch):
    fetch()
    portal.ledger.settle()
    value = portal.ledger.as_json()
    assert value["targets"][TARGET]["sent"] == SIZE
    assert value["visits"][0]["target"] == TARGET
    assert value["connections"]["cdn"]["total"] == 1
    assert portal.ledger.as_json(visits=False)["visits"] == []
