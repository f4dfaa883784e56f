"""Everything that is rendered is valid: for the real 1.37, and for 1.30 by its own types.

1.37 is asked itself (a server-side dry run, strict about fields). 1.30 is not here; its published
Go types are, and a small program decodes every object with them strictly: an unknown or doubled
field, an unknown kind or a wrong type fails, which is what a schema check finds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.env import Reader
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.kubernetes import manifests
from dispatcher.executors.kubernetes.settings import read
from tests.cluster import cluster
from tests.deploy.chart import NAMESPACE, ROOT, Helm, environment
from tests.deploy.test_chart_switches import EVERYTHING
from tests.e2e.kube import Kube

pytestmark = pytest.mark.cluster

CASES = {"defaults": {}, "everything": EVERYTHING}
RUNS = Task(7, "https://example.com/course/x/")


def _objects(helm: Helm, case: str) -> list[dict[str, Any]]:
    """What the chart makes, and a run's objects as its dispatcher makes them."""
    objects = helm.objects(CASES[case])
    plain = environment(objects)
    settings = read(Reader(plain))
    made = [manifests.claim(RUNS, settings), manifests.job(Assignment(RUNS, 1), settings, plain)]
    return [*objects.values(), *made]


@pytest.mark.parametrize("case", CASES)
def test_kubernetes_1_30_knows_every_field(helm: Helm, case: str) -> None:
    """Strictly decoded with the types of k8s.io/api 0.30."""
    _decode(_objects(helm, case))


def test_kubernetes_1_30_knows_the_plain_manifests() -> None:
    """The same for k8s/."""
    files = [f for f in (ROOT / "k8s").glob("*.yaml") if f.stem not in ("values", "kustomization")]
    _decode([yaml.safe_load(file.read_text()) for file in files])


def test_the_decoder_refuses_what_1_30_does_not_know() -> None:
    """A field that came later is found: the check can fail."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    with pytest.raises(AssertionError, match="hostnameOverride"):
        _decode([{**pod, "spec": {"containers": [], "hostnameOverride": "y"}}])


def _decode(objects: list[dict[str, Any]]) -> None:
    ended = subprocess.run(
        [str(cluster.tool("decode-1.30"))],
        input=yaml.safe_dump_all(objects),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(objects)} objects, 0 of them wrong" in ended.stdout


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """A namespace that admits restricted pods alone, on the real cluster."""
    made = Kube(cluster.kubectl(), cluster.ensure_up(), NAMESPACE)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    yield made
    made.run("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("case", CASES)
def test_kubernetes_1_37_would_take_it(helm: Helm, kube: Kube, case: str) -> None:
    """The API server says yes to each object, and nothing about unknown fields or Pod Security."""
    objects = _objects(helm, case)
    # A bare pod is admitted only where its account is; and its made-up priority class is nowhere.
    kube.apply(*(each for each in objects if each["kind"] == "ServiceAccount"))
    tried = [o for o in objects if o["kind"] != "Pod" or "priorityClassName" not in o["spec"]]
    text = yaml.safe_dump_all(tried)
    words = ("apply", "--dry-run=server", "--validate=strict", "--server-side", "-f", "-")
    said = kube.run(*words, text=text)
    assert said.count("(server dry run)") == len(tried)


def test_kustomize_builds_the_plain_manifests(kube: Kube) -> None:
    """`kubectl apply --kustomize k8s/` finds every file."""
    built = [o for o in yaml.safe_load_all(kube.run("kustomize", str(ROOT / "k8s"))) if o]
    files = set(Path(ROOT / "k8s").glob("*.yaml")) - {
        ROOT / "k8s" / name for name in ("values.yaml", "kustomization.yaml")
    }
    assert len(built) == len(files) > 10
