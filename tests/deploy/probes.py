"""Pods that try things out from where a run stands, and what they found."""

from __future__ import annotations

import json
from typing import Any

from contract import names
from dispatcher.executors.kubernetes.manifests import LABEL_API
from tests.cluster import cluster
from tests.e2e.kube import Kube, until

Object = dict[str, Any]

_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

REACH = """
import json, os, socket, time
def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=3).close()
        return True
    except OSError:
        return False
places = json.loads(os.environ["PLACES"])
end = time.monotonic() + 15
while time.monotonic() < end:
    found = {name: reached(host, port) for name, (host, port) in places.items()}
    time.sleep(1)
print(json.dumps(found))
"""
"""Tries to open a connection to each place, for 15 s; the last try counts. A new pod's walls (and
the doors that others open to its address) stand a moment after the pod does.
"""

ASK = """
import json, os, ssl, urllib.error, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
trust = ssl.create_default_context(cafile=account + "ca.crt")
base = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
headers = {"Authorization": "Bearer " + open(account + "token").read()}
def ask(method, path, body):
    data = None if body is None else json.dumps(body).encode()
    more = {"Content-Type": "application/merge-patch+json"}
    request = urllib.request.Request(base + path, data, {**headers, **more}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
            return [answer.status, ""]
    except urllib.error.HTTPError as error:
        return [error.code, json.load(error)["message"]]
asked = json.loads(os.environ["REQUESTS"])
print(json.dumps({name: ask(*words) for name, words in asked.items()}))
"""
"""Sends each request to the API server with the pod's own token."""

LISTEN = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"


def run_labels(instance: str, *, token: bool) -> dict[str, str]:
    """The labels of a run's pod, as network policies see it."""
    labels = {
        names.LABEL_NAME: names.PREFIX,
        names.LABEL_COMPONENT: "job",
        names.LABEL_INSTANCE: instance,
    }
    return labels | ({LABEL_API: "true"} if token else {})


def pod(name: str, script: str, labels: dict[str, str], account: str = "", **env: str) -> Object:
    """A restricted pod that runs a script."""
    container = {
        "name": "probe",
        "image": cluster.DISPATCHER_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", script],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "securityContext": _SECURITY,
    }
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": bool(account),
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if account:
        spec["serviceAccountName"] = account
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def found(kube: Kube, name: str) -> Any:
    """What the pod printed, once it has ended."""
    until(lambda: _phase(kube, name) in ("Succeeded", "Failed"), f"pod {name} has ended", 60)
    return json.loads(kube.run("logs", name).splitlines()[-1])


def address(kube: Kube, name: str) -> str:
    """The pod's address, once it runs."""
    until(lambda: _phase(kube, name) == "Running", f"pod {name} runs", 60)
    return kube.run("get", "pod", name, "-o", "jsonpath={.status.podIP}")


def _phase(kube: Kube, name: str) -> str:
    return kube.run("get", "pod", name, "-o", "jsonpath={.status.phase}")
