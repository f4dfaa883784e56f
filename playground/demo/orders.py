"""The three orders, and the accidents that befall them.

In: nothing. Out: data. Speeds are in bytes per second: the portal is slowed so that a person can
watch, and so that two large files are open at the moment of the kill.
"""

import json
from dataclasses import dataclass

from playground.portal import Portal, actions

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """One order; `title` is for the screen."""

    task_id: int
    slug: str
    title: str

    @property
    def key(self) -> str:
        """The id as text."""
        return str(self.task_id)

    def message(self, portal: Portal) -> str:
        """The queue message, as a backend writes it."""
        return json.dumps(
            {
                "taskId": self.task_id,
                "email": "student@example.com",
                "courseUrl": portal.course_url(self.slug),
                "captions": "all",
            }
        )


VICTIM = Order(999, "test-course", "One of everything")
ORDERS = (
    VICTIM,
    Order(1000, "odd-titles", "Odd titles"),
    Order(1001, "short-course", "A short course"),
)

LONG = "cdn:test-course/005/720.mp4"
"""The large lecture, as the portal's ledger names it: 19 MB."""
SECOND = "cdn:test-course/008/720.mp4"
"""Another large one, fetched at the same time: 10 MB."""
SPEEDS = {LONG: 2_500_000, SECOND: 1_500_000}
LINES = 4
"""Connections of a run. More would each have so little of LONG that none reaches CUT_AT."""
CUT_AT = 2_000_000
"""Bytes of LONG after which its first connection is reset."""
KILL_AT = 10_000_000
"""Bytes of LONG after which the run is killed: half of the file."""
REFUSALS = 4
"""Webhooks that the receiver answers with 503 first. A run of the demo tries twice, so the runs of
the two short orders end undelivered, and later ones announce them and do nothing else."""


def arm(portal: Portal) -> None:
    """Make the portal slow where it has to be, and cut one connection."""
    for target, speed in SPEEDS.items():
        portal.faults.add(target, actions.Rate(speed), times=None)
    portal.faults.add(LONG, actions.CutBody(CUT_AT, how="reset"))
