"""The two objects of a task as Kubernetes takes them. Pure.

Goes in: a task or an assignment, and the settings. Comes out: manifests as dicts. The Job's own
retries are only for deaths without a word; every exit code with a meaning ends the Job, and so does
a disruption, because what follows (and when, and how often) is the dispatcher's decision: an
"Ignore" of the Job's own has no limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract import handoff, names
from contract.env import SETTINGS_DIR
from contract.handoff import Assignment
from contract.outcome import ExitCode
from contract.task import Task
from dispatcher.executors.kubernetes import extras
from dispatcher.executors.kubernetes.settings import KubernetesSettings, Resources

Manifest = dict[str, Any]

CLOSING = f"{names.PREFIX}/closing"
"""Annotation of a Job whose run only reports that its task has failed."""

LABEL_API = f"{names.PREFIX}/api"
"""Label of the pods that hold a token; a NetworkPolicy lets them, and no others, reach the API."""

CONTAINER = "job"
"""The container's name; the failure rules look at it alone, so a sidecar's exit decides nothing."""

REPORT_ARGUMENT = "report"
"""What makes `python -m job_image` a closing run."""

USER = 65532
"""The user and group that images without a shell use ("nonroot"); above any real user's id."""

GRACE = 30
"""Seconds between SIGTERM and SIGKILL: enough to finish a checkpoint, not a transfer."""

LOST_NODE_PATIENCE = 60
"""Seconds until a pod leaves a node that is gone; the default of 300 is 4 idle minutes more."""

TOKEN_SECONDS = 3600
"""Life of the run's token; the kubelet renews it at 80 %."""

_SCRATCH = "/tmp"  # noqa: S108 - a volume of the pod's own: all but the sandbox is read-only
_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
_READ_ONLY = 0o440


def claim(task: Task, settings: KubernetesSettings) -> Manifest:
    """Return the PersistentVolumeClaim of `task`, with the first entries of its record."""
    spec: Manifest = {
        "accessModes": [settings.access_mode],
        "resources": {"requests": {"storage": task.volume_size or settings.volume_size}},
    }
    if settings.storage_class:
        spec["storageClassName"] = settings.storage_class
    metadata = _metadata(task, settings, "volume")
    metadata["annotations"] = {names.MESSAGE: task.dump(), names.ATTEMPT: "1"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": spec,
    }


def job(
    assignment: Assignment, settings: KubernetesSettings, environment: Mapping[str, str]
) -> Manifest:
    """Return the Job of one run. `environment`: the dispatcher's own settings, as read."""
    metadata = _metadata(assignment.task, settings, "job")
    metadata["annotations"] = {names.ATTEMPT: str(assignment.attempt)}
    if assignment.report is not None:
        metadata["annotations"][CLOSING] = "true"
    template = {
        "metadata": {"labels": _labels(assignment.task, settings, "job") | _access(assignment)},
        "spec": _pod(assignment, settings, environment),
    }
    template = extras.add(template, settings.pod)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": _job_spec(settings) | {"template": template},
    }


def selector(settings: KubernetesSettings) -> str:
    """Return the label selector of everything this executor has made and will ever look at."""
    return f"{names.LABEL_MANAGED_BY}={names.PREFIX},{names.LABEL_INSTANCE}={settings.instance}"


def _metadata(task: Task, settings: KubernetesSettings, component: str) -> Manifest:
    return {
        "name": names.object_name(task.key),
        "namespace": settings.namespace,
        "labels": _labels(task, settings, component),
    }


def _labels(task: Task, settings: KubernetesSettings, component: str) -> dict[str, str]:
    return {
        names.LABEL_NAME: names.PREFIX,
        names.LABEL_INSTANCE: settings.instance,
        names.LABEL_COMPONENT: component,
        names.LABEL_PART_OF: names.PREFIX,
        names.LABEL_MANAGED_BY: names.PREFIX,
        names.LABEL_TASK: names.label_value(task.key),
    }


def _job_spec(settings: KubernetesSettings) -> Manifest:
    return {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": settings.backoff_limit,
        "activeDeadlineSeconds": int(settings.deadline),
        # Never two pods at once on one volume: a new one only when the old one has ended.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
    }


def _failure_rules() -> list[Manifest]:
    """First match wins: a drained node first, for its kill may show up as any exit code."""
    codes = sorted(int(code) for code in ExitCode if code is not ExitCode.DONE)
    return [
        {
            "action": "FailJob",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
        {"action": "FailJob", "onExitCodes": _exits(codes)},
    ]


def _exits(codes: list[int]) -> Manifest:
    return {"containerName": CONTAINER, "operator": "In", "values": codes}


def _pod(
    assignment: Assignment, settings: KubernetesSettings, environment: Mapping[str, str]
) -> Manifest:
    spec: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": _pod_security(),
        "tolerations": [*_lost_node_tolerations(), *(dict(t) for t in settings.tolerations)],
        "containers": [_container(assignment, settings, environment)],
        "volumes": _volumes(assignment, settings),
    }
    return spec | _placement(settings)


def _placement(settings: KubernetesSettings) -> Manifest:
    spec: Manifest = {}
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if settings.priority_class:
        spec["priorityClassName"] = settings.priority_class
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    return spec


def _pod_security() -> Manifest:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        # The default walks through the whole volume at every start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _lost_node_tolerations() -> list[Manifest]:
    return [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": LOST_NODE_PATIENCE,
        }
        for state in ("not-ready", "unreachable")
    ]


def _container(
    assignment: Assignment, settings: KubernetesSettings, environment: Mapping[str, str]
) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _env(assignment, settings, environment),
        "resources": _resources(settings.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": handoff.TERMINATION_PATH,
        "volumeMounts": _mounts(assignment, settings),
    }
    if settings.command:
        container["command"] = [_literal(word) for word in settings.command]
    if assignment.report is not None:
        container["args"] = [REPORT_ARGUMENT]
    return container


def _env(
    assignment: Assignment, settings: KubernetesSettings, environment: Mapping[str, str]
) -> list[Manifest]:
    """The run's environment, sorted, so that equal runs are equal manifests."""
    values = handoff.job_environment(assignment, environment, secrets=False)
    values |= {
        handoff.SANDBOX: handoff.SANDBOX_PATH,
        handoff.RELEASE: handoff.RELEASE_KUBERNETES,
        handoff.CLAIM: names.object_name(assignment.task.key),
        handoff.NAMESPACE: settings.namespace,
        handoff.TERMINATION_LOG: handoff.TERMINATION_PATH,
        "HOME": _SCRATCH,
    }
    if settings.secret or settings.secrets:
        values[SETTINGS_DIR] = handoff.SETTINGS_PATH
    return [{"name": name, "value": _literal(values[name])} for name in sorted(values)]


def _literal(value: str) -> str:
    """Kubernetes replaces $(NAME) in values and makes "$$" a "$": double every "$" to keep it."""
    return value.replace("$", "$$")


def _resources(resources: Resources) -> Manifest:
    requests = {"cpu": resources.cpu_request, "memory": resources.memory_request}
    limits = {"cpu": resources.cpu_limit, "memory": resources.memory_limit}
    return {
        "requests": {name: value for name, value in requests.items() if value},
        "limits": {name: value for name, value in limits.items() if value},
    }


def _access(assignment: Assignment) -> dict[str, str]:
    return {LABEL_API: "true"} if _needs_token(assignment) else {}


def _needs_token(assignment: Assignment) -> bool:
    """An ordinary run lets go of its volume through the API; a closing run keeps it."""
    return assignment.report is None


def _volumes(assignment: Assignment, settings: KubernetesSettings) -> list[Manifest]:
    name = names.object_name(assignment.task.key)
    volumes: list[Manifest] = [
        {"name": "sandbox", "persistentVolumeClaim": {"claimName": name}},
        {"name": "tmp", "emptyDir": {"sizeLimit": settings.tmp_size}},
    ]
    if settings.secret or settings.secrets:
        volumes.append({"name": "settings", **_secret_files(settings)})
    if _needs_token(assignment):
        volumes.append({"name": "token", "projected": _token()})
    return volumes


def _secret_files(settings: KubernetesSettings) -> Manifest:
    """One Secret as it is, or several in one folder."""
    if not settings.secrets:
        return {"secret": {"secretName": settings.secret, "defaultMode": _READ_ONLY}}
    sources: list[Manifest] = [{"name": settings.secret}] if settings.secret else []
    for secret in settings.secrets:
        items = [{"key": key, "path": path} for key, path in sorted(secret.items.items())]
        sources.append({"name": secret.name} | ({"items": items} if items else {}))
    return {"projected": {"defaultMode": _READ_ONLY, "sources": [{"secret": s} for s in sources]}}


def _token() -> Manifest:
    """What an automounted token holds, but only for this pod and with a short life."""
    authority = {
        "name": "kube-root-ca.crt",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }
    namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    return {
        "defaultMode": _READ_ONLY,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
            {"configMap": authority},
            {"downwardAPI": {"items": [namespace]}},
        ],
    }


def _mounts(assignment: Assignment, settings: KubernetesSettings) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "sandbox", "mountPath": handoff.SANDBOX_PATH},
        {"name": "tmp", "mountPath": _SCRATCH},
    ]
    if settings.secret or settings.secrets:
        mounts.append({"name": "settings", "mountPath": handoff.SETTINGS_PATH, "readOnly": True})
    if _needs_token(assignment):
        mounts.append({"name": "token", "mountPath": _TOKEN_PATH, "readOnly": True})
    return mounts
