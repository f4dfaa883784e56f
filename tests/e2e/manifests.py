"""What the tests install: the least rights each program needs, and a dispatcher in a pod."""

from __future__ import annotations

import base64
from typing import Any

Object = dict[str, Any]

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
DISPATCHER_RULES = [
    {
        "apiGroups": ["batch"],
        "resources": ["jobs"],
        "verbs": ["get", "list", "watch", "create", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims"],
        "verbs": ["get", "list", "watch", "create", "patch", "delete"],
    },
]
JOB_RULES = [{"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["patch"]}]


def namespace(name: str) -> Object:
    """A namespace that admits nothing but restricted pods."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return _object("v1", "Namespace", name, labels=labels)


def rights(namespace: str) -> list[Object]:
    """Service accounts, roles and bindings of both programs."""
    found: list[Object] = []
    for name, rules in (
        ("course-runner-dispatcher", DISPATCHER_RULES),
        ("course-runner-job", JOB_RULES),
    ):
        group = "rbac.authorization.k8s.io"
        found += [
            _object("v1", "ServiceAccount", name),
            _object(f"{group}/v1", "Role", name, rules=rules),
            _object(
                f"{group}/v1",
                "RoleBinding",
                name,
                roleRef={"apiGroup": group, "kind": "Role", "name": name},
                subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            ),
        ]
    return found


def secret(name: str, values: dict[str, str]) -> Object:
    """A Secret with these keys."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return _object("v1", "Secret", name, data=data)


def dispatcher(name: str, image: str, environment: dict[str, str]) -> Object:
    """A dispatcher in a pod, as a user would run it."""
    probe = {"port": 8080}
    container = {
        "name": "dispatcher",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": k, "value": v} for k, v in environment.items()],
        "securityContext": RESTRICTED,
        "readinessProbe": {"httpGet": {**probe, "path": "/readyz"}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {**probe, "path": "/healthz"}, "periodSeconds": 10},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "serviceAccountName": "course-runner-dispatcher",
        "terminationGracePeriodSeconds": 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    labels = {"app": name}
    return _object(
        "apps/v1",
        "Deployment",
        name,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )


def _object(
    version: str, kind: str, name: str, *, labels: dict[str, str] | None = None, **rest: Any
) -> Object:
    metadata: Object = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}
