"""The chart spells names as the programs do: labels, annotation, ports, keys, files."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from contract import handoff, names
from contract.env import Reader
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.kubernetes import manifests
from dispatcher.executors.kubernetes.settings import read
from playground import trial
from tests.deploy.chart import CHART, NAMESPACE, STEM, Helm, Objects, environment, pod_of

pytestmark = pytest.mark.cluster

TASK = Task(7, "https://example.com/course/x/")


def selects(selector: Any, labels: dict[str, str]) -> bool:
    """Whether a label selector fits."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(
        labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", ())
    )


def _run(objects: Objects, report: str | None = None) -> Any:
    """A run's pod template, as the dispatcher of this rendering makes it."""
    plain = environment(objects)
    settings = read(Reader(plain))
    return manifests.job(Assignment(TASK, 1, report=report), settings, plain)["spec"]["template"]


def test_policies_find_the_runs_and_only_them(helm: Helm) -> None:
    """Both policies of runs select a run's pod as it is made; a closing run is kept off the API."""
    objects = helm.objects()
    api = objects["NetworkPolicy", f"{STEM}-job-api"]["spec"]["podSelector"]
    every = objects["NetworkPolicy", f"{STEM}-job"]["spec"]["podSelector"]
    labels = _run(objects)["metadata"]["labels"]
    closing = _run(objects, report="{}")["metadata"]["labels"]
    assert selects(every, labels) and selects(api, labels)
    assert selects(every, closing) and not selects(api, closing)
    for kind, part in (("Deployment", "dispatcher"), ("StatefulSet", "redis")):
        other = objects[kind, f"{STEM}-{part}"]["spec"]["template"]["metadata"]["labels"]
        assert not selects(every, other)
        assert selects(objects["NetworkPolicy", f"{STEM}-{part}"]["spec"]["podSelector"], other)
        assert selects(objects[kind, f"{STEM}-{part}"]["spec"]["selector"], other)
        assert not selects(objects[kind, f"{STEM}-{part}"]["spec"]["selector"], labels)


def test_another_release_is_not_touched(helm: Helm) -> None:
    """Neither its runs nor its policies mix with this one's, in one namespace or in two."""
    mine = helm.objects()
    theirs = _run(mine)["metadata"]["labels"] | {names.LABEL_INSTANCE: "other"}
    for (kind, _), thing in mine.items():
        if kind == "NetworkPolicy":
            assert not selects(thing["spec"]["podSelector"], theirs)
    other = helm.run("template", "other", str(CHART), "--namespace", NAMESPACE)
    for kind, name in mine:
        assert not re.search(rf"kind: {kind}\nmetadata:\n  name: {name}\n", other)


def test_the_admission_policy_knows_the_one_annotation(helm: Helm) -> None:
    """It lets the annotation pass that a run sets, for the account that runs have, and no other."""
    [policy] = [o for (k, _), o in helm.objects().items() if k == "ValidatingAdmissionPolicy"]
    text = str(policy["spec"])
    assert set(re.findall(r"course-runner/[a-z-]+", text)) == {names.RELEASED}
    [who] = policy["spec"]["matchConditions"]
    account = f"system:serviceaccount:{NAMESPACE}:{STEM}-job"
    assert who["expression"] == f"request.userInfo.username == '{account}'"
    assert environment(helm.objects())["JOB_SERVICE_ACCOUNT"] == f"{STEM}-job"


def test_the_binding_binds_the_policy_where_the_runs_are(helm: Helm) -> None:
    """A policy without its binding does nothing."""
    objects = helm.objects({"taskNamespace": "runs"})
    [policy] = [name for kind, name in objects if kind == "ValidatingAdmissionPolicy"]
    [binding] = [o for (k, _), o in objects.items() if k == "ValidatingAdmissionPolicyBinding"]
    assert binding["spec"]["policyName"] == policy
    where = binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    assert where == {"kubernetes.io/metadata.name": "runs"}
    assert binding["spec"]["validationActions"] == ["Deny"]


def test_secrets_lie_where_the_programs_look(helm: Helm) -> None:
    """The dispatcher's folder of settings, and that of runs, are the contract's."""
    objects = helm.objects()
    [container] = pod_of(objects["Deployment", f"{STEM}-dispatcher"])["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert env["SETTINGS_DIR"] == mounts["settings"] == handoff.SETTINGS_PATH


def test_runs_may_show_progress_and_do_nothing_else_in_redis(helm: Helm) -> None:
    """The server's user for runs has exactly the keys and commands of the progress sink."""
    secret = helm.objects({"redis": {"password": "x"}})["Secret", f"{STEM}-redis"]["data"]
    _, line = base64.b64decode(secret["users.acl"]).decode().splitlines()
    words = line.split()
    keys = {word for word in words if word.startswith("~")}
    assert keys == {f"~{names.task_hash('*')}", f"~{names.EVENTS_KEY}"}
    assert {w for w in words if w[0] in "+-"} == {"-@all", "+hset", "+xadd", "+ping"}


def test_the_built_in_test_is_reached_where_it_listens(helm: Helm) -> None:
    """The policy of `helm test` names the ports of the trial, and its pod the trial itself."""
    objects = helm.objects()
    [rule] = objects["NetworkPolicy", f"{STEM}-test"]["spec"]["egress"]
    assert tuple(each["port"] for each in rule["ports"]) == trial.PORTS
    [container] = objects["Pod", f"{STEM}-test"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", trial.__name__]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    labels = _run(objects)["metadata"]["labels"] | {names.LABEL_INSTANCE: env["INSTANCE"]}
    assert not re.fullmatch(r"[a-z0-9.-]+", env["INSTANCE"]), "a release could be called so"
    settings = read(Reader(environment(objects) | {"INSTANCE": env["INSTANCE"]}))
    assert settings.instance == env["INSTANCE"]
    for name in (f"{STEM}-test", f"{STEM}-job", f"{STEM}-job-api"):
        assert selects(objects["NetworkPolicy", name]["spec"]["podSelector"], labels), name


@pytest.mark.parametrize("release", ["a", "course-runner", "r" * 53, "course-runner-" + "r" * 39])
def test_names_stay_within_their_limits(helm: Helm, release: str) -> None:
    """63 characters for any name, 52 for what makes pods; two long releases differ."""
    text = helm.run("template", release, str(CHART), "--namespace", NAMESPACE)
    found = re.findall(r"^  name: (\S+)$", text, flags=re.M)
    kinds = re.findall(r"^kind: (\S+)\nmetadata:\n  name: (\S+)$", text, flags=re.M)
    assert found and max(len(n) for k, n in kinds if not k.startswith("Validating")) <= 63
    assert max(len(n) for k, n in kinds if k in ("Job", "StatefulSet")) <= 52
    values = re.findall(r"app.kubernetes.io/instance: (\S+)$", text, flags=re.M)
    assert f"{release}_test" in values and max(map(len, values)) <= 63
    if len(release) == 53:
        other = helm.run("template", release[:-1] + "x", str(CHART), "--namespace", NAMESPACE)
        assert not set(kinds) & set(
            re.findall(r"^kind: (\S+)\nmetadata:\n  name: (\S+)$", other, flags=re.M)
        )
