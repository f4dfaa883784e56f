"""Runs of the product's own program that take no portal: a downloader that does what a URL says.

Everything behind the download is real: row, upload and its check, webhook, release of the claim.
Comes out: settings of a dispatcher, the course URLs that name what becomes of the download, and
the leave that a run needs to let go of its claim, as the chart gives it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from dispatcher.executors.kubernetes.settings import KubernetesSettings
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.namespaces import apply
from tests.dispatcher.kubernetes_executor.outside import SECRET

_COURSE = "https://portal.invalid/course/"
WORKS = _COURSE + "works"
AGAIN = _COURSE + "again"
"""The first run fails for a passing reason."""
REFUSED = _COURSE + "refused"
"""Every run is refused the course."""
WAITS = _COURSE + "waits"
"""The run works until it is told to stop."""

_DOWNLOADER = """
import os, pathlib, sys, time
how, folder = sys.argv[1].rpartition("/")[2], sys.argv[2]
if how == "again" and os.environ["ATTEMPT"] == "1":
    sys.exit("The platform is away.")
if how == "refused":
    sys.exit(66)
while how == "waits":
    time.sleep(1)
pathlib.Path(folder, "lecture.mp4").write_bytes(b"a lecture")
"""

SETTINGS: Mapping[str, str] = {
    "DISPATCH_PROGRAM": "product",
    "JOB_IMAGE": cluster.JOB_IMAGE,
    "JOB_SECRET": SECRET,
    "JOB_MEMORY_REQUEST": "64Mi",
    "JOB_CPU_REQUEST": "20m",
    "DOWNLOAD_COMMAND": f"python -c {shlex.quote(_DOWNLOADER)} {{url}} {{dir}}",
    "RCLONE_REMOTE": "/tmp/remote",
    "MAX_RETRIES": "1",
    "WEBHOOK_FAILURE_EVENTS": "true",
}


def may_release(space: str) -> None:
    """Let the runs of a namespace patch claims, which is all that their account may do."""
    api = "rbac.authorization.k8s.io"
    account = KubernetesSettings(image="").service_account
    meta = {"name": account, "namespace": space}
    rule = {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["patch"]}
    role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": [rule]}
    subject = {"kind": "ServiceAccount", **meta}
    bound = {"roleRef": {"apiGroup": api, "kind": "Role", "name": account}, "subjects": [subject]}
    apply(role, {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": meta, **bound})
