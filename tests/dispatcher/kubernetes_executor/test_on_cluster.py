"""What only a real cluster can tell: its words of refusal, its rights, its ways to end a run."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import names
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors import Busy, Phase, QuotaExceeded, Refused, Unavailable
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.verdict import last_words
from tests.cluster import cluster
from tests.dispatcher.executors.bench import PROGRAM_TEXT, Stage, order
from tests.dispatcher.kubernetes_executor.namespaces import (
    apply,
    kubectl,
    namespace,
    need_cluster,
    settings,
    tried,
)

pytestmark = pytest.mark.cluster

PROGRAM = ("python3", "-c", PROGRAM_TEXT)
ROLE = [
    {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": ["get", "list", "watch", "create", "delete"],
    },
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
]
"""Everything that the executor ever asks for."""

LOOK_AROUND = """
import json, os, pathlib

def may_write(folder):
    try:
        (pathlib.Path(folder) / "trial").write_text("x")
        return True
    except OSError:
        return False

token = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
secret = pathlib.Path(os.environ["SETTINGS_DIR"])
print(json.dumps({
    "user": os.getuid(),
    "root": may_write("/"),
    "home": may_write(os.environ["HOME"]),
    "sandbox": may_write(os.environ["SANDBOX"]),
    "settings": may_write(secret),
    "secret": (secret / "API_SECRET_KEY").read_text(),
    "token": sorted(file.name for file in token.iterdir() if not file.name.startswith(".")),
    "namespace": (token / "namespace").read_text(),
    "claim": os.environ["CLAIM"],
    "services": [name for name in os.environ if name.endswith("_SERVICE_HOST")],
}))
"""


@pytest.fixture
def own() -> Iterator[str]:
    """A namespace for one test that changes its rules."""
    need_cluster()
    with namespace() as name:
        yield name


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    """A namespace for the tests that only run things in it."""
    need_cluster()
    with namespace() as name:
        yield name


class Bench:
    """Executors with settings of their own."""

    patience = 90.0

    def __init__(self) -> None:
        self.made: list[KubernetesExecutor] = []

    def executor(self, space: str = "", **changes: Any) -> KubernetesExecutor:
        """Return a started executor in that namespace."""
        chosen = settings(space, **({"command": PROGRAM, "backoff_limit": 0} | changes))
        made = KubernetesExecutor(chosen, os.environ)
        self.made.append(made)
        made.start()
        return made

    def open_gate(self, task: Task, gate: str) -> None:
        """Gates are opened in other ways here."""
        raise NotImplementedError

    def stage(self, space: str, task: Task, **changes: Any) -> Stage:
        """Return a stage with an executor of its own."""
        return Stage(self, task, self.executor(space, **changes))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench that closes what it made."""
    bench = Bench()
    yield bench
    for executor in bench.made:
        executor.close()


# --- what a cluster refuses -----------------------------------------------------------------------
def test_a_size_that_is_not_allowed_is_refused_in_the_servers_words(own: str, bench: Bench) -> None:
    """A LimitRange's words reach the order that breaks it, with the claim's name."""
    limit = {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}}
    meta = {"name": "small", "namespace": own}
    apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [limit]}})
    executor = bench.executor(own)
    task = Task(f"t{uuid.uuid4().hex[:8]}", "https://x.invalid/course/a/", volume_size="3Gi")
    with pytest.raises(Refused, match=r"maximum storage usage .* is 2Gi, but request is 3Gi") as at:
        executor.ensure_volume(task)
    assert names.object_name(task.key) in at.value.summary


def test_a_policy_is_heard(own: str, bench: Bench) -> None:
    """A ValidatingAdmissionPolicy's own message reaches the order it refuses, and no other."""
    policy = f"not-on-sunday-{own}"
    match = {"matchLabels": {"kubernetes.io/metadata.name": own}}
    rule = {
        "apiGroups": ["batch"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["jobs"],
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule], "namespaceSelector": match},
        "validations": [
            {
                "expression": "!object.metadata.name.startsWith('course-sunday')",
                "message": "Not on a Sunday.",
            }
        ],
    }
    api = "admissionregistration.k8s.io/v1"
    kind = "ValidatingAdmissionPolicy"
    apply(
        {"apiVersion": api, "kind": kind, "metadata": {"name": policy}, "spec": spec},
        {
            "apiVersion": api,
            "kind": f"{kind}Binding",
            "metadata": {"name": policy},
            "spec": {"policyName": policy, "validationActions": ["Deny"]},
        },
    )
    try:
        executor = bench.executor(own)
        sunday, monday = order(task_id="sunday"), order(task_id="monday")
        stage = Stage(bench, sunday, executor)
        executor.ensure_volume(sunday)
        stage.until(lambda: _is_refused(executor, sunday, "Not on a Sunday."), "the policy works")
        executor.ensure_volume(monday)
        assert executor.start_run(Assignment(monday, 1)) is True
    finally:
        kubectl("delete", kind, policy)
        kubectl("delete", f"{kind}Binding", policy)


def _is_refused(executor: KubernetesExecutor, task: Task, words: str) -> bool:
    """Whether a run is refused with those words; policies take a moment to be known.

    Until then a run begins, is removed, and the next one is kept waiting by its stopping pod.
    """
    try:
        executor.start_run(Assignment(task, 1))
    except Busy:
        return False
    except Refused as exc:
        return words in exc.summary and names.object_name(task.key) in exc.summary
    run = executor.holdings()[names.object_name(task.key)].run
    assert run is not None
    executor.remove_run(names.object_name(task.key), run.id)
    return False


@pytest.mark.parametrize("key", ["persistentvolumeclaims", "requests.storage", "count/jobs.batch"])
def test_a_quota_is_back_pressure(own: str, bench: Bench, key: str) -> None:
    """A full quota makes the next order wait; once something ended there is room again."""
    hard = {key: "1500Mi" if key == "requests.storage" else "1"}
    meta = {"name": "small", "namespace": own}
    apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}})
    stage = bench.stage(own, order([["exit", 64]]))
    stage.until(lambda: _used(own, key) == "0", "the quota counts")
    stage.start_and_end()
    second = Stage(bench, order(), stage.executor)
    with pytest.raises(QuotaExceeded, match="exceeded quota: small"):
        second.executor.ensure_volume(second.task)
        second.executor.start_run(Assignment(second.task, 1))
    volume = stage.volume
    stage.remove_run()
    stage.insist(lambda: stage.executor.remove_volume(stage.name, volume.id) is None)
    stage.until(lambda: _used(own, key) in ("0", "1") and second_fits(second), "there is room")


def second_fits(stage: Stage) -> bool:
    """Whether the second order is accepted now."""
    try:
        return stage.start() or stage.run is not None
    except QuotaExceeded:
        return False


def _used(space: str, key: str) -> str:
    quota = json.loads(kubectl("get", "resourcequota", "small", "-n", space, "-o", "json"))
    return str((quota.get("status", {}).get("used") or {}).get(key, ""))


# --- rights ---------------------------------------------------------------------------------------
def kubeconfig_of(space: str, account: str, folder: Path) -> str:
    """Write a kubeconfig with that service account's token."""
    token = kubectl("create", "token", account, "-n", space).strip()
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)


def test_these_rights_are_enough_and_fewer_are_told(own: str, bench: Bench, tmp_path: Path) -> None:
    """Without the Role, starting says which right is missing; with it, a task's life goes well."""
    meta = {"name": "dispatcher", "namespace": own}
    apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    config = kubeconfig_of(own, "dispatcher", tmp_path)
    with pytest.raises(Unavailable, match=r"User .* cannot list resource"):
        bench.executor(own, kubeconfig=config)
    bench.made.pop().close()
    api = "rbac.authorization.k8s.io/v1"
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "dispatcher"}
    who = {"kind": "ServiceAccount", "name": "dispatcher", "namespace": own}
    apply(
        {"apiVersion": api, "kind": "Role", "metadata": meta, "rules": ROLE},
        {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": ref,
            "subjects": [who],
        },
    )
    stage = bench.stage(own, order([["say", "x"], ["exit", 64]]), kubeconfig=config)
    run = stage.start_and_end()
    assert stage.executor.ending(stage.name, run).exit == 64
    assert list(stage.executor.logs(stage.name, follow=True)) == ["x"]
    stage.executor.mark(stage.name, {names.PINNED: "yes"})
    volume = stage.volume
    stage.remove_run()
    stage.insist(lambda: stage.executor.remove_volume(stage.name, volume.id) is None)
    stage.until(lambda: stage.holding is None, "all is gone")


# --- the pod --------------------------------------------------------------------------------------
def test_the_pod_is_what_the_manifest_promises(own: str, bench: Bench) -> None:
    """Under "restricted": a numeric user, a read-only root, its files readable, nothing else."""
    secret = {"API_SECRET_KEY": "s3cret"}
    meta = {"name": "job-settings", "namespace": own}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": secret})
    look = ("python3", "-c", LOOK_AROUND)
    stage = bench.stage(own, order(), command=look, secret="job-settings")
    assert stage.start_and_end().phase is Phase.SUCCEEDED
    [line] = stage.executor.logs(stage.name)
    found = json.loads(line)
    assert found.pop("services") in ([], ["KUBERNETES_SERVICE_HOST"])
    assert found == {
        "user": 65532,
        "root": False,
        "home": True,
        "sandbox": True,
        "settings": False,
        "secret": "s3cret",
        "token": ["ca.crt", "namespace", "token"],
        "namespace": own,
        "claim": stage.name,
    }


# --- deaths from outside --------------------------------------------------------------------------
def pod_of(space: str, stage: Stage) -> str:
    """The name of the run's newest pod."""
    selector = f"course-runner/task={names.label_value(stage.task.key)}"
    found = kubectl(
        "get", "pods", "-n", space, "-l", selector, "--sort-by=.metadata.creationTimestamp",
        "-o", "name",
    )  # fmt: skip
    return found.split()[-1].removeprefix("pod/")


def evict(space: str, pod: str) -> None:
    """Evict as a drain does."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": space},
    }
    path = f"/api/v1/namespaces/{space}/pods/{pod}/eviction"
    done = tried("create", "--raw", path, "-f", "-", given=body)
    assert done.returncode == 0, done.stderr


def delete(space: str, pod: str) -> None:
    """Delete as somebody does by hand."""
    kubectl("delete", "pod", pod, "-n", space, "--wait=false")


@pytest.mark.parametrize(("away", "category"), [(evict, "disrupted"), (delete, "stopped")])
def test_a_run_whose_pod_is_taken_away_is_told_as_that(
    shared: str, bench: Bench, away: Callable[[str, str], None], category: str
) -> None:
    """A drain ends the run as a disruption, a deleted pod as a stop: the dispatcher counts both.

    Whether the pod itself is still there to be asked is a matter of luck.
    """
    script = [["say", "ready"], ["until stopped", "told"]]
    stage = bench.stage(shared, order(script))
    stage.start()
    stage.printed("ready")
    away(shared, pod_of(shared, stage))
    run = stage.ended()
    assert last_words(stage.executor.ending(stage.name, run)).category == category


def test_a_run_that_takes_too_long_is_told_as_that(shared: str, bench: Bench) -> None:
    """The deadline ends the run, and its ending says so."""
    script = [["say", "ready"], ["until stopped", "told"]]
    stage = bench.stage(shared, order(script), deadline=8.0)
    run = stage.start_and_end()
    assert run.phase is Phase.FAILED
    assert stage.executor.ending(stage.name, run).reason == "DeadlineExceeded"


def test_a_run_that_takes_too_much_memory_is_told_as_that(shared: str, bench: Bench) -> None:
    """The kernel's kill is told by its reason, not as an exit code alone."""
    hungry = ("python3", "-c", "x = bytearray(300 * 2**20)\nprint(sum(x[::4096]))")
    limits = settings("x").resources
    small = type(limits)("50m", "64Mi", "", "64Mi")
    stage = bench.stage(shared, order(), command=hungry, resources=small)
    run = stage.start_and_end()
    ending = stage.executor.ending(stage.name, run)
    assert (run.phase, ending.exit, ending.reason) == (Phase.FAILED, 137, "OOMKilled")


def test_an_image_that_cannot_be_had_leaves_the_run_active(shared: str, bench: Bench) -> None:
    """A pod that cannot begin is no ended run; it can be removed, and nothing lingers."""
    stage = bench.stage(shared, order(), image="localhost/no-such-image:1")
    stage.start()
    stage.until(lambda: "waiting" in _state(shared, stage), "the pod waits")
    assert stage.run is not None
    assert stage.run.phase is Phase.ACTIVE
    assert list(stage.executor.logs(stage.name)) == []
    volume = stage.volume
    stage.remove_run()
    stage.insist(lambda: stage.executor.remove_volume(stage.name, volume.id) is None)
    stage.until(lambda: stage.holding is None, "all is gone")


def _state(space: str, stage: Stage) -> str:
    return kubectl(
        "get", "pods", "-n", space, "-l", f"batch.kubernetes.io/job-name={stage.name}",
        "-o", "jsonpath={.items[*].status.containerStatuses[*].state}",
    )  # fmt: skip


def test_a_retry_inside_the_job_is_the_same_run(shared: str, bench: Bench) -> None:
    """With its own retries a Job survives a silent death; the newest pod tells how it ended."""
    script = [["exit if", "once", 66], ["write", "once", "x"], ["exit silently", 1]]
    stage = bench.stage(shared, order(script), backoff_limit=1)
    run = stage.start_and_end()
    ending = stage.executor.ending(stage.name, run)
    assert (ending.exit, ending.reason) == (66, "")
    assert cluster.PYTHON_IMAGE in kubectl("get", "jobs", stage.name, "-n", shared, "-o", "json")
