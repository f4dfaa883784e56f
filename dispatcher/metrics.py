"""`/metrics`: the one door to prometheus-client.

Goes in: live views, the tally, three lengths in Redis. Comes out: the Prometheus text format. What
is true now is read when it is asked for, from what the loop saw last; only what has happened is
counted, in `tally`, in plain Python. So this module, and its library, are loaded by the first
reading. No label has an unbounded set of values: a task's id is in none.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dispatcher.audit import KINDS, PLACES
from dispatcher.auditor import Audited
from dispatcher.health import Check
from dispatcher.loop import Loop
from dispatcher.record import Stand
from dispatcher.settings import Settings
from dispatcher.store import Lengths, Store, StoreUnavailable
from dispatcher.tally import EVENTS, TALLY, Event, Measured
from dispatcher.views import View

PATIENCE = 2.0
"""Seconds that Redis may take for its part; a scrape gives up after ten."""

PHASES = ("starting", "working", "held_up", "stopping")

_P = "course_runner_"


def page(
    settings: Settings, loop: Loop, store: Store, ails: Check
) -> Callable[[], tuple[str, bytes]]:
    """Return what answers a scrape. `ails` says why the dispatcher is not ready, or ""."""
    registry = CollectorRegistry()
    registry.register(_Live(settings, loop, Question(store), ails))
    registry.register(_Past())
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return lambda: (CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))


class Question:
    """Asks Redis beside the scrape, which does not wait for one that hangs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asking = threading.Lock()
        self._answer: Lengths | None = None

    def ask(self) -> Lengths | None:
        """Return what Redis says now; None when it does not within `PATIENCE`."""
        if not self._asking.acquire(blocking=False):
            return None  # the last question is still open
        self._answer = None
        asked = threading.Thread(target=self._ask, name="metrics", daemon=True)
        asked.start()
        asked.join(PATIENCE)
        return self._answer

    def _ask(self) -> None:
        try:
            self._answer = self._store.lengths()
        except StoreUnavailable:
            self._answer = None
        finally:
            self._asking.release()


class _Live(Collector):
    """What is true at this moment."""

    def __init__(self, settings: Settings, loop: Loop, redis: Question, ails: Check) -> None:
        self._settings = settings
        self._loop = loop
        self._redis = redis
        self._ails = ails

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges."""
        yield self._build()
        yield from self._health()
        yield from _queue(self._redis.ask())
        yield from _tasks(self._loop.seen)
        phases = Counter(_phases(self._loop.seen, self._loop.obstacles))
        yield _gauge("runs", "Runs alive, by what they are at.", phases, "phase", PHASES)
        if self._loop.audited is not None:
            yield from _audit(self._loop.audited)

    def _build(self) -> Metric:
        labels = {
            "version": _version(),
            "python": platform.python_version(),
            "executor": self._settings.executor,
        }
        family = GaugeMetricFamily(
            _P + "build_info", "What is running; the value is always 1.", labels=tuple(labels)
        )
        family.add_metric(tuple(labels.values()), 1)
        return family

    def _health(self) -> Iterator[Metric]:
        pulse, limits = self._loop.pulse, self._settings.limits
        yield _one("ready", "Whether /readyz says yes.", not self._ails())
        yield _one("paused", "Whether intake is paused.", bool(pulse.note))
        yield _one("max_active_runs", "MAX_ACTIVE: runs that may be alive.", limits.max_active)
        if pulse.last:
            age = time.monotonic() - pulse.last
            yield _one("turn_age_seconds", "Time since the loop's last turn ended.", age)


class _Past(Collector):
    """What has happened since the process began."""

    def collect(self) -> Iterator[Metric]:
        """Yield all counters and histograms; kinds that never happened are 0."""
        for event in EVENTS:
            yield _measured(event) if event.buckets else _counted(event)


def _counted(event: Event) -> Metric:
    family = CounterMetricFamily(event.name, event.help, labels=_label(event))
    for value, count in TALLY.count(event).items():
        family.add_metric(_value(event, value), count)
    return family


def _measured(event: Event) -> Metric:
    family = HistogramMetricFamily(event.name, event.help, labels=_label(event))
    for value, found in TALLY.measured(event).items():
        family.add_metric(_value(event, value), _buckets(event, found), found.sum)
    return family


def _buckets(event: Event, found: Measured) -> list[tuple[str, float]]:
    """Return each upper bound with how many are below it, as the format has them."""
    bounds = [*(str(bound) for bound in event.buckets), "+Inf"]
    sums = [sum(found.counts[: n + 1]) for n in range(len(bounds))]
    return list(zip(bounds, map(float, sums), strict=True))


def _label(event: Event) -> tuple[str, ...]:
    return (event.label,) if event.label else ()


def _value(event: Event, value: str) -> tuple[str, ...]:
    return (value,) if event.label else ()


# --- gauges ---------------------------------------------------------------------------------------
def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_P + name, text, value=float(value))


def _gauge(
    name: str, text: str, found: Mapping[str, float], label: str, values: Iterable[str]
) -> Metric:
    """Return a gauge with a sample for each of `values`, 0 where nothing was found."""
    family = GaugeMetricFamily(_P + name, text, labels=(label,))
    for value in values:
        family.add_metric((value.replace(" ", "_"),), found.get(value, 0))
    return family


def _queue(lengths: Lengths | None) -> Iterator[Metric]:
    yield _one("redis_up", "Whether Redis answered this very scrape.", lengths is not None)
    if lengths is not None:
        yield _one("queued_orders", "Orders in the queue.", lengths.queued)
        yield _one("claimed_orders", "Orders that this dispatcher has claimed.", lengths.claimed)
        yield _one("dead_letters", "Messages in the dead list.", lengths.dead)


def _tasks(views: Iterable[View]) -> Iterator[Metric]:
    tasks: Counter[str] = Counter()
    volumes: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for view in views:
        state = view.stand.value
        tasks[state] += 1
        if view.holding.volume is not None and view.record is not None:
            volumes[state] += 1
            sizes[state] += view.record.size
    states = tuple(stand.value for stand in Stand)
    yield _gauge("tasks", "Tasks that have a volume or a run, by state.", tasks, "state", states)
    yield _gauge("volumes", "Volumes, by their task's state.", volumes, "state", states)
    text = "Bytes that volumes ask for, by their task's state; 0 where nothing tells."
    yield _gauge("volume_bytes", text, sizes, "state", states)


def _phases(views: Iterable[View], obstacles: Mapping[str, str]) -> Iterator[str]:
    for view in views:
        run = view.holding.run
        if view.stand is not Stand.ACTIVE or run is None:
            continue
        obstacle = obstacles.get(run.id)
        if run.deleting:
            yield "stopping"
        elif obstacle and not run.working:
            yield "held_up"
        else:
            yield "working" if run.working or obstacle == "" else "starting"


def _audit(audit: Audited) -> Iterator[Metric]:
    text = "Orders in each place, by the last audit; the law of conservation."
    yield _gauge("audit_orders", text, audit.counts, "place", PLACES)
    text = "What the last audit found that is not as it should be."
    yield _gauge("audit_findings", text, audit.found, "kind", KINDS)
    yield _one("audit_timestamp_seconds", "When that audit was, in Unix seconds.", audit.at)


def _version() -> str:
    try:
        return version("course-runner")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"
