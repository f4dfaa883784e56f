"""What is ordered and what goes wrong when: drawn from a seed. Pure, so that a seed repeats it.

Goes in: a seed, how many orders, for how long, how many dispatchers. Comes out: the orders with
the end that each must come to, and the faults in the order of their times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

URL = "https://portal.invalid/course/chaos/"
MALFORMED = (b"", b"{", b"[1]", b'{"taskId":null,"courseUrl":"x"}', b'{"taskId":7}', b"\xff\xfe")
POINTS = (
    *("intake:claimed", "intake:volume", "intake:run", "intake:board", "intake:settled"),
    *("verdict:judged", "verdict:published", "verdict:marked", "retry:marked", "retry:run"),
)


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "dispatcher killed"
    DIE = "dispatcher killed at a named point"
    STOP = "dispatcher told to stop"
    PAUSE = "dispatcher paused"
    RUN = "run killed"
    RESTART = "Redis killed and restarted"
    FREEZE = "Redis frozen"
    CUT = "connections to Redis cut"
    REFUSE = "Redis refuses connections"


WEIGHTS = {
    Kind.KILL: 5,
    Kind.DIE: 4,
    Kind.STOP: 2,
    Kind.PAUSE: 4,
    Kind.RUN: 5,
    Kind.RESTART: 1,
    Kind.FREEZE: 2,
    Kind.CUT: 4,
    Kind.REFUSE: 1,
}
LENGTHS = {Kind.PAUSE: 4.0, Kind.FREEZE: 2.0, Kind.REFUSE: 2.0, Kind.KILL: 1.0, Kind.DIE: 1.0}
"""Seconds that a fault lasts at most; a dispatcher stays away so long. Others are over at once."""

LONG = " for a minute or more"
ABSENCE = (65.0, 100.0)
"""Seconds of an absence: longer than a heartbeat counts, and than a promised slot does (60 s)."""

HABITS: tuple[tuple[int, dict[str, str], str], ...] = (
    (70, {}, "completed"),
    (8, {"1": "exit 75"}, "completed"),
    (5, {"1": "exit 76"}, "completed"),
    (4, {"1": "exit 143"}, "completed"),
    (3, {"1": "die"}, "completed"),
    (3, {"1": "exit 75", "2": "exit 76"}, "completed"),
    (5, {str(n): "exit 65" for n in range(1, 30)}, "failed"),
    (2, {str(n): "exit 64" for n in range(1, 30)}, "failed"),
)
"""How often, what the program does in which attempt, and the end that follows."""


@dataclass(frozen=True, slots=True)
class Order:
    """One message. `end` is None for one that must come to rest in the dead list."""

    at: float
    raw: bytes
    task: str = ""
    end: str | None = None
    copy: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong: when, what, for how long; `whom` in [0, 1) chooses the victim."""

    at: float
    kind: Kind
    whom: float
    seconds: float = 0.0
    point: str = ""

    @property
    def name(self) -> str:
        """What a report calls it."""
        return self.kind.value + LONG * self.absence

    @property
    def absence(self) -> bool:
        """Whether it keeps a dispatcher away for a minute or more."""
        return self.seconds >= ABSENCE[0]


@dataclass(frozen=True, slots=True)
class Schedule:
    """All of it, each in the order of its times; seconds from the beginning."""

    orders: tuple[Order, ...]
    faults: tuple[Fault, ...]
    seed: int = 0

    @property
    def ends(self) -> dict[str, str]:
        """The end that each task must come to."""
        return {order.task: order.end for order in self.orders if order.end and not order.copy}

    @property
    def malformed(self) -> int:
        """How many messages are no orders."""
        return sum(order.end is None for order in self.orders)


def draw(seed: int, orders: int, seconds: float, every: float = 0.7, absences: int = 0) -> Schedule:
    """Draw a schedule: faults about `every` so many seconds, orders all the time.

    `absences`: how often a dispatcher is away, paused or killed, for a minute or more.
    """
    dice = Random(seed)
    messages = sorted(_orders(dice, orders, seconds * 0.7), key=lambda order: order.at)
    faults = [*_faults(dice, seconds, every), *_absences(dice, seconds, absences)]
    return Schedule(tuple(messages), tuple(sorted(faults, key=lambda fault: fault.at)), seed)


def _orders(dice: Random, count: int, seconds: float) -> Iterator[Order]:
    for number in range(count):
        at, task = dice.uniform(0, seconds), f"c{number}"
        do, end = dice.choices([h[1:] for h in HABITS], [h[0] for h in HABITS])[0]
        order = Order(at, _message(task, do, dice.uniform(0.0, 0.3)), task, end)
        yield order
        if dice.random() < 0.05:
            yield Order(at + dice.uniform(0, 3), order.raw, task, end, copy=True)
        if dice.random() < 0.04:
            yield Order(at, dice.choice(MALFORMED))


def _message(task: str, do: dict[str, str], work: float) -> bytes:
    fields: dict[str, Any] = {"taskId": task, "courseUrl": URL, "do": do, "work": round(work, 3)}
    return json.dumps(fields).encode()


def _faults(dice: Random, seconds: float, every: float) -> Iterator[Fault]:
    at = 0.5
    while (at := at + dice.uniform(0.3, 1.7) * every) < seconds:
        kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        length = dice.uniform(0.2, 1.0) * LENGTHS.get(kind, 0.0)
        yield Fault(at, kind, dice.random(), length, dice.choice(POINTS))


def _absences(dice: Random, seconds: float, count: int) -> Iterator[Fault]:
    """Two of three are pauses: who was killed remembers nothing that could be wrong by then."""
    for number in range(count):
        kind = Kind.KILL if number % 3 == 2 else Kind.PAUSE
        yield Fault(dice.uniform(1, seconds * 0.7), kind, dice.random(), dice.uniform(*ABSENCE))
