"""Nodes that a test makes: real objects, real controllers, and no kubelet behind them.

Such a node takes one pod, whose beginning the test tells in the kubelet's place; from then on it is
silent, as a machine is whose kubelet has stopped. What follows is the cluster's own: the scheduler,
the controllers that taint, evict and clear away, the Job controller.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.dispatcher.kubernetes_executor.namespaces import kubectl

TAINT = "course-runner-test"
"""Keeps everybody else's pods away."""
TOLERATION = {"key": TAINT, "operator": "Exists"}
ROOM = {"cpu": "1", "memory": "2Gi", "pods": "1", "ephemeral-storage": "1Gi"}


def make_node(name: str, label: str) -> None:
    """A node that is ready for one pod that asks for `label`."""
    kubectl("create", "-f", "-", given=_node(name, label))
    kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", _says("True"))


def fall_silent(name: str) -> None:
    """Say what the node lifecycle controller says when a kubelet has been silent for 50 s."""
    kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", _says("Unknown"))


def give_up(name: str) -> None:
    """Say, as an operator does, that the machine is off for good."""
    taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
    kubectl("taint", "node", name, taint)


def begin(space: str, pod: str) -> None:
    """Say that the pod's container works, as the kubelet would."""
    _tell(space, pod, "Running", {"running": {"startedAt": _now()}})


def stop(space: str, pod: str) -> None:
    """Say that the container has stopped as it was told, and let go of the pod."""
    end = {"exitCode": 143, "startedAt": _now(), "finishedAt": _now()}
    _tell(space, pod, "Failed", {"terminated": end})
    kubectl("delete", "pod", pod, "-n", space, "--force", "--grace-period=0", "--wait=false")


def _tell(space: str, pod: str, phase: str, state: dict[str, Any]) -> None:
    works = "running" in state
    status = {
        "name": "job",
        "image": "x",
        "imageID": "x",
        "ready": works,
        "restartCount": 0,
        "state": state,
    }
    ready = {"type": "Ready", "status": str(works), "lastTransitionTime": _now()}
    says = {"phase": phase, "conditions": [ready], "containerStatuses": [status]}
    words = ("--subresource=status", "--type=strategic", "-p", json.dumps({"status": says}))
    kubectl("patch", "pod", pod, "-n", space, *words)


def important(space: str, label: str) -> list[dict[str, Any]]:
    """A pod before which others must give way, for the nodes of a label, with its class."""
    head = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    container = {
        "name": "x",
        "image": "x",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "priorityClassName": label,
        "nodeSelector": {label: "yes", "type": "made-by-a-test"},
        "tolerations": [TOLERATION],
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    meta = {"name": "important", "namespace": space}
    return [
        {**head, "metadata": {"name": label}, "value": 1000},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
    ]


def network_disk(name: str, storage_class: str, path: str) -> list[dict[str, Any]]:
    """A class and a volume that are tied to no node, as a disk of the network is."""
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": storage_class},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    spec = {
        "capacity": {"storage": "1Mi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": storage_class,
        "hostPath": {"path": path, "type": "DirectoryOrCreate"},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    return [made, {**volume, "spec": spec}]


def most_alive(events: str, begins: str) -> int:
    """The most pods that had not ended at any one time, from `kubectl get --watch` events.

    `begins` is what the names of those that count begin with.
    """
    alive: set[str] = set()
    most = 0
    for event in _documents(events):
        pod = event["object"]
        over = event["type"] == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed")
        if pod["metadata"]["name"].startswith(begins):
            (alive.discard if over else alive.add)(pod["metadata"]["name"])
            most = max(most, len(alive))
    return most


def _documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents of a text, one after the other; the last may be half written."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        found.append(document)
    return found


def _node(name: str, label: str) -> dict[str, Any]:
    labels = {"type": "made-by-a-test", "kubernetes.io/hostname": name, label: "yes"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
        "status": {"capacity": ROOM, "allocatable": ROOM},
    }


def _says(ready: str) -> str:
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": "NodeStatusUnknown" if ready == "Unknown" else "KubeletReady",
        "lastHeartbeatTime": _now(),
        "lastTransitionTime": _now(),
    }
    return json.dumps({"status": {"conditions": [condition]}})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
