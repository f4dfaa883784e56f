"""The cluster that a test stands on, with what the test needs in it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.cluster import cluster


def cluster_with(*needs: Callable[[], object]) -> None:
    """Make sure of a running cluster, then do each of `needs` (`cluster.load_images`, …)."""
    have(cluster.ensure_up, *needs)


def have(*needs: Callable[[], object]) -> None:
    """Do each of `needs`; what cannot be had is a skip of the test at home and a failure in CI."""
    try:
        for need in needs:
            need()
    except cluster.ClusterError as exc:
        if os.environ.get("CI"):
            pytest.fail(str(exc))
        pytest.skip(str(exc))
