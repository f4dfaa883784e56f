"""The page on a real cluster: it looks with the right to look alone, and changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contract.handoff import Assignment
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from tests.dispatcher.executors.bench import PROGRAM_TEXT, WAITING, order
from tests.dispatcher.kubernetes_executor.namespaces import (
    apply,
    kubectl,
    namespace,
    need_cluster,
    settings,
)
from tests.dispatcher.web.page_process import Page
from tests.services import until

pytestmark = pytest.mark.cluster

LIMIT = 120.0
LOOKER = "page"
RIGHTS = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A namespace with an account that may only look."""
    need_cluster()
    with namespace() as name:
        meta, api = {"name": LOOKER, "namespace": name}, "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": LOOKER, "namespace": name}
        role = {"apiGroup": api, "kind": "Role", "name": LOOKER}
        apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": RIGHTS},
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "subjects": [subject],
                "roleRef": role,
            },
        )
        yield name


def looking(space: str, folder: Path) -> str:
    """A kubeconfig of the account that may only look."""
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    token = kubectl("create", "token", LOOKER, "-n", space).strip()
    config["users"] = [{"name": LOOKER, "user": {"token": token}}]
    for context in config["contexts"]:
        context["context"]["user"] = LOOKER
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return str(path)


def test_volumes_logs_and_warnings_are_shown_with_the_right_to_look_alone(
    space: str, tmp_path: Path, valkey9: str
) -> None:
    """One run at work, and one whose image is nowhere."""
    with redis.Redis.from_url(valkey9) as client:
        client.flushall()
    good, bad = order(WAITING), order()
    program = ("python3", "-c", PROGRAM_TEXT)
    executor = KubernetesExecutor(settings(space, command=program), os.environ)
    lost = KubernetesExecutor(settings(space, image="nowhere.invalid/none:1"), os.environ)
    for one, task in ((executor, good), (lost, bad)):
        one.start()
        one.ensure_volume(task)
        one.start_run(Assignment(task, 1))
    page = Page(
        tmp_path,
        valkey9,
        EXECUTOR="kubernetes",
        NAMESPACE=space,
        KUBECONFIG=looking(space, tmp_path),
    )
    page.ready()
    until(lambda: page.get("/api/v1/volumes").status_code == 200, "the cluster is seen", LIMIT)
    sizes = {row["task"]: row["size"] for row in page.get("/api/v1/volumes").json()}
    assert sizes == {good.key: 2**30, bad.key: 2**30}

    def detail(key: str) -> dict[str, object]:
        return dict(page.get(f"/api/v1/tasks/{key}").json())

    until(lambda: "ready" in str(detail(good.key)["log"]), "its log is shown", LIMIT)
    until(lambda: "nowhere.invalid" in str(detail(bad.key)["events"]), "its warnings", LIMIT)
    assert "only the task's own run can read" in str(detail(good.key)["items_note"])
    assert "nowhere.invalid" in page.get(f"/task?id={bad.key}").text
    assert page.stop() == 0
    for one in (executor, lost):
        one.close()


def test_a_cluster_that_cannot_be_asked_is_told_and_the_rest_is_shown(
    tmp_path: Path, valkey9: str
) -> None:
    nowhere = tmp_path / "kubeconfig"
    server = {"server": "https://127.0.0.1:1"}
    nowhere.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": server}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    page = Page(tmp_path, valkey9, EXECUTOR="kubernetes", NAMESPACE="n", KUBECONFIG=str(nowhere))
    page.ready()
    note = "127.0.0.1:1"
    until(lambda: note in page.get("/api/v1/overview").json()["volumes_note"], "told", LIMIT)
    assert page.get("/api/v1/volumes").status_code == 503
    assert note in page.get("/volumes").text
    assert page.get("/tasks").status_code == 200
    assert page.stop() == 0
