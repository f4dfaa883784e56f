"""A short chaos on the real API server, with three dispatchers: one Job per run, none too many."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.schedule import draw
from tests.chaos.story import Story
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.namespaces import namespace, need_cluster

MOST = 4


@pytest.mark.cluster
def test_nothing_is_lost_and_no_job_made_twice(tmp_path: Path) -> None:
    need_cluster()
    seed = int(os.environ.get("CHAOS_SEED") or time.time_ns() % 1_000_000)
    print(f"seed {seed}")
    with (
        namespace() as name,
        Cluster(cluster.kubeconfig(), name, cluster.JOB_IMAGE) as ground,
    ):
        report = Story(draw(seed, 24, 12, 1.0), ground, tmp_path, 3, MOST).live()
    print(report)
    assert report.losses == [], f"CHAOS_SEED={seed}"
    assert report.duplicates == [], f"CHAOS_SEED={seed}"
    assert 1 < max(ground.most, report.peak) <= MOST, f"CHAOS_SEED={seed}"
