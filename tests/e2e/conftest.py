"""The world of the end-to-end tests and one release of the chart in it, both made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import cluster
from tests.e2e.desk import Desk, desk
from tests.e2e.ground import cluster_with
from tests.e2e.release import namespace, secrets
from tests.e2e.world import world_around

SETTINGS = {
    "MAX_ACTIVE": 2,
    "WEBHOOK_SCHEDULE": "8s,8s,8s",
    "KEEP_COMPLETED": "15s",
}
"""On top of what a user would set; what one of the scenarios needs and none of the others minds."""


@pytest.fixture(scope="session")
def shop(redis7: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A release that all orders share, on the tests' own Redis, with walls that are enforced."""
    cluster_with(cluster.load_images, cluster.enforce_policies)
    with (
        world_around(redis7, postgres, tmp_path_factory.mktemp("world")) as world,
        namespace("e2e") as kube,
    ):
        kube.apply(*secrets(world))
        with desk(world, kube, "shop", settings=SETTINGS) as made:
            yield made
