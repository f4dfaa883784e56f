"""A portal with courses, and an order for the first of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from playground.portal import Portal
from playground.portal.courses import Course
from tests.job_image.fetch.footage import Footage
from tests.job_image.fetch.order import Order


@pytest.fixture
def ordering(tmp_path: Path) -> Iterator[Callable[..., Order]]:
    """Open a portal with courses and give an order for the first of them."""
    portals: list[Portal] = []

    def order(*courses: Course, **more: object) -> Order:
        portal = Portal(courses)
        portals.append(portal)
        portal.start()
        return Order(portal, tmp_path / "sandbox", courses[0].slug, **more)  # type: ignore[arg-type]

    yield order
    for portal in portals:
        portal.stop()


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Real films in pieces."""
    return Footage(tmp_path_factory.mktemp("footage"))


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A real, small file system of 8 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("LOUD SKIP: mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)
