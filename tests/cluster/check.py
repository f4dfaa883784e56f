"""Prove that the cluster does what the tests build on: `python3 -m tests.cluster check`.

In: a cluster that is up. Out: one line per promise with its time, or an error that names the
broken one. A Job with a claim runs in a namespace under Pod Security "restricted", on a read-only
root, as a numeric user; it writes to its volume, reaches a server of this machine, resolves a
Service name, and is known to the API server by its projected token. A privileged pod and what an
admission policy forbids are refused.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from string import Template
from typing import Any

from tests.cluster import cluster
from tests.cluster.commands import ClusterError, run, say, timed, wait_for
from tests.cluster.names import HERE

_GREETING = b"hello from the host"


class _Greeter(BaseHTTPRequestHandler):
    """Answers every GET with the greeting."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(_GREETING)))
        self.end_headers()
        self.wfile.write(_GREETING)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def _host_server() -> Iterator[str]:
    with ThreadingHTTPServer((cluster.bind_address(), 0), _Greeter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{cluster.host_address()}:{server.server_port}/"
        server.shutdown()


def _kubectl(*words: str, given: str | None = None, check: bool = True) -> str:
    argv = [cluster.kubectl(), f"--kubeconfig={cluster.kubeconfig()}", *words]
    return run(argv, given=given, check=check)


def check() -> None:
    """Run every check; clean up in any case."""
    cluster.load_base()
    namespace = f"cluster-check-{secrets.token_hex(3)}"
    with _host_server() as url:
        values = {"NAMESPACE": namespace, "HOST_URL": url, "IMAGE": cluster.PYTHON_IMAGE}
        text = Template((HERE / "check.yaml").read_text()).substitute(values)
        try:
            with timed("check in all"):
                _check(namespace, text)
        finally:
            _kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", given=text)
    with timed("volume and namespace gone"):
        _await_gone(namespace)
    say("check: all promises kept")


def _check(namespace: str, text: str) -> None:
    start = time.monotonic()
    _kubectl("apply", "--filename", "-", given=text)
    _await_pod(namespace, "Running", "Succeeded")
    say(f"from `kubectl apply` to container running: {time.monotonic() - start:.1f} s")
    _await_pod(namespace, "Succeeded")
    say(f"from `kubectl apply` to pod succeeded: {time.monotonic() - start:.1f} s")
    _judge(json.loads(_kubectl("logs", f"--namespace={namespace}", "job/check")), namespace)
    _expect_refusal("PodSecurity", namespace, "run", "bad", "--image=x", "--privileged")
    wait_for("the admission policy", lambda: _policy_refuses(namespace), 30)
    say("refused as they must be: a privileged pod, and what the admission policy forbids")


def _pods(namespace: str) -> list[dict[str, Any]]:
    found = json.loads(_kubectl("get", "pods", f"--namespace={namespace}", "--output=json"))
    return list(found["items"])


def _await_pod(namespace: str, *phases: str, seconds: float = 90) -> None:
    def reached() -> bool:
        now = [pod["status"].get("phase") for pod in _pods(namespace)]
        if "Failed" in now:
            said = _kubectl("logs", f"--namespace={namespace}", "job/check")
            raise ClusterError(f"The check's pod failed:\n{said}")
        return any(phase in phases for phase in now)

    try:
        wait_for(f"the check's pod ({' or '.join(phases)})", reached, seconds)
    except ClusterError as error:
        events = _kubectl("get", "events", f"--namespace={namespace}", check=False)
        raise ClusterError(f"{error}\n{events}") from error


def _judge(told: dict[str, Any], namespace: str) -> None:
    """Compare what the pod saw with what it must see."""
    wanted = {
        "user": 65532,
        "root_is_read_only": True,
        "volume": "written",
        "host": _GREETING.decode(),
        # 403 and not 401: the projected token says who it is, and that one may do nothing.
        "api": f"403 system:serviceaccount:{namespace}:default",
    }
    wrong = {key: told.get(key) for key, value in wanted.items() if told.get(key) != value}
    if wrong or not told["kubernetes.default"]:
        raise ClusterError(f"The pod saw {wrong or told}, but must see {wanted}.")
    say(f"seen by the pod: {told}")


def _expect_refusal(reason: str, namespace: str, *words: str) -> None:
    if not _refused(reason, namespace, *words):
        raise ClusterError(f"`kubectl {' '.join(words)}` was not refused with {reason}.")


def _policy_refuses(namespace: str) -> bool:
    create = ("create", "configmap", "forbidden", "--dry-run=server")
    return _refused("no object may be called so", namespace, *create)


def _refused(reason: str, namespace: str, *words: str) -> bool:
    try:
        _kubectl(f"--namespace={namespace}", *words)
    except ClusterError as error:
        return reason in str(error)
    return False


def _await_gone(namespace: str) -> None:
    """Wait until namespace and volume are gone, so that a check leaves nothing to the next one."""

    def gone() -> bool:
        volumes = json.loads(_kubectl("get", "persistentvolumes", "--output=json"))["items"]
        left = [each for each in volumes if each["spec"]["claimRef"]["namespace"] == namespace]
        return not left and not _kubectl("get", "namespace", namespace, "--ignore-not-found")

    wait_for(f"the end of namespace {namespace} and of its volume", gone, 90)
