"""Namespaces of a real cluster for tests: made restricted, with the job's account, and removed."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dispatcher.executors.kubernetes.settings import KubernetesSettings
from tests.cluster import cluster


def need_cluster() -> None:
    """Skip loudly at home, fail in CI, when there is no healthy cluster."""
    try:
        cluster.demand_up()
    except cluster.ClusterError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs the cluster: {exc}")
        pytest.skip(f"No cluster: {exc}. `python3 -m tests.cluster up` starts one.")
    cluster.load_base()


def tried(*words: str, given: object = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl as administrator, whatever comes of it; `given` is an object for `-f -`."""
    argv = [str(cluster.kubectl()), f"--kubeconfig={cluster.kubeconfig()}", *words]
    text = None if given is None else json.dumps(given)
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def kubectl(*words: str, given: object = None) -> str:
    """Run kubectl as administrator and return what it prints; it must succeed."""
    done = tried(*words, given=given)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def now_and_then(true: Callable[[], object], every: float = 0.5) -> Callable[[], object]:
    """Return a question that is asked at most so often, for those that cost a process each time."""
    next_time = 0.0

    def ask() -> object:
        nonlocal next_time
        if time.monotonic() < next_time:
            return False
        found = true()
        next_time = time.monotonic() + every
        return found

    return ask


def apply(*objects: dict[str, Any]) -> None:
    """Make objects, or change them to this."""
    kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": list(objects)})


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace under Pod Security "restricted", with the job's account; removed at the end."""
    name = f"course-test-{uuid.uuid4().hex[:8]}"
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": enforce}
    account = {"name": KubernetesSettings(image="").service_account, "namespace": name}
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
    )
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def settings(name: str, **changes: Any) -> KubernetesSettings:
    """Return settings for a namespace, with the Python base image as the job's."""
    values: dict[str, Any] = {
        "image": cluster.PYTHON_IMAGE,
        "namespace": name,
        "volume_size": "1Gi",
        "deadline": 300.0,
        "kubeconfig": str(cluster.kubeconfig()),
    }
    return KubernetesSettings(**(values | changes))
