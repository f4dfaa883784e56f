"""The dispatcher's Role is what its client really asks for, seen at the API server's end.

A server of this test stands in for the API server: every verb of the executor is called through a
kubeconfig that names it, and each request is turned into the right that it takes.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from contract import names
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors import Phase, Run
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.executors.kubernetes.settings import KubernetesSettings
from tests.deploy.chart import STEM, Helm, Object

pytestmark = pytest.mark.cluster

Right = tuple[str, str, str]
TASK = Task(7, "https://example.com/course/x/")
_PATH = re.compile(r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)/namespaces/[^/]+/(?P<rest>.+)")


class Recording(ThreadingHTTPServer):
    """Keeps a claim and a Job, and remembers which right each request takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rights: set[Right] = set()
        self.objects: dict[str, Object] = {}


class _Handler(BaseHTTPRequestHandler):
    server: Recording
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if "watch" in parse_qs(urlsplit(self.path).query):
            self._note("watch")
            self._send(200, None)
        elif not self._name():
            self._note("list")
            self._send(200, {"metadata": {"resourceVersion": "1"}, "items": self._pods(path)})
        else:
            self._note("get")
            log, found = path.endswith("/log"), self.server.objects.get(path)
            gone = {"kind": "Status", "reason": "NotFound", "message": "not found", "code": 404}
            self._send(200 if log or found else 404, None if log else found or gone)

    def do_POST(self) -> None:
        self._note("create")
        made = json.loads(self._body())
        path = f"{urlsplit(self.path).path}/{made['metadata']['name']}"
        if "dryRun" not in self.path and path in self.server.objects:
            self._send(409, {"kind": "Status", "reason": "AlreadyExists", "code": 409})
            return
        made["metadata"] |= {"uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        if "dryRun" not in self.path:
            self.server.objects[path] = made
        self._send(201, made)

    def do_PATCH(self) -> None:
        self._note("patch")
        self._body()
        self._send(200, self.server.objects[self.path])

    def do_DELETE(self) -> None:
        self._note("delete")
        self._body()
        del self.server.objects[self.path]
        self._send(200, {"kind": "Status", "status": "Success"})

    def _pods(self, path: str) -> list[Object]:
        """The Job's pod, as long as there is the Job."""
        jobs = any("/jobs/" in known for known in self.server.objects)
        young = "controller-uid" in self.path  # the run's own pod is still to come
        return [_pod()] if jobs and path.endswith("/pods") and not young else []

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _match(self) -> Any:
        found = _PATH.fullmatch(urlsplit(self.path).path)
        assert found, self.path
        return found

    def _name(self) -> bool:
        return "/" in self._match()["rest"]

    def _note(self, verb: str) -> None:
        found = self._match()
        words = found["rest"].split("/")
        resource = words[0] if len(words) < 3 else f"{words[0]}/{words[2]}"
        self.server.rights.add((found["group"] or "", resource, verb))

    def _send(self, status: int, data: Object | None) -> None:
        body = b"" if data is None else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def _pod() -> Object:
    ended = {"name": "job", "state": {"terminated": {"exitCode": 0}}}
    metadata = {"name": "course-7-abcde", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "metadata": metadata,
        "status": {"phase": "Succeeded", "containerStatuses": [ended]},
    }


@pytest.fixture
def server() -> Iterator[Recording]:
    """The stand-in."""
    with Recording() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def _kubeconfig(folder: Path, port: int) -> Path:
    cluster = {"server": f"http://127.0.0.1:{port}"}
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return path


def _call_every_verb(executor: KubernetesExecutor) -> None:
    name = names.object_name(TASK.key)
    executor.start()
    assert executor.ensure_volume(TASK)
    assert not executor.ensure_volume(TASK)
    assert executor.start_run(Assignment(TASK, 1))
    executor.obstacle(name)
    executor.ending(name, Run("1", 1, Phase.SUCCEEDED))
    executor.mark(name, {names.PINNED: "true"})
    list(executor.logs(name))
    executor.remove_run(name, "1")
    executor.remove_volume(name, "1")


def _granted(role: Object) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_dispatcher_may_do_what_it_does_and_no_more(
    helm: Helm, server: Recording, tmp_path: Path
) -> None:
    """Each right of the Role is used, and each request is allowed by it."""
    settings = KubernetesSettings(
        image="x",
        namespace="courses",
        kubeconfig=str(_kubeconfig(tmp_path, server.server_address[1])),
    )
    executor = KubernetesExecutor(settings, {})
    try:
        _call_every_verb(executor)
    finally:
        executor.close()
    assert server.rights == _granted(helm.objects()["Role", f"{STEM}-dispatcher"])


def test_a_run_may_do_one_thing(helm: Helm) -> None:
    """PATCH on claims, which is what `job_image.release` sends."""
    role = helm.objects()["Role", f"{STEM}-job"]
    assert _granted(role) == {("", "persistentvolumeclaims", "patch")}


def test_nothing_is_cluster_wide_unless_a_switch_asks(helm: Helm) -> None:
    """By default the only cluster-wide objects are the admission policy's, which give no rights."""
    kinds = {kind for kind, _ in helm.objects()}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "PriorityClass", "FlowSchema"}
    assert "ValidatingAdmissionPolicy" in kinds
    off = helm.objects({"admissionPolicy": {"enabled": False}})
    assert all("namespace" in thing["metadata"] for thing in off.values())


def test_no_role_reads_secrets_or_uses_wildcards(helm: Helm) -> None:
    """Neither program can read a Secret through the API."""
    for (kind, _), thing in helm.objects().items():
        if kind == "Role":
            rights = _granted(thing)
            assert not any("*" in right for right in rights)
            assert not any(resource in ("secrets", "pods/exec") for _, resource, _ in rights)
