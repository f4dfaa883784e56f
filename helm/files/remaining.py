"""Says what stays when the release is gone, and how to remove it. Changes nothing.

In: the environment RELEASE, TASKS (namespace of the runs), QUEUE_VOLUME and HOME_NAMESPACE, and
this pod's own token. Out: a text that `helm uninstall` shows. An API server that does not answer
is no failure; but a pod that cannot start holds the removal up: `helm uninstall --no-hooks`.
"""

import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def claims(namespace: str, selector: str) -> list[dict[str, Any]]:
    """Ask the API server for the claims of the runs."""
    place = f"{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    query = urllib.parse.urlencode({"labelSelector": selector})
    request = urllib.request.Request(
        f"https://{place}/api/v1/namespaces/{namespace}/persistentvolumeclaims?{query}",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310 - https
        return list(json.load(answer)["items"])


def main() -> None:
    """Print what stays."""
    release, namespace = os.environ["RELEASE"], os.environ["TASKS"]
    selector = f"app.kubernetes.io/managed-by=course-runner,app.kubernetes.io/instance={release}"
    print("course-runner: running Jobs go on; nothing of the following is removed:")
    try:
        names = sorted(str(claim["metadata"]["name"]) for claim in claims(namespace, selector))
    except (OSError, KeyError, ValueError) as problem:
        print(f"  volumes of tasks in namespace {namespace}: not to be listed ({problem})")
        names = ["?"]
    if names:
        print(f"  {len(names)} volumes of tasks in namespace {namespace}: {' '.join(names[:20])}")
        print(f"    kubectl delete jobs,pvc --namespace {namespace} --selector {selector}")
    if queue := os.environ.get("QUEUE_VOLUME"):
        home = os.environ["HOME_NAMESPACE"]
        print(f"  the queue with all orders in it: volume {queue} in namespace {home}")
        print(f"    kubectl delete pvc --namespace {home} {queue}")


main()
