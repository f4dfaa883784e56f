"""The images start anywhere: read-only root, any user; and carry nothing to build with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import cluster
from tests.deploy import probes
from tests.e2e.ground import cluster_with
from tests.e2e.kube import Kube, until
from tests.e2e.release import namespace

pytestmark = pytest.mark.cluster

INSIDE = """
import json, os, shutil
found = [tool for tool in ("uv", "gcc", "cc", "make", "git", "curl") if shutil.which(tool)]
left = [top for top in ("/root/.cache", "/app/pins.txt", "/app/uv.lock") if os.path.exists(top)]
print(json.dumps({"tools": found, "left": left, "user": os.getuid()}))
"""


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """A namespace that admits restricted pods alone, with both images at hand."""
    cluster_with(cluster.load_images)
    with namespace("images") as made:
        yield made


def _pod(name: str, image: str, user: int, script: str = "") -> dict[str, Any]:
    pod = probes.pod(name, script, {"a": name})
    pod["spec"]["securityContext"]["runAsUser"] = user
    [container] = pod["spec"]["containers"]
    container["image"] = image
    if not script:  # its own entry point
        del container["command"]
    return pod


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (cluster.DISPATCHER_IMAGE, "REDIS_URL is not set"),
        (cluster.JOB_IMAGE, "TASK is not set"),
    ],
    ids=["dispatcher", "job"],
)
def test_it_starts_under_any_user_on_a_read_only_root(kube: Kube, image: str, words: str) -> None:
    """Without settings each program ends with 64 and says which are missing: so it has started."""
    name = f"any-{image.rpartition('-')[2].partition(':')[0]}"
    kube.apply(_pod(name, image, user=1234567))
    until(lambda: _ended(kube, name), f"{name} has ended", 60)
    state = _ended(kube, name)
    assert state["exitCode"] == 64
    assert words in kube.run("logs", name)


@pytest.mark.parametrize("image", [cluster.DISPATCHER_IMAGE, cluster.JOB_IMAGE])
def test_nothing_to_build_with_is_left(kube: Kube, image: str) -> None:
    """No installer, compiler or cache is in the image, and its own user is no root."""
    name = f"in-{image.rpartition('-')[2].partition(':')[0]}"
    pod = _pod(name, image, 0, INSIDE)
    del pod["spec"]["securityContext"]["runAsUser"]
    kube.apply(pod)
    assert probes.found(kube, name) == {"tools": [], "left": [], "user": 65532}


def _ended(kube: Kube, name: str) -> dict[str, Any]:
    pod = json.loads(kube.run("get", "pod", name, "-o", "json"))
    statuses = pod["status"].get("containerStatuses") or [{}]
    ended: dict[str, Any] = statuses[0].get("state", {}).get("terminated", {})
    return ended
