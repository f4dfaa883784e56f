"""What each switch of the chart does, and that everything it renders is safe and well-formed."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import NAMESPACE, RELEASE, STEM, Helm, Object, Objects, environment, pod_of
from tests.deploy.snapshot import FILE as SNAPSHOT
from tests.deploy.snapshot import rendered

pytestmark = pytest.mark.cluster

EVERYTHING: Object = yaml.safe_load((Path(__file__).parent / "everything.yaml").read_text())
MONITORING = ("--api-versions", "monitoring.coreos.com/v1")
OLD = ("--kube-version", "1.29.9")
PODS = ("Deployment", "StatefulSet", "Job", "Pod")


def _all(helm: Helm) -> Objects:
    return helm.objects(EVERYTHING, *MONITORING)


def _egress(objects: Objects, name: str) -> list[Any]:
    rules: list[Any] = objects["NetworkPolicy", f"{STEM}-{name}"]["spec"]["egress"]
    return rules


# --- whatever the values --------------------------------------------------------------------------
def test_the_defaults_are_as_reviewed(helm: Helm) -> None:
    """The default rendering, whole. After a wanted change: `python -m tests.deploy.snapshot`."""
    assert rendered(helm) == SNAPSHOT.read_text()


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_both_helms_render_the_same(helm: Helm, either_helm: Helm, values: Object) -> None:
    """Helm 3 and Helm 4 make the same objects."""
    values = {**values, "redis": {**values.get("redis", {})}}
    if not values["redis"]:
        values["redis"] = {"password": "fixed"}
    assert either_helm.objects(values, *MONITORING) == helm.objects(values, *MONITORING)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_pod_is_restricted(helm: Helm, values: Object) -> None:
    """Pod Security `restricted`, read-only root, no service links, tokens only where used."""
    objects = helm.objects(values, *MONITORING)
    found = [(name, pod_of(thing)) for (kind, name), thing in objects.items() if kind in PODS]
    assert len(found) >= 3
    for name, pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is (not name.endswith("-redis"))
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_no_list_has_a_key_twice(helm: Helm, values: Object) -> None:
    """Server-side apply, Helm 4's way, refuses a doubled name in env, ports, volumes or mounts."""
    for thing in helm.objects(values, *MONITORING).values():
        for keys in _lists(thing):
            assert len(keys) == len(set(keys)), (thing["metadata"]["name"], keys)


def _lists(node: Any) -> list[list[str]]:
    found: list[list[str]] = []
    if isinstance(node, dict):
        for name, value in node.items():
            key = {"volumeMounts": "mountPath", "ports": "containerPort"}.get(name, "name")
            if name in ("env", "volumes", "volumeMounts", "containers", "imagePullSecrets"):
                found.append([str(entry[key]) for entry in value])
            found += _lists(value)
    elif isinstance(node, list):
        for value in node:
            found += _lists(value)
    return found


def test_every_object_carries_the_standard_labels(helm: Helm) -> None:
    """Whoever looks for what belongs to a release finds all of it."""
    for (kind, name), thing in _all(helm).items():
        if name == "extra":
            continue
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE, (kind, name)
        assert labels["app.kubernetes.io/part-of"] == "course-runner"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["cost-centre"] == "video"


def test_one_object_per_file() -> None:
    """Named <component>-<kind>.yaml; the one exception says why at its top."""
    chart = Path(__file__).resolve().parent.parent.parent / "helm" / "templates"
    for file in chart.rglob("*.yaml"):
        kinds = re.findall(r"^kind: (\w+)$", file.read_text(), flags=re.M)
        if file.name in ("extra-objects.yaml", "redis-secret.yaml"):
            continue
        [kind] = kinds
        assert file.stem.endswith(kind.lower()), file.name


# --- one switch each ------------------------------------------------------------------------------
def test_own_redis(helm: Helm) -> None:
    """With an address of one's own there is no server, and the dispatcher may reach that port."""
    url = "rediss://user:word@cache.example:6380/0"
    objects = helm.objects({"redis": {"embedded": False, "url": url, "progressUrl": url + "p"}})
    assert not {kind for kind, _ in objects} & {"StatefulSet", "Service"}
    secret = objects["Secret", f"{STEM}-redis"]["data"]
    assert base64.b64decode(secret["REDIS_URL"]).decode() == url
    progress = objects["Secret", f"{STEM}-progress"]["data"]
    assert base64.b64decode(progress["PROGRESS_REDIS_URL"]).decode() == url + "p"
    assert {"ports": [{"protocol": "TCP", "port": 6380}]} in _egress(objects, "dispatcher")
    assert {"protocol": "TCP", "port": 6380} in _egress(objects, "job")[1]["ports"]


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("redis://cache", [6379]),
        ("redis://:p%40ss@cache:7000/1", [7000]),
        ("redis+sentinel://u:p@a:26380,b:26380/main", [26380, 6379]),
        ("rediss+sentinel://a,b/main", [26379, 6379]),
        ("redis+cluster://a:7001,b:7001", [7001]),
    ],
)
def test_the_way_to_an_own_redis_is_open(helm: Helm, url: str, ports: list[int]) -> None:
    """For every form of address that the dispatcher takes."""
    objects = helm.objects({"redis": {"embedded": False, "url": url}})
    rule = {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
    assert rule in _egress(objects, "dispatcher")


@pytest.mark.parametrize(
    ("redis", "port"),
    [
        ({"existingSecret": "own"}, 6379),
        ({"url": "redis://10.0.0.7:6380/0"}, 6380),
        ({"url": "redis://10.0.0.7:6380/0", "progressUrl": "redis://10.0.0.8:6381/0"}, 6381),
    ],
)
def test_runs_reach_an_own_redis_wherever_it_is(helm: Helm, redis: Object, port: int) -> None:
    """Their progress goes there: also to a private address, and where only a Secret knows it; but
    not where they show no progress.
    """
    values: Object = {"redis": {"embedded": False, **redis}}
    rule = {"ports": [{"protocol": "TCP", "port": port}]}
    assert rule in _egress(helm.objects(values), "job")
    assert rule not in _egress(helm.objects({**values, "progress": {"enabled": False}}), "job")


@pytest.mark.parametrize(
    ("url", "port"),
    [("postgresql+psycopg://u:p@db.example/x", 5432), ("mysql+pymysql://db.example:3307/x", 3307)],
)
def test_the_way_to_a_public_database_is_open(helm: Helm, url: str, port: int) -> None:
    """Its port is taken from the address, or is the usual one."""
    rules = _egress(helm.objects({"secrets": {"DATABASE_URL": url}}), "job")
    assert {"protocol": "TCP", "port": port} in rules[1]["ports"]


def test_own_redis_by_secret(helm: Helm) -> None:
    """No Secret is made; dispatcher and runs read the named keys."""
    own = {"embedded": False, "existingSecret": "own", "existingSecretKey": "url"}
    objects = helm.objects({"redis": {**own, "existingSecretProgressKey": "purl"}})
    assert not [name for kind, name in objects if kind == "Secret" and "test" not in name]
    [settings] = [
        volume["secret"]
        for volume in pod_of(objects["Deployment", f"{STEM}-dispatcher"])["volumes"]
        if volume["name"] == "settings"
    ]
    assert (settings["secretName"], settings["items"]) == (
        "own",
        [{"key": "url", "path": "REDIS_URL"}],
    )
    assert '"purl":"PROGRESS_REDIS_URL"' in environment(objects)["JOB_SECRETS"]


def test_without_progress_runs_do_not_reach_redis(helm: Helm) -> None:
    """No address for them, no way out, no way in."""
    objects = helm.objects({"progress": {"enabled": False}})
    assert ("Secret", f"{STEM}-progress") not in objects
    assert "JOB_SECRETS" not in environment(objects)
    assert all(rule["ports"][0]["port"] != 6379 for rule in _egress(objects, "job"))
    [rule] = objects["NetworkPolicy", f"{STEM}-redis"]["spec"]["ingress"]
    assert "component: job" not in yaml.safe_dump(rule["from"])


def test_secrets_only_where_none_is_named(helm: Helm) -> None:
    """Texts become one Secret; a named Secret is used and none is made."""
    given = helm.objects({"secrets": {"PLATFORM_TOKEN": "t", "RCLONE_CONFIG": "[r]\n"}})
    made = given["Secret", f"{STEM}-job"]["data"]
    assert set(made) == {"PLATFORM_TOKEN", "rclone.conf"}
    assert environment(given)["JOB_SECRET"] == f"{STEM}-job"
    named = helm.objects({"secrets": {"existingSecret": "own"}})
    assert ("Secret", f"{STEM}-job") not in named
    assert environment(named)["JOB_SECRET"] == "own"
    assert ("Secret", f"{STEM}-job") not in helm.objects()


def test_no_secret_in_plain_settings(helm: Helm) -> None:
    """Whatever is given as a secret appears in Secrets alone."""
    names = ("API_SECRET_KEY", "DATABASE_URL", "PLATFORM_TOKEN", "WEBHOOK_SIGNING_KEY")
    values = {"secrets": {name: f"hush-{name}" for name in names}}
    values |= {"redis": {"password": "hush-redis"}}
    for (kind, _), thing in helm.objects(values).items():
        if kind != "Secret":
            assert "hush" not in yaml.safe_dump(thing)


def test_runs_in_a_namespace_of_their_own(helm: Helm) -> None:
    """Everything of the runs moves there; the dispatcher's rights hold there and only there."""
    objects = helm.objects({"taskNamespace": "runs", "secrets": {"PLATFORM_TOKEN": "t"}})
    there = {(k, n) for (k, n), o in objects.items() if o["metadata"].get("namespace") == "runs"}
    assert {n for k, n in there if k == "Role"} == {f"{STEM}-dispatcher", f"{STEM}-job"}
    for name in (f"{STEM}-job", f"{STEM}-progress"):
        assert ("Secret", name) in there
    assert {("ServiceAccount", f"{STEM}-job"), ("NetworkPolicy", f"{STEM}-job")} <= there
    [subject] = objects["RoleBinding", f"{STEM}-dispatcher"]["subjects"]
    assert subject["namespace"] == NAMESPACE
    assert environment(objects)["NAMESPACE"] == "runs"


def test_a_budget_only_for_several(helm: Helm) -> None:
    """One dispatcher must be evictable; two get a PodDisruptionBudget."""
    assert ("PodDisruptionBudget", f"{STEM}-dispatcher") not in helm.objects()
    several = helm.objects({"dispatcher": {"replicas": 2}})
    budget = several["PodDisruptionBudget", f"{STEM}-dispatcher"]
    assert budget["spec"]["maxUnavailable"] == 1


def test_the_admission_policy_needs_kubernetes_1_30(helm: Helm) -> None:
    """Left out below, and the notes say what that means."""
    old = helm.objects(None, *OLD)
    assert not [kind for kind, _ in old if kind.startswith("Validating")]
    new = helm.objects(None, "--kube-version", "1.30.0")
    assert [kind for kind, _ in new if kind.startswith("Validating")]
    note = {"note": '{{ include "course-runner.admissionNote" . | quote }}'}
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}, "data": note}
    said = helm.objects({"extraObjects": [yaml.safe_dump(extra).replace("'", "")]}, *OLD)
    assert "may patch any claim in namespace courses" in said["ConfigMap", "note"]["data"]["note"]
    off = helm.notes({"admissionPolicy": {"enabled": False}})
    assert "admissionPolicy.enabled is false: a run's service" in off
    assert "may patch any claim" not in helm.notes()


def test_alerts_only_where_the_cluster_knows_them(helm: Helm) -> None:
    """Without the operator's types nothing is rendered and the notes say so."""
    values = {"monitoring": {"prometheusRule": {"enabled": True}}}
    assert ("PrometheusRule", STEM) not in helm.objects(values)
    assert ("PrometheusRule", STEM) in helm.objects(values, *MONITORING)
    assert "knows no PrometheusRule" in helm.notes(values)


def test_policies_can_be_left_out(helm: Helm) -> None:
    """Network policies, Roles, the test and the report leave nothing behind when switched off."""
    values = {part: {"enabled": False} for part in ("networkPolicy", "test", "uninstallReport")}
    objects = helm.objects({**values, "rbac": {"create": False}})
    assert not {kind for kind, _ in objects} & {
        "NetworkPolicy",
        "Role",
        "RoleBinding",
        "Job",
        "Pod",
    }


def test_addresses_inside_the_cluster_are_allowed_by_name(helm: Helm) -> None:
    """A webhook at a Service opens its namespace, a public one on another port opens that port."""
    secrets = {"API_SECRET_KEY": "k"}
    inside = {"WEBHOOK_URL": "http://backend.shop.svc.cluster.local:3000/hook"}
    rules = _egress(helm.objects({"settings": inside, "secrets": secrets}), "job")
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    assert {"to": [peer]} in rules
    outside = {"WEBHOOK_URL": "https://backend.example:8443/hook"}
    rules = _egress(helm.objects({"settings": outside, "secrets": secrets}), "job")
    assert [port["port"] for port in rules[1]["ports"]] == [443, 8443]


def test_the_api_servers_address_is_no_public_address_for_runs(helm: Helm) -> None:
    """Where it is known, runs without a token cannot reach it through the rule for HTTPS."""
    values = {"networkPolicy": {"apiServer": {"cidrs": ["198.51.100.7/32"]}}}
    objects = helm.objects(values)
    public = _egress(objects, "job")[1]["to"][0]["ipBlock"]
    assert "198.51.100.7/32" in public["except"]
    [rule] = _egress(objects, "job-api")
    assert rule["to"] == [{"ipBlock": {"cidr": "198.51.100.7/32"}}]


def test_the_notes_name_this_release(helm: Helm) -> None:
    """Every command of the notes has this release's names; what is missing is said."""
    notes = helm.notes()
    for words in (
        f"helm test {RELEASE} --namespace {NAMESPACE}",
        f"deployment/{STEM}-dispatcher -- course-runner enqueue 999",
        f"kubectl logs --namespace {NAMESPACE} --follow --selector course-runner/task=999",
        "kubectl get pvc,jobs",
        f"{STEM}-redis.{NAMESPACE}.svc:6379",
        "no access token for the course platform yet",
        "no rclone configuration yet",
    ):
        assert words in notes
    ready = {"secrets": {"existingSecret": "own"}}
    assert "yet" not in helm.notes(ready)


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ({"from": [{"secret": "db", "key": "uri", "as": "DATABASE_URL"}]}, "DATABASE_URL is in a"),
        ({"existingSecret": "own"}, "if own holds a DATABASE_URL"),
    ],
)
def test_a_database_known_to_a_secret_alone_is_warned_of(
    helm: Helm, secrets: Object, words: str
) -> None:
    """The chart cannot open its port, and says so unless a way is opened, or there is no wall."""
    assert words in helm.notes({"secrets": secrets})
    for policy in ({"jobEgress": [{"ports": [{"port": 5432}]}]}, {"enabled": False}):
        assert "DATABASE_URL" not in helm.notes({"secrets": secrets, "networkPolicy": policy})
    text = {"DATABASE_URL": "postgresql://db.example/x"}
    assert "DATABASE_URL" not in helm.notes({"secrets": text})


def test_extra_objects_are_templates(helm: Helm) -> None:
    """They come with the release and may use its names."""
    assert _all(helm)["ConfigMap", "extra"]["data"] == {"release": RELEASE}


def test_what_the_release_makes_is_not_kept_back_or_shared(helm: Helm) -> None:
    """No resource policy that would surprise at an uninstallation; the queue's claim is no object
    of the release, so it stays by itself.
    """
    text = helm.text(EVERYTHING, *MONITORING)
    assert "helm.sh/resource-policy" not in text
    assert "kind: PersistentVolumeClaim\n      metadata" in text
    assert "\nkind: PersistentVolumeClaim" not in text
