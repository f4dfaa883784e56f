"""How many transfers at once: more while lines wait or are slow, half when asked for less.

Goes in: bytes that have come so far, how long answers were waited for, processor time, refusals
(429), the time. Comes out: a number. More lines are tried where those there are bring little each
(a server that holds each line back), or where they spend their time waiting for answers (a long
way), and are kept only if they bring more in all: on a wire that is full already they would merely
crowd it. Where the processor is what is short, they would only share it. After a refusal nothing
is tried any more, and what was given up comes back one by one, for further files and never for
further lines of one: those alone could use up a run's patience.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

WINDOW = 0.5
"""Seconds over which a rate is taken: some round trips, and a new line's slow start."""
FIRST = 0.3
"""Seconds of the first rate, which decides whether more lines are tried at all."""
SLOW = 8_000_000
"""Bytes per second of one line from which on more are not tried: a platform counts an account's
connections, and four such lines bring a course of 5 GB in under three minutes."""
LONG = 0.015
"""Seconds until an answer begins from which on the way is a long one: four lines that bring small
files over it end below 270 a second."""
WAITING = 1 / 3
"""Of the lines' time, spent on waiting for answers, from which on more are tried."""
WORKING = 0.8
"""Of one processor, from which on more lines would only share it."""
ROUNDS = 6.0
"""Waits for an answer that new lines have to show what they bring: three for the connection."""
GAIN = 1.25
"""Times the rate before, to keep more lines."""
REST = 30.0
"""Seconds before lines are tried again that brought nothing, or one is taken back after a 429."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What has been up to a moment, all lines together."""

    came: int = 0
    """Bytes."""
    answers: int = 0
    waited: float = 0.0
    """Seconds from the requests for these answers to their beginnings."""
    worked: float = 0.0
    """Seconds of processor time."""


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
        self._span = FIRST
        self._seen = Sight()
        """What had been at `_from`, when the window began."""
        self._trial: tuple[int, float] | None = None
        """Of the trial that runs: the number and the rate before it."""

    def refused(self, now: float) -> None:
        """Halve the number: the platform asked for less. No line of a file is helped after that."""
        self.size = max(1, min(self._start, self.size) // 2)
        self.is_slow = False
        self._refused, self._trial = True, None
        self._not_before = now + REST

    def look(self, now: float, seen: Sight, busy: int | None = None) -> None:
        """Change the number if it is time to; `seen`: up to now, on `busy` lines of late."""
        if self._refused:
            self._recover(now)
        elif self._from is None:
            self._begin(now, seen, FIRST)
        else:
            self._measure(now, seen, self.size if busy is None else busy)

    def _recover(self, now: float) -> None:
        if self.size < self._start and now >= self._not_before:
            self.size += 1
            self._not_before = now + REST

    def _begin(self, now: float, seen: Sight, span: float) -> None:
        """Begin a window."""
        self._from, self._seen, self._span = now, seen, span

    def _measure(self, now: float, seen: Sight, busy: int) -> None:
        took = now - (self._from or 0.0)
        rate = (seen.came - self._seen.came) / took if took > 0 else 0.0
        if took >= self._span:
            self.is_slow = 0 < rate / max(1, busy) < self._slow
            self._judge(now, rate)
            self._try(now, rate, seen, busy, may=self.is_slow)
            if self._from != now:
                self._begin(now, seen, WINDOW)
        elif self._trial is None:
            self._try(now, rate, seen, busy, may=self._is_long(took, seen, busy))

    def _judge(self, now: float, rate: float) -> None:
        """End a trial: go back to the number before it if that was not much worse."""
        if self._trial:
            before, speed = self._trial
            self._trial = None
            if rate < GAIN * speed:
                self.size, self._not_before = before, now + REST

    def _try(self, now: float, rate: float, seen: Sight, busy: int, *, may: bool) -> None:
        """Begin a trial of all lines there may be, if more of them `may` help."""
        has_room = self._not_before <= now and busy >= self.size < self._most
        if may and has_room and not self._is_working(now, seen):
            self._trial = self.size, rate
            self.size = self._most
            self._begin(now, seen, max(WINDOW, ROUNDS * self._wait(seen)))

    def _is_long(self, took: float, seen: Sight, busy: int) -> bool:
        """Whether lines wait most of the time; known long before a rate is."""
        waited = seen.waited - self._seen.waited
        is_known = seen.answers - self._seen.answers >= self.size and seen.came > self._seen.came
        return is_known and self._wait(seen) >= LONG and waited >= WAITING * took * busy

    def _wait(self, seen: Sight) -> float:
        """Return the seconds that an answer was waited for in this window; 0 without any."""
        answers = seen.answers - self._seen.answers
        return (seen.waited - self._seen.waited) / answers if answers else 0.0

    def _is_working(self, now: float, seen: Sight) -> bool:
        """Whether the processor is what there is too little of."""
        return seen.worked - self._seen.worked >= WORKING * (now - (self._from or 0.0))
