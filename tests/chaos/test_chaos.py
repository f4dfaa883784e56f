"""A short chaos with two dispatchers and one with five: nothing lost, nothing twice.

The seed is printed and may be given (CHAOS_SEED), so that a failure can be had again; the long one
is `scripts/chaos.sh`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.chaos.machine import Machine
from tests.chaos.schedule import draw
from tests.chaos.story import Story

MOST = 4


@pytest.mark.parametrize(("dispatchers", "orders"), [(2, 40), (5, 40)])
def test_nothing_is_lost_and_nothing_done_twice(
    tmp_path: Path, dispatchers: int, orders: int
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or time.time_ns() % 1_000_000)
    print(f"seed {seed}")
    story = Story(draw(seed, orders, 10, 0.5), Machine(tmp_path), tmp_path, dispatchers, MOST)
    report = story.live()
    print(report)
    assert report.losses == [], f"CHAOS_SEED={seed}"
    assert report.duplicates == [], f"CHAOS_SEED={seed}"
    assert report.webhooks.lawful, f"CHAOS_SEED={seed}"
    assert report.webhooks.arrived == orders
    assert report.peak <= MOST, f"CHAOS_SEED={seed}"
    assert sum(report.ends.values()) - report.ends["dead"] == orders
    assert len(report.faults) > 3
