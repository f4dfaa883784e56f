"""What a user makes beside the chart, and the chart's rights alone for those who run no release."""

from __future__ import annotations

import base64
from typing import Any

import yaml

from tests.cluster import cluster
from tests.deploy.chart import CHART, Helm

Object = dict[str, Any]

_RIGHTS = ("serviceaccount", "role", "rolebinding")


def namespace(name: str) -> Object:
    """A namespace that admits nothing but restricted pods."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(name: str, values: dict[str, str]) -> Object:
    """A Secret with these keys."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def rights(namespace: str) -> list[Object]:
    """Accounts, roles and bindings of both programs as the chart gives them, for a dispatcher that
    is a process of this machine; the runs' account is `course-runner-job`.
    """
    parts = [
        f"--show-only=templates/{program}-{kind}.yaml"
        for program in ("dispatcher", "job")
        for kind in _RIGHTS
    ]
    words = ["template", "rights", str(CHART), "--namespace", namespace, *parts]
    text = Helm(cluster.helm()).run(*words, values={"fullnameOverride": "course-runner"})
    return [each for each in yaml.safe_load_all(text) if each]
