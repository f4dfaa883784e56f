"""A seed draws the same chaos every time; another seed draws another."""

from __future__ import annotations

from collections import Counter

import pytest

from contract.errors import BadMessage
from contract.task import Task
from dispatcher.promises import LASTS
from dispatcher.store import HEARTBEAT
from tests.chaos.schedule import LONG, Kind, draw


def test_a_seed_repeats_itself() -> None:
    assert draw(7, 100, 60) == draw(7, 100, 60)
    assert draw(7, 100, 60) != draw(8, 100, 60)


def test_every_kind_of_fault_and_of_order_comes_up() -> None:
    schedule = draw(1, 500, 300)
    assert {fault.kind for fault in schedule.faults} == set(Kind)
    assert set(schedule.ends.values()) == {"completed", "failed"}
    assert len(schedule.ends) == 500
    assert schedule.malformed and any(order.copy for order in schedule.orders)
    assert all(fault.at < 300 for fault in schedule.faults)


def test_absences_outlast_what_a_dispatcher_was_granted() -> None:
    schedule = draw(3, 50, 200, absences=6)
    absences = [fault for fault in schedule.faults if fault.absence]
    kinds = Counter(fault.name for fault in absences)
    assert kinds == {Kind.PAUSE.value + LONG: 4, Kind.KILL.value + LONG: 2}
    assert all(fault.seconds > max(LASTS, HEARTBEAT) for fault in absences)
    assert not any(fault.absence for fault in draw(3, 50, 200).faults)


def test_what_must_be_buried_is_no_order_and_all_else_is() -> None:
    schedule = draw(2, 200, 60)
    kinds = Counter(order.end is None for order in schedule.orders)
    assert kinds[True] == schedule.malformed > 0
    for order in schedule.orders:
        if order.end is None:
            with pytest.raises(BadMessage):
                Task.parse(order.raw)
        else:
            assert Task.parse(order.raw).key == order.task
