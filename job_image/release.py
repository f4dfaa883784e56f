"""Lets go of the volume: the last step, after which the dispatcher may delete it.

In: nothing but the settings. Out: `.state/released` on one machine, or the annotation
`course-runner/released` on the run's own claim in a cluster. It is one PATCH with the pod's own
token, which may do nothing else, so no Kubernetes client is needed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests

from contract import handoff, names
from contract.errors import Misconfigured, Temporary
from job_image.context import Context
from job_image.sandbox import write_durably

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token, its namespace and the cluster's certificate."""

SCHEDULE = (0.0, 1.0, 3.0, 10.0)
"""Seconds before each try: an API server is away for seconds while its leader changes."""

TIMEOUT = 10.0
"""Seconds for one try."""

_FINAL = range(400, 500)
_PASSING = {401, 408, 409, 429}  # 401: the token was renewed just now; it is read again


@dataclass(frozen=True, slots=True)
class Patch:
    """One PATCH: where, with which folder's token, what."""

    url: str
    account: Path
    body: dict[str, object]


def release(
    context: Context, *, account: Path = SERVICE_ACCOUNT, schedule: Sequence[float] = SCHEDULE
) -> None:
    """Let go. Raise `Temporary`, or `Misconfigured` when the API server refuses."""
    context.progress.begin("release")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if context.settings.release == handoff.RELEASE_FILE:
        write_durably(context.sandbox.state_file(names.RELEASED_FILE), f"{now}\n".encode())
        return
    body: dict[str, object] = {"metadata": {"annotations": {names.RELEASED: now}}}
    _send(context, Patch(_claim_url(context, account), account, body), schedule)


def _send(context: Context, patch: Patch, schedule: Sequence[float]) -> None:
    problem = ""
    for wait in schedule:
        context.stop.wait(wait)
        problem = _try(patch)
        if not problem:
            return
        context.log.event("CLEANUP", "The claim is not released yet: %s.", problem)
    raise Temporary(f"The claim {context.settings.claim} could not be released: {problem}.")


def _try(patch: Patch) -> str:
    """Send it; return "" or what is in the way for now. Raise `Misconfigured` for a refusal."""
    headers = {
        "Authorization": f"Bearer {_text(patch.account / 'token')}",
        "Content-Type": "application/merge-patch+json",
    }
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between a pod and its API server
            answer = session.patch(
                patch.url,
                json=patch.body,
                headers=headers,
                timeout=TIMEOUT,
                verify=str(patch.account / "ca.crt"),
                allow_redirects=False,
            )
    except (requests.RequestException, OSError) as exc:
        return f"the API server does not answer ({type(exc).__name__})"
    if answer.ok and answer.status_code < 300:
        return ""
    words = f"{answer.status_code}, {_message(answer)}"
    if answer.status_code in _FINAL and answer.status_code not in _PASSING:
        raise Misconfigured(
            f"The API server refuses to release {patch.url.rpartition('/')[2]}: {words}",
            advice="The job's service account needs `patch` on its own claim, and CLAIM and "
            "NAMESPACE must name it.",
        )
    return words


def _claim_url(context: Context, account: Path) -> str:
    claim = context.settings.claim
    namespace = context.settings.namespace or _text(account / "namespace")
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if not claim or not host:
        raise Misconfigured(
            "RELEASE=kubernetes needs CLAIM, and a pod's KUBERNETES_SERVICE_HOST.",
            advice="Outside a cluster use RELEASE=file.",
        )
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    place = f"[{host}]" if ":" in host else host
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}"
    return f"https://{place}:{port}{path}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise Misconfigured(
            f"The pod's service account cannot be read: {path} ({exc}).",
            advice="The pod needs automountServiceAccountToken or a projected token there.",
        ) from exc


def _message(answer: requests.Response) -> str:
    """Return the `message` of the API server's Status, or the begin of whatever came."""
    try:
        return str(answer.json()["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return " ".join(answer.text.split())[:300]
