"""Ask the cluster's API server, with the administrator's certificate and the standard library.

In: a path. Out: the status and the decoded body. Only for health: everything else goes through
kubectl.
"""

import json
import ssl
import urllib.request
from typing import Any

from tests.cluster.names import API_URL, NODE, NODE_ADDRESS, POLICIES_HEALTH_PORT
from tests.cluster.pki import CA, PKI


def _fetch(url: str) -> bytes | None:
    """The body behind `url`, or None while it does not answer 200."""
    try:
        context = ssl.create_default_context(cafile=str(CA))
        context.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
        secure = urllib.request.HTTPSHandler(context=context)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), secure)
        with opener.open(url, timeout=5) as answer:
            return bytes(answer.read())
    except OSError:
        return None


def get(path: str) -> dict[str, Any] | None:
    """The object at `path`, or None while there is no healthy answer."""
    body = _fetch(f"{API_URL}{path}")
    return None if body is None else dict(json.loads(body))


def ready() -> bool:
    """Whether /readyz answers 200: the body of a failing one says "ok" in places too."""
    return _fetch(f"{API_URL}/readyz") is not None


def node_ready() -> bool:
    """Whether the node says Ready and no taint keeps pods off it."""
    node = get(f"/api/v1/nodes/{NODE}")
    if node is None or node["spec"].get("taints"):
        return False
    conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


def namespaces_ready() -> bool:
    """Whether pods can be created: their service account exists."""
    return get("/api/v1/namespaces/default/serviceaccounts/default") is not None


def dns_ready() -> bool:
    """Whether CoreDNS has read the cluster's Services."""
    return _fetch(f"http://{NODE_ADDRESS}:8181/ready") is not None


def proxy_ready() -> bool:
    """Whether kube-proxy has written its rules."""
    return _fetch(f"http://{NODE_ADDRESS}:10256/healthz") is not None


def policies_ready() -> bool:
    """Whether the enforcer of network policies has synchronised."""
    return _fetch(f"http://127.0.0.1:{POLICIES_HEALTH_PORT}/healthz") is not None
