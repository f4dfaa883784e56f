"""Both Helms. The tests that need them are marked `cluster`: its builder makes these programs."""

from __future__ import annotations

import os

import pytest

from tests.cluster import cluster
from tests.deploy.chart import Helm


@pytest.fixture(scope="session", params=["helm", "helm3"])
def either_helm(request: pytest.FixtureRequest) -> Helm:
    """Helm 4, then Helm 3."""
    return _program(request.param)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm 4."""
    return _program("helm")


def _program(name: str) -> Helm:
    try:
        return Helm(cluster.tool(name))
    except cluster.ClusterError as exc:
        if os.environ.get("CI"):
            pytest.fail(str(exc))
        pytest.skip(str(exc))
