"""The account of webhooks: every order's event has arrived, under one id however often it came.

Goes in: the end that each task came to, and what a receiver got. Comes out: an `Account` that
names what was lost and what was wrong. `weather` makes the receiver one that now and then refuses
to say that it has something: without that, nobody would have to deliver anything twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from playground.receiver import Answer, Delivery

TROUBLES = (Answer(503), Answer(drop=True))
"""Not now; and taken, but nobody hears of it."""
OFTEN = 0.06
"""Share of deliveries that meet a trouble."""


@dataclass(slots=True)
class Account:
    """`lost` and `wrong` name each one; both must be empty."""

    expected: int = 0
    arrived: int = 0
    again: int = 0
    """Events that were delivered more than once, each time under the same id."""
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def lawful(self) -> bool:
        """Whether every event arrived, and each as one."""
        return not self.lost and not self.wrong

    def __str__(self) -> str:
        counts = f"{self.expected} events expected, {self.arrived} arrived, {len(self.lost)} lost"
        rows = [f"{counts}, {self.again} delivered more than once (same id)"]
        return "\n".join([*rows, *(f"    {one}" for one in [*self.lost, *self.wrong][:20])])


def account(ends: Mapping[str, str], deliveries: Iterable[Delivery]) -> Account:
    """Compare what arrived with what must: of each task in `ends`, its end, under one id."""
    taken = [one for one in deliveries if one.status in (0, 200)]
    by_task: dict[str, list[Delivery]] = defaultdict(list)
    for one in taken:
        by_task[str(one.json.get("task_id"))].append(one)
    made = Account(expected=len(ends))
    for task, end in ends.items():
        sure = [one for one in by_task[task] if one.status == 200 and _end(one) == end]
        made.arrived += bool(sure)
        if not sure:
            made.lost.append(f"task {task}: its event ({end}) has not arrived")
        made.wrong += _wrong(task, end, by_task[task])
    made.wrong += [f"task {task}: nobody ordered it" for task in by_task.keys() - ends.keys()]
    ids = Counter(one.headers.get("webhook-id") for one in taken)
    made.again = sum(times > 1 for times in ids.values())
    return made


def _end(delivery: Delivery) -> str:
    return str(delivery.json.get("status", "completed"))


def _wrong(task: str, end: str, deliveries: Iterable[Delivery]) -> Iterable[str]:
    """Name every event that must not be, and every second name or wording of one that must."""
    found = list(deliveries)
    yield from (f"task {task}: {one.verdicts.reason}" for one in found if not one.genuine)
    yield from (f"task {task}: told of {_end(one)}" for one in found if _end(one) != end)
    ids = {one.headers.get("webhook-id") for one in found}
    if len(ids) > 1:
        yield f"task {task}: one event came under {len(ids)} ids: {sorted(map(str, ids))}"
    elif len({one.body for one in found}) > 1:
        yield f"task {task}: one event came in {len({one.body for one in found})} wordings"


def weather(seed: int, count: int, often: float = OFTEN) -> list[Answer]:
    """Draw the answers to the first `count` deliveries."""
    dice = Random(seed)
    usual = Answer(200, body="ok")
    return [dice.choice(TROUBLES) if dice.random() < often else usual for _ in range(count)]
