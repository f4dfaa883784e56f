"""How many transfers at once: more while each one is slow, half when the platform asks for less.

Goes in: bytes that have come so far, refusals (429), the time. Comes out: a number. More lines are
tried only while those there are bring little each (a long way, or a server that holds each line
back) and are kept only if they bring more in all: on a wire that is full already they would merely
crowd it. After a refusal nothing is tried any more, and what was given up comes back one by one,
for further files and never for further lines of one: those alone could use up a run's patience.
"""

from __future__ import annotations

from math import inf

WINDOW = 0.5
"""Seconds over which a rate is taken: some round trips, and a new line's slow start."""
SLOW = 8_000_000
"""Bytes per second of one line from which on more are not tried: a platform counts an account's
connections, and four such lines bring a course of 5 GB in under three minutes."""
GAIN = 1.25
"""Times the rate before, to keep twice the lines."""
REST = 30.0
"""Seconds before lines are tried again that brought nothing, or one is taken back after a 429."""


class Width:
    """The number, `size`. Takes the time as an argument; not thread-safe but for reading."""

    def __init__(self, start: int, most: int, slow: float = SLOW) -> None:
        self.size = start
        self.is_slow = slow == inf
        """Whether each line brought little of late, so that further ones may help a file."""
        self._slow = slow
        self._start = start
        self._most = max(start, most)
        self._refused = False
        self._not_before = 0.0
        self._from: float | None = None
        self._came = 0
        self._trial: tuple[int, float] | None = None
        """Of the trial that runs: the number and the rate before it."""

    def refused(self, now: float) -> None:
        """Halve the number: the platform asked for less. No line of a file is helped after that."""
        self.size = max(1, min(self._start, self.size) // 2)
        self.is_slow = False
        self._refused, self._trial = True, None
        self._not_before = now + REST

    def look(self, now: float, came: int, busy: int | None = None) -> None:
        """Change the number if it is time to; `came`: all bytes up to now, on `busy` lines."""
        if self._refused:
            self._recover(now)
        else:
            self._measure(now, came, self.size if busy is None else busy)

    def _recover(self, now: float) -> None:
        if self.size < self._start and now >= self._not_before:
            self.size += 1
            self._not_before = now + REST

    def _measure(self, now: float, came: int, busy: int) -> None:
        if self._from is None:
            self._from, self._came = now, came
        elif now - self._from >= WINDOW:
            rate = (came - self._came) / (now - self._from)
            self._from, self._came = now, came
            self.is_slow = 0 < rate / max(1, busy) < self._slow
            self._judge(now, rate, busy)

    def _judge(self, now: float, rate: float, busy: int) -> None:
        if self._trial:
            before, speed = self._trial
            self._trial = None
            if rate < GAIN * speed:
                self.size, self._not_before = before, now + REST
                return
        if now >= self._not_before and self.size < self._most and self._would_help(busy):
            self._trial = self.size, rate
            self.size = min(self._most, 2 * self.size)

    def _would_help(self, busy: int) -> bool:
        return self.is_slow and busy >= self.size
