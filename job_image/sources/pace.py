"""How fast to try again, and when to give up: numbers and two counters.

Goes in: failures and refusals. Comes out: waits (interruptible) or the error that ends the tries.
Two budgets are kept apart on purpose: failures are counted, because each costs the platform work;
a 429 is measured in time, because it is no failure, only a "later".
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from contract.errors import Temporary
from job_image.sources.width import SLOW
from job_image.stop import Stop

PROGRESS = 64 * 1024
"""Bytes that a try must bring to count as progress: one more byte a minute is no progress."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds and counts; the defaults are those of a careful browser user."""

    base: float = 1.0
    """Seconds before the second try; doubled with each further one."""
    cap: float = 30.0
    """Most seconds between two tries."""
    tries: int = 5
    """Tries in a row without progress."""
    restarts: int = 5
    """Times one file may begin anew, because it was replaced or ranges were not honoured."""
    budget: float = 300.0
    """Seconds that all 429 answers together may cost in one run; more is for the dispatcher."""
    margin: float = 60.0
    """Seconds of life below which a signed address is renewed before use."""
    connect: float = 10.0
    """Seconds for a connection to come about."""
    read: float = 60.0
    """Seconds of silence after which a connection counts as broken. One that brings less than
    `PROGRESS` in that time counts as broken too."""
    slow: float = SLOW
    """Bytes per second of a line below which idle threads help with its file."""
    least: int = 1024 * 1024
    """Bytes that a further line is put to at least: half a second of a slow one."""
    stall: float = 5.0
    """Seconds of silence after which another line of the same file takes over; twice as many after
    each time that one has, up to `read`."""


class Unanswered(Temporary):
    """No usable answer came: network, timeout, 5xx. Trying again soon may help."""


class BrokenOff(Unanswered):
    """The connection ended while it was in use. That says nothing against the next one."""


class RateLimited(Temporary):
    """The platform asks for more patience than one run has."""


def backoff(pace: Pace, failures: int, luck: float) -> float:
    """Return the seconds to wait after that many failures; `luck` in [0, 1) spreads the crowd."""
    return min(pace.cap, pace.base * 2.0 ** min(failures - 1, 30)) * (0.5 + luck / 2)


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds of a Retry-After header, given as a number or a date; None without."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class Tries:
    """Counts the tries of one request or file."""

    def __init__(self, pace: Pace, stop: Stop, most: int | None = None) -> None:
        self._pace = pace
        self._stop = stop
        self._most = pace.tries if most is None else most
        self._failures = 0

    def failed(self, error: Temporary, *, progress: int = 0) -> None:
        """Wait before the next try, or raise `error` when the tries are used up.

        `progress`: bytes that the failed try has brought nevertheless. After progress the next try
        begins at once, and so does that after the first connection in a row that broke off.
        """
        self._failures = 0 if progress >= PROGRESS else self._failures + 1
        if self._failures >= self._most or (error.retry_after or 0) > self._pace.budget:
            raise error
        is_first_break = self._failures == 1 and isinstance(error, BrokenOff)
        wait = 0.0 if is_first_break or not self._failures else self._backoff()
        self._stop.wait(max(wait, error.retry_after or 0.0))

    def _backoff(self) -> float:
        return backoff(self._pace, self._failures, random.random())  # noqa: S311 - no secret


class Patience:
    """What 429 answers cost: all threads wait for the same moment, within one budget."""

    def __init__(self, pace: Pace, shrink: Callable[[], None] = lambda: None) -> None:
        self._pace = pace
        self._shrink = shrink
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._spent = 0.0
        self._refusals = 0

    def pause(self, stop: Stop) -> None:
        """Wait until requests are welcome again."""
        while (left := self._not_before - time.monotonic()) > 0:
            stop.wait(left)

    def refused(self, asked: float | None, host: str) -> None:
        """Note a 429 of `host` that asked for so many seconds. Raise `RateLimited` over budget.

        The wait grows with each refusal, also where 0 seconds were asked for.
        """
        with self._lock:
            now = time.monotonic()
            if self._not_before > now:
                return  # a neighbour got the same answer; its wait is everybody's
            self._refusals += 1
            wait = max(asked or 0.0, backoff(self._pace, self._refusals, 1.0))
            is_too_much = self._spent + wait > self._pace.budget
            if not is_too_much:
                self._spent += wait
                self._not_before = now + wait
        self._shrink()
        if is_too_much:
            raise _too_much(wait, host)

    def rest(self, asked: float | None) -> None:
        """Let all wait for a server that has said when it will be back (503 with Retry-After).

        A longer time than the budget is for the dispatcher, with the error of the file that met it.
        """
        if not asked or asked > self._pace.budget:
            return
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + asked)
        self._shrink()


def _too_much(wait: float, host: str) -> RateLimited:
    return RateLimited(
        f"{host} limits the rate of requests (429) and asks for {wait:.0f} s more.",
        advice="Nothing to do: it is tried again later. Run fewer tasks per account.",
        retry_after=wait,
    )
