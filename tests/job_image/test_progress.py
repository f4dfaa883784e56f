"""Progress: forwards only, at most once a second by itself, remembered from run to run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.progress import INTERVAL, SPANS, Memory, Progress


class Seen:
    """A sink that keeps every update."""

    def __init__(self) -> None:
        self.updates: list[dict[str, str]] = []

    def publish(self, fields: Mapping[str, str]) -> None:
        """Keep it."""
        self.updates.append(dict(fields))

    def percents(self) -> list[float]:
        """What was shown."""
        return [float(update["percent"]) for update in self.updates]


def test_the_phases_cover_the_whole_in_their_order() -> None:
    edges = [edge for span in SPANS.values() for edge in span]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (0.0, 100.0)


def test_percent_is_the_share_of_the_phase() -> None:
    seen = Seen()
    progress = Progress([seen])
    progress.begin("fetch", total_bytes=1000)
    progress.advance(bytes_=500)
    progress.say("Half of it.")
    assert seen.updates[-1]["percent"] == "35.0"
    assert seen.updates[-1]["bytes"] == "500"
    assert seen.updates[-1]["message"] == "Half of it."
    progress.begin("upload", total_items=4)
    progress.advance(items=1)
    progress.say("")
    assert seen.updates[-1]["percent"] == f"{70 + 27 / 4:.1f}"
    assert seen.updates[-1]["items_total"] == "4"


def test_more_than_was_expected_is_not_more_than_the_phase() -> None:
    seen = Seen()
    progress = Progress([seen])
    progress.begin("fetch", total_bytes=10)
    progress.advance(bytes_=1000)
    progress.say("")
    assert seen.percents()[-1] == 70.0


phases = st.sampled_from([*SPANS, "dance"])
steps = st.lists(
    st.tuples(phases, st.none() | st.integers(0, 1000), st.integers(-10, 2000)), max_size=12
)


@given(steps, st.floats(0, 100))
def test_percent_never_runs_backwards(
    steps: list[tuple[str, int | None, int]], before: float
) -> None:
    seen = Seen()
    progress = Progress([seen], percent=before)
    for phase, total, done in steps:
        progress.begin(phase, total_bytes=total)
        progress.advance(bytes_=done)
        progress.expect(total_bytes=5000)
        progress.say("")
    shown = seen.percents()
    assert shown == sorted(shown)
    assert all(round(before, 1) - 0.1 <= percent <= 100 for percent in shown)


def test_by_itself_it_is_shown_at_most_once_a_second() -> None:
    seen = Seen()
    progress = Progress([seen])
    progress.begin("fetch", total_bytes=10_000)
    started = time.monotonic()
    for _ in range(10_000):
        progress.advance(bytes_=1)
    allowed = 2 + (time.monotonic() - started) / INTERVAL
    assert len(seen.updates) <= allowed


def test_counting_from_many_threads_loses_nothing() -> None:
    seen = Seen()
    progress = Progress([seen])
    progress.begin("fetch", total_bytes=8000)

    def count() -> None:
        for _ in range(1000):
            progress.advance(bytes_=1, items=1)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.say("")
    assert (seen.updates[-1]["bytes"], seen.updates[-1]["items_done"]) == ("8000", "8000")


def test_the_next_run_begins_where_the_last_one_had_come_to(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "percent")
    progress = Progress([memory], percent=memory.percent())
    progress.begin("upload")
    assert memory.percent() == 70.0
    seen = Seen()
    again = Progress([seen, memory], percent=memory.percent())
    again.begin("fetch", total_bytes=100)
    assert seen.percents() == [70.0]


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "101", "much", "\udcff"])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "percent"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Memory(path).percent() == 0.0
    assert Memory(tmp_path / "not there").percent() == 0.0


def test_a_memory_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    Memory(tmp_path).publish({"percent": "5.0"})  # a folder is in its place


def test_what_the_run_took_goes_with_every_update() -> None:
    """Its pod is gone before anybody could ask it; its number tells it from an earlier run."""
    seen = Seen()
    progress = Progress([seen], attempt=3)
    progress.begin("fetch")
    assert json.loads(seen.updates[-1]["numbers"]) == {"run": 3, "seconds": {}, "bytes": {}}
    progress.moved("fetched", 100)
    progress.moved("fetched", 11)
    progress.finish("fetch", 1.23456)
    progress.begin("upload")
    expected = {"run": 3, "seconds": {"fetch": 1.235}, "bytes": {"fetched": 111}}
    assert json.loads(seen.updates[-1]["numbers"]) == expected
