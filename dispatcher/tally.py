"""What has happened since this process began: counts and durations, in plain Python.

Goes in: events, as they happen, from any thread. Comes out: numbers, when somebody looks. One tally
per process, as a process is what it counts for; a dispatcher that nobody watches pays an addition
per event and no library. What is true *now* is not kept: that is read from live objects. Labels
are bounded: a word that an event does not know counts as "other".
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

OTHER = "other"

CATEGORIES = (
    *("bad_input", "auth_expired", "not_entitled", "blocked_by_platform", "volume_full"),
    *("temporary", "webhook_not_delivered", "webhook_refused", "bug", "stopped"),
    *("crashed", "deadline", "disrupted", "removed", "refused", "cancelled"),
    *("image_missing", "unschedulable", "volume_unbound", "volume_not_mounted"),
    *("container_not_started", "pod_refused", OTHER),
)
"""All words of verdicts (a test compares); a run's last words may hold any text."""

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)
_LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)
_WAIT = (0.1, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 10800.0, 43200.0, 86400.0, 604800.0)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that is counted, or measured where it has `buckets` (upper bounds in seconds).

    `label` names what tells its kinds apart, `values` are all there are; "" is one kind.
    """

    name: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ("",)
    buckets: tuple[float, ...] = ()


_P = "course_runner_"
ENDED = Event(
    _P + "orders_ended",
    "Orders that have come to their end.",
    "result",
    ("completed", "failed", "cancelled"),
)
RETRIES = Event(_P + "retries", "Ended runs that are followed by another.", "category", CATEGORIES)
FAILURES = Event(_P + "failures", "Orders that have failed for good.", "category", CATEGORIES)
WEBHOOKS = Event(
    _P + "webhook_deliveries",
    "Runs that had the backend's webhook to deliver, by what came of it.",
    "outcome",
    ("delivered", "not_delivered", "refused"),
)
FETCHED = Event(_P + "fetched_bytes", "Bytes that finished fetch steps have downloaded.")
UPLOADED = Event(_P + "uploaded_bytes", "Bytes that finished upload steps have sent.")
REDIS_ERRORS = Event(
    _P + "redis_errors", "Calls of Redis that failed.", "kind", ("connection", "timeout", "refused")
)
API_ERRORS = Event(
    _P + "api_errors",
    "Calls of the API server that failed for reasons of the server or the way to it.",
    "kind",
    ("unreachable", "broken", "throttled", "unauthorized", "server"),
)
QUEUE_WAIT = Event(
    _P + "queue_wait_seconds",
    "From an order's first being seen among the 1,000 oldest of the queue to its claim.",
    buckets=_WAIT,
)
HANDOVER = Event(
    _P + "handover_seconds",
    "From an order's first being seen in the queue, or in the claimed list, to its Job.",
    buckets=_QUICK,
)
RUN = Event(
    _P + "run_seconds",
    "How long runs took, waiting for image, node and volume included.",
    "result",
    ("completed", "retried", "failed"),
    _LONG,
)
STEP = Event(
    _P + "step_seconds",
    "How long finished steps of runs took, their retries within the run included.",
    "step",
    ("fetch", "upload", "verify", "record", "announce", "release"),
    _LONG,
)
EVENTS = (
    *(ENDED, RETRIES, FAILURES, WEBHOOKS, FETCHED, UPLOADED, REDIS_ERRORS, API_ERRORS),
    *(QUEUE_WAIT, HANDOVER, RUN, STEP),
)


@dataclass(slots=True)
class Measured:
    """Durations of one kind. `counts`: how many in each bucket, the last one for all above."""

    counts: list[int]
    sum: float = 0.0


@dataclass(slots=True)
class Tally:
    """The numbers. Thread-safe."""

    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _measured: dict[tuple[str, str], Measured] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event: Event, value: str = "", amount: int = 1) -> None:
        """Count an event of the kind `value`; amounts below 0 are no amounts."""
        with self._lock:
            self._counts[event.name, _known(event, value)] += max(0, amount)

    def observe(self, event: Event, seconds: float, value: str = "") -> None:
        """Note how long an event of the kind `value` took; clocks that went back give 0."""
        took = max(0.0, seconds)
        with self._lock:
            found = self._measured.setdefault(
                (event.name, _known(event, value)), Measured([0] * (len(event.buckets) + 1))
            )
            found.counts[bisect_left(event.buckets, took)] += 1
            found.sum += took

    def count(self, event: Event) -> Mapping[str, int]:
        """Return how many of each kind, all kinds named."""
        with self._lock:
            return {value: self._counts[event.name, value] for value in event.values}

    def measured(self, event: Event) -> Mapping[str, Measured]:
        """Return the durations of each kind, all kinds named."""
        none = Measured([0] * (len(event.buckets) + 1))
        with self._lock:
            found = {value: self._measured.get((event.name, value), none) for value in event.values}
            return {value: Measured(list(one.counts), one.sum) for value, one in found.items()}


def _known(event: Event, value: str) -> str:
    """Return a kind of the event; what it does not know is "other", or else its last kind."""
    return value if value in event.values else event.values[-1]


TALLY = Tally()
"""This process's."""
