"""Percent begins where an earlier run had come to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from job_image.progress import Memory, Progress


class Seen:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.percents: list[float] = []

    def publish(self, fields: Mapping[str, str]) -> None:
        self.percents.append(float(fields["percent"]))


def test_percent_never_runs_backwards_from_one_run_to_the_next(tmp_path: Path) -> None:
    """A second run on the same volume begins with the percent of the first."""
    memory = Memory(tmp_path / "percent")
    first = Progress((memory,))
    first.begin("fetch", total_bytes=100)
    first.advance(bytes_=50)
    first.say("half")

    seen = Seen()
    second = Progress((seen,), percent=memory.percent())
    second.begin("fetch")
    second.begin("fetch", total_bytes=100)
    second.advance(bytes_=90)
    second.say("more")

    assert seen.percents == [35.0, 35.0, 63.0]


@pytest.mark.parametrize("text", ["", "much", "-3", "250", "nan"])
def test_an_odd_memory_counts_as_none(tmp_path: Path, text: str) -> None:
    """Whatever somebody wrote there, a run begins at 0."""
    (tmp_path / "percent").write_text(text)
    assert Memory(tmp_path / "percent").percent() == 0.0
