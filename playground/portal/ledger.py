"""What was asked of a portal and what it gave, counted while it happens.

In: the beginning and the progress of every answer. Out: counts per target (`api:<route>` or
`cdn:<key>`), the list of requests, and a JSON form of both. Tests may wait for a state instead of
sleeping. `sent` counts body bytes the client's side took; what it took but never read is included,
so measure bytes fetched twice by the ranges asked and not by it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from playground.wire import Meter, Outcome, Request

KEPT = 100_000
"""Requests remembered one by one; the counts go on."""


@dataclass
class Visit:
    """One request."""

    number: int
    target: str
    method: str
    range: str | None
    if_range: str | None
    started: float
    """Unix seconds."""
    status: int | None = None
    sent: int = 0
    outcome: str | None = None
    """complete, cut (by a fault), gone (the client left); None while it runs."""
    seconds: float | None = None


@dataclass
class Count:
    """All requests of one target."""

    requests: int = 0
    sent: int = 0
    running: int = 0
    stalled: int = 0
    ranges: list[str] = field(default_factory=list)
    """Range headers in order of arrival; requests without one are not in it."""
    statuses: dict[int, int] = field(default_factory=dict)


class Ledger:
    """Counts; may be read while it is written."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._visits: deque[Visit] = deque(maxlen=KEPT)
        self._counts: dict[str, Count] = {}
        self._credentials: list[str] = []
        self._total = 0
        self.meters: dict[str, Meter] = {}
        """Connections by listener: `api`, `cdn`."""

    def begin(self, target: str, request: Request) -> "Watcher":
        """Note a request that has just come; the watcher follows its answer."""
        with self._changed:
            self._total += 1
            headers = request.headers
            asked, condition = headers.get("range"), headers.get("if-range")
            visit = Visit(self._total, target, request.method, asked, condition, time.time())
            self._visits.append(visit)
            count = self._counts.setdefault(target, Count())
            count.requests += 1
            count.running += 1
            if asked:
                count.ranges.append(asked)
            self._changed.notify_all()
        return Watcher(self._changed, visit, count)

    def saw_credential(self, description: str) -> None:
        """Note that a credential reached the CDN; the description must not hold the credential."""
        with self._changed:
            self._credentials.append(description)
            self._changed.notify_all()

    @property
    def credentials_at_cdn(self) -> list[str]:
        """One text for every credential header that reached the CDN; empty when the client keeps
        its token.
        """
        with self._changed:
            return list(self._credentials)

    def of(self, target: str) -> Count:
        """The counts of one target; zeros when nobody asked for it."""
        with self._changed:
            count = self._counts.get(target, Count())
            return Count(**asdict(count))

    def visits(self, target: str = "") -> list[Visit]:
        """The requests whose target begins with that text, in order of arrival."""
        with self._changed:
            chosen = [visit for visit in self._visits if visit.target.startswith(target)]
            return [Visit(**asdict(visit)) for visit in chosen]

    def total(self, prefix: str) -> Count:
        """The sums over all targets that begin with that text."""
        with self._changed:
            return _sum([one for name, one in self._counts.items() if name.startswith(prefix)])

    def wait(self, until: Callable[["Ledger"], bool], timeout: float = 10.0) -> None:
        """Return as soon as the condition holds; TimeoutError with the counts when it does not in
        time.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not until(self):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(
                        f"The ledger did not reach the state in {timeout} s: {self._counts}"
                    )

    def settle(self, prefix: str = "", timeout: float = 10.0) -> None:
        """Wait until no request of these targets runs; clients may be done before the server."""
        self.wait(lambda ledger: not ledger.total(prefix).running, timeout)

    def reset(self) -> None:
        """Forget everything; requests that run now are not counted any more."""
        with self._changed:
            self._visits.clear()
            self._counts.clear()
            self._credentials.clear()
            for meter in self.meters.values():
                meter.reset()

    def as_json(self, *, visits: bool = True) -> dict[str, Any]:
        """All of it as plain values."""
        with self._changed:
            return {
                "targets": {name: asdict(count) for name, count in self._counts.items()},
                "connections": {name: _meter(meter) for name, meter in self.meters.items()},
                "credentials_at_cdn": list(self._credentials),
                "visits": [asdict(visit) for visit in self._visits] if visits else [],
            }


class Watcher:
    """Writes the progress of one answer into the ledger."""

    def __init__(self, changed: threading.Condition, visit: Visit, count: Count) -> None:
        self._changed, self._visit, self._count = changed, visit, count

    def begun(self, status: int) -> None:
        with self._changed:
            self._visit.status = status
            self._count.statuses[status] = self._count.statuses.get(status, 0) + 1
            self._changed.notify_all()

    def progress(self, count: int) -> None:
        with self._changed:
            self._visit.sent += count
            self._count.sent += count
            self._changed.notify_all()

    def stalled(self, now: bool) -> None:
        with self._changed:
            self._count.stalled += 1 if now else -1
            self._changed.notify_all()

    def done(self, outcome: Outcome) -> None:
        with self._changed:
            self._visit.outcome = outcome.value
            self._visit.seconds = round(time.time() - self._visit.started, 6)
            self._count.running -= 1
            self._changed.notify_all()


def _sum(counts: list[Count]) -> Count:
    whole = Count()
    for one in counts:
        whole.requests += one.requests
        whole.sent += one.sent
        whole.running += one.running
        whole.stalled += one.stalled
        whole.ranges += one.ranges
        for status, times in one.statuses.items():
            whole.statuses[status] = whole.statuses.get(status, 0) + times
    return whole


def _meter(meter: Meter) -> dict[str, int]:
    return {"now": meter.now, "peak": meter.peak, "total": meter.total}
