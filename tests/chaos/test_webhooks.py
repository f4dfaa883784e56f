"""The account of webhooks must see what it is there for: what is lost, and what has two names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from playground.receiver import Answer, Receiver
from tests.chaos.event import deliver
from tests.chaos.webhooks import account, weather

ENDS = {"a": "completed", "b": "failed"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def test_events_that_arrived_once_are_in_order(receiver: Receiver) -> None:
    assert deliver(receiver.url, "a", "completed", 1)
    assert deliver(receiver.url, "b", "failed", 2)
    found = account(ENDS, receiver.deliveries)
    assert (found.expected, found.arrived, found.again, found.lawful) == (2, 2, 0, True)


def test_an_event_that_nobody_took_is_lost(receiver: Receiver) -> None:
    """Answered 503, or cut off after it was read: only the receiver's word counts."""
    receiver.answer_with(Answer(503), Answer(drop=True))
    assert not deliver(receiver.url, "a", "completed", 1)
    assert not deliver(receiver.url, "b", "failed", 2)
    found = account(ENDS, receiver.deliveries)
    assert (found.arrived, len(found.lost), found.lawful) == (0, 2, False)


def test_the_same_event_again_is_counted_and_no_fault(receiver: Receiver) -> None:
    receiver.answer_with(Answer(drop=True))
    for task, status in (("a", "completed"), ("a", "completed"), ("b", "failed")):
        deliver(receiver.url, task, status, 1)
    found = account(ENDS, receiver.deliveries)
    assert (found.arrived, found.again, found.lawful) == (2, 1, True)


@pytest.mark.parametrize(
    ("task", "status", "moment"), [("a", "completed", 2), ("a", "failed", 1), ("c", "completed", 1)]
)
def test_an_event_under_another_name_or_of_another_end_is_a_fault(
    receiver: Receiver, task: str, status: str, moment: int
) -> None:
    deliver(receiver.url, "a", "completed", 1)
    deliver(receiver.url, "b", "failed", 1)
    deliver(receiver.url, task, status, moment)
    found = account(ENDS, receiver.deliveries)
    assert found.wrong and not found.lawful


def test_a_receiver_that_is_away_takes_nothing() -> None:
    with Receiver() as gone:
        url = gone.url
    assert not deliver(url, "a", "completed", 1)


def test_the_weather_is_drawn_from_its_seed_and_has_every_trouble() -> None:
    assert weather(1, 500) == weather(1, 500) != weather(2, 500)
    assert {(one.status, one.drop) for one in weather(1, 500)} == {
        (200, False),
        (503, False),
        (500, True),
    }
