"""The world of the end-to-end tests, built once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster
from tests.e2e import world


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """A running cluster with the product's images in it."""
    try:
        path = cluster.ensure_up()
        cluster.load_images()
    except cluster.ClusterError as exc:
        reason = f"no cluster to test on: {exc}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def town(
    redis7: str, postgres: str, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[world.Town]:
    """Queue, portal, receiver, remote and database, and a namespace."""
    with world.town(redis7, postgres, kubeconfig, tmp_path_factory.mktemp("world")) as built:
        yield built
