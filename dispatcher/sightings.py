"""When each order was first seen: messages carry no time, so that is what waiting is counted from.

Goes in: what a look at the queue and at the claimed list found. Comes out: how long orders waited,
into the tally. An order that comes while a slot is free is claimed as it comes, and was seen at
once; of a longer queue only the window that claims look at is seen, so the wait of a deeper order
begins late. Nothing is kept of what is out of sight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dispatcher.tally import HANDOVER, QUEUE_WAIT, TALLY

LOOK = 5.0
"""Seconds between two looks at a queue that nothing is claimed from."""


class Sightings:
    """Remembers first sights, in seconds of `clock`. One thread looks; several hand over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queued: dict[bytes, float] = {}
        self._claimed: dict[bytes, float] = {}
        self._looked = -LOOK

    def due(self) -> bool:
        """Whether the queue was not looked at for so long that it is time to."""
        return self._clock() - self._looked >= LOOK

    def queued(self, window: Sequence[bytes]) -> None:
        """Take note of the oldest orders of the queue."""
        now = self._looked = self._clock()
        self._queued = {raw: self._queued.get(raw, now) for raw in window}

    def claimed(self, orders: Sequence[bytes]) -> None:
        """Take note of all orders that are claimed now."""
        now = self._clock()
        before, self._claimed = self._claimed, {}
        for raw in orders:
            first = before.get(raw)
            if first is None:
                first = self._queued.pop(raw, now)
                TALLY.observe(QUEUE_WAIT, now - first)
            self._claimed[raw] = first

    def handed_over(self, raw: bytes) -> None:
        """Take note that an order's run has been made."""
        first = self._claimed.pop(raw, None)
        if first is not None:
            TALLY.observe(HANDOVER, self._clock() - first)
