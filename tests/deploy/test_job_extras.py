"""What the chart adds to a run's pod, and that nothing of it replaces what keeps a task safe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.env import Reader
from contract.errors import BadSettings
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.kubernetes import manifests
from dispatcher.executors.kubernetes.settings import read

TASK = Task(7, "https://example.com/course/x/")


def _template(**values: str) -> dict[str, Any]:
    reader = Reader({"JOB_IMAGE": "job:1", **values})
    settings = read(reader)
    reader.finish()
    template: dict[str, Any] = manifests.job(Assignment(TASK, 1), settings, {})["spec"]["template"]
    return template


def test_additions_reach_the_pod() -> None:
    """Each field that may be given arrives where Kubernetes wants it."""
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]
    extras = {
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": spread,
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "envFrom": [{"configMapRef": {"name": "more"}}],
        "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "labels": {"team": "video"},
        "annotations": {"note": "x"},
        "imagePullPolicy": "Always",
    }
    template = _template(JOB_POD=json.dumps(extras))
    [container] = template["spec"]["containers"]
    assert template["spec"]["affinity"] == {"nodeAffinity": {}}
    assert template["spec"]["topologySpreadConstraints"] == spread
    assert extras["volumes"][0] in template["spec"]["volumes"]  # type: ignore[index]
    assert extras["env"][0] in container["env"]  # type: ignore[index]
    assert container["envFrom"] == extras["envFrom"]
    assert extras["volumeMounts"][0] in container["volumeMounts"]  # type: ignore[index]
    assert container["imagePullPolicy"] == "Always"
    assert template["metadata"]["labels"]["team"] == "video"
    assert template["metadata"]["annotations"] == {"note": "x"}


def test_additions_replace_nothing_of_ours() -> None:
    """A name, a path, a variable or a label that is taken stays what it was."""
    plain = _template()
    extras = {
        "env": [{"name": "TASK", "value": "another"}],
        "volumes": [{"name": "sandbox", "emptyDir": {}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/sandbox"}],
        "labels": {"course-runner/task": "8"},
    }
    assert _template(JOB_POD=json.dumps(extras)) == plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOB_POD", '{"hostNetwork":true}'),
        ("JOB_POD", '{"env":{"A":"b"}}'),
        ("JOB_POD", '{"labels":{"a":1}}'),
        ("JOB_POD", "[]"),
        ("JOB_SECRETS", '{"name":"x"}'),
        ("JOB_SECRETS", '[{"items":{}}]'),
        ("JOB_SECRETS", '[{"name":"x","items":{"a":1}}]'),
    ],
)
def test_what_is_no_addition_is_a_named_fault(name: str, value: str) -> None:
    """Neither a field that would weaken the pod nor a wrong type gets by; the setting is named."""
    with pytest.raises(BadSettings, match=name):
        _template(**{name: value})


def test_several_secrets_become_one_folder() -> None:
    """A whole Secret and chosen keys of others lie side by side, readable by owner and group."""
    chosen = [{"name": "db", "items": {"uri": "DATABASE_URL"}}]
    spec = _template(JOB_SECRET="whole", JOB_SECRETS=json.dumps(chosen))["spec"]
    [settings] = [volume for volume in spec["volumes"] if volume["name"] == "settings"]
    items = [{"key": "uri", "path": "DATABASE_URL"}]
    assert settings["projected"] == {
        "defaultMode": 0o440,
        "sources": [{"secret": {"name": "whole"}}, {"secret": {"name": "db", "items": items}}],
    }
    env = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
    assert env["SETTINGS_DIR"] == "/etc/course-runner"


def test_only_pods_with_a_token_carry_the_label_for_the_api() -> None:
    """A closing run has no token, and its pod not the label that a NetworkPolicy looks for."""
    reader = Reader({"JOB_IMAGE": "job:1"})
    settings = read(reader)
    closing = manifests.job(Assignment(TASK, 1, report="{}"), settings, {})["spec"]["template"]
    assert manifests.LABEL_API not in closing["metadata"]["labels"]
    assert _template()["metadata"]["labels"][manifests.LABEL_API] == "true"
