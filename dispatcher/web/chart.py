"""The chart of the last hours: where each bar lies. Pure; the template draws it as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.web.facts import Bucket

WIDTH, HEIGHT = 480.0, 80.0
GAP = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle: what it counts ("completed", "failed", "came"), and where it lies."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars, the highest number, and one sentence that says the same."""

    bars: tuple[Bar, ...]
    top: int
    words: str
    begin: float
    end: float


def chart(buckets: Sequence[Bucket]) -> Chart:
    """Return the chart: what ended as bars, what came as a line of dashes above them."""
    top = max([1, *(b.completed + b.failed for b in buckets), *(b.came or 0 for b in buckets)])
    step = WIDTH / max(1, len(buckets))
    bars: list[Bar] = []
    for place, bucket in enumerate(buckets):
        x, done = place * step, HEIGHT * bucket.completed / top
        lost = HEIGHT * bucket.failed / top
        bars.append(Bar("completed", x, HEIGHT - done, step - GAP, done))
        bars.append(Bar("failed", x, HEIGHT - done - lost, step - GAP, lost))
        if bucket.came:
            bars.append(Bar("came", x, HEIGHT - HEIGHT * bucket.came / top, step - GAP, 2.0))
    return Chart(
        bars=tuple(bar for bar in bars if bar.height > 0),
        top=top,
        words=_words(buckets),
        begin=buckets[0].at if buckets else 0.0,
        end=buckets[-1].at + buckets[-1].seconds if buckets else 0.0,
    )


def _words(buckets: Sequence[Bucket]) -> str:
    completed, failed = sum(b.completed for b in buckets), sum(b.failed for b in buckets)
    hours = sum(bucket.seconds for bucket in buckets) / 3600
    known = [bucket.came for bucket in buckets if bucket.came is not None]
    came = f", {sum(known)} came in since this page was started" if known else ""
    return f"In the last {hours:g} hours {completed} completed, {failed} failed{came}."
