"""`kubectl course` on the real cluster: found by kubectl, answered in the dispatcher's pod.

The pod has what matters here: the dispatcher's image under the chart's labels, and a Redis beside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import cluster
from tests.cluster.names import DISPATCHER_IMAGE, REDIS_IMAGE
from tests.e2e.kube import Kube

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


def deployment(name: str) -> dict[str, Any]:
    """A Deployment as the chart labels it, whose dispatcher only waits to be asked."""
    labels = {
        "app.kubernetes.io/name": "course-runner",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "dispatcher",
        "app.kubernetes.io/part-of": "course-runner",
    }
    dispatcher = {
        "name": "dispatcher",
        "image": DISPATCHER_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", "import signal; signal.pause()"],
        "env": [{"name": "REDIS_URL", "value": "redis://127.0.0.1:6379/0"}],
    }
    redis = {
        "name": "redis",
        "image": REDIS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["--save", "", "--dir", "/tmp"],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
    }
    spec = {"containers": [redis, dispatcher], "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """A namespace of the test's own, with the images that it needs."""
    try:
        cluster.ensure_up()
        cluster.load_images()
        cluster.load_redis()
    except cluster.ClusterError as exc:
        if os.environ.get("CI"):
            pytest.fail(str(exc))
        pytest.skip(str(exc))
    made = Kube(cluster.kubectl(), cluster.kubeconfig(), f"plugin-{uuid.uuid4().hex[:6]}")
    made.run("create", "namespace", made.namespace)
    try:
        yield made
    finally:
        made.run("delete", "namespace", made.namespace, "--wait=false")


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as a user does who has the plugin on PATH and no Redis within reach."""
    kubectl = cluster.kubectl()
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), str(kubectl.parent), os.environ["PATH"]]
    )
    env = {"PATH": path, "HOME": "/nonexistent", "KUBECONFIG": str(cluster.kubeconfig())}
    return subprocess.run([kubectl, *words], env=env, capture_output=True, text=True, timeout=120)


def test_kubectl_course_is_answered_in_the_dispatchers_pod(kube: Kube) -> None:
    """Words and exit codes go through; without a release, or with two, it says what to do."""
    here = ("course", "-n", kube.namespace)
    none = ask(*here, "list")
    assert (none.returncode, none.stdout) == (64, "")
    assert "no course-runner in this namespace" in none.stderr

    kube.apply(deployment("shop"))
    kube.run("wait", "--for=condition=Available", "deployment/shop", "--timeout=120s")
    unknown = ask(*here, "why", "1")
    assert unknown.returncode == 1
    assert "course-runner: task 1 is not known." in unknown.stderr
    pushed = ask(*here, "enqueue", "1", "https://courses.example/course/x/", "--email", "a b")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == "Task 1 is in the queue; 1 waiting.\n"
    why = ask(*here, "why", "1")
    assert why.returncode == 0, why.stderr
    assert "task 1" in why.stdout.lower()

    kube.apply({**deployment("other"), "spec": {**deployment("other")["spec"], "replicas": 0}})
    several = ask(*here, "list")
    assert several.returncode == 64
    assert "deployment.apps/other, deployment.apps/shop" in several.stderr
