"""Settings of the Kubernetes executor: what its objects are made of.

Goes in: a `Reader` over the environment. Comes out: `KubernetesSettings`. What a cluster's
administrator may have to choose (class, mode, image, limits, where pods may go) is a setting;
what keeps a task safe (user, root file system, restart rules) is not and stands in `manifests`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.env import Reader
from contract.names import PREFIX
from dispatcher.executors.kubernetes.extras import SecretFiles, secret_files, wrong_with

READ_WRITE_ONCE = "ReadWriteOnce"
ACCESS_MODES = (READ_WRITE_ONCE, "ReadWriteOncePod", "ReadWriteMany")

LOOK_ONLY = "look-only"
"""JOB_IMAGE of a command that only looks: it starts nothing, so nothing is tried out."""

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the name of its own namespace (Kubernetes API)."""

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CPU = re.compile(r"\d+(\.\d+)?|\d+m")


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run's container asks for and may use at most. "" means the field is left out."""

    cpu_request: str = "100m"
    """JOB_CPU_REQUEST, cores. A run mostly waits for the network, so little is reserved."""
    memory_request: str = "256Mi"
    """JOB_MEMORY_REQUEST, bytes. The program itself stays under 96 MiB; the rest is rclone's."""
    cpu_limit: str = ""
    """JOB_CPU_LIMIT, cores. None: throttling would slow transfers down and protect nobody."""
    memory_limit: str = "1Gi"
    """JOB_MEMORY_LIMIT, bytes. A run above it is killed (OOMKilled) instead of its neighbours."""


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """Everything the Kubernetes executor is told by its surroundings."""

    image: str
    """JOB_IMAGE. Image of the job's program; no default, for none is right everywhere."""
    namespace: str = "default"
    """NAMESPACE. Where Jobs and claims live; by default the dispatcher's own."""
    instance: str = PREFIX
    """INSTANCE. Value of the label that keeps two releases in one namespace apart."""
    volume_size: str = "20Gi"
    """VOLUME_SIZE. Size of a claim when the order asks for none: a large course with room."""
    storage_class: str = ""
    """STORAGE_CLASS. "" leaves the choice to the cluster's default class."""
    access_mode: str = READ_WRITE_ONCE
    """ACCESS_MODE. ReadWriteOnce works everywhere; ReadWriteOncePod keeps a second pod out, where
    the class's driver knows it."""
    service_account: str = f"{PREFIX}-job"
    """JOB_SERVICE_ACCOUNT. It may do no more than set one annotation of the run's own claim."""
    secret: str = ""
    """JOB_SECRET. Secret with the job's secret settings, mounted as files; "" for none."""
    secrets: tuple[SecretFiles, ...] = ()
    """JOB_SECRETS, a JSON list of more of them, or of chosen keys under other names:
    `[{"name":"db","items":{"uri":"DATABASE_URL"}}]`. A later one wins where two give one file."""
    deadline: float = 86400
    """RUN_DEADLINE, seconds. How long one run may take (24 h); waiting for an image or a node
    counts too."""
    backoff_limit: int = 3
    """JOB_BACKOFF_LIMIT. Deaths without a meaning (OOM, a kubelet's refusal) that the Job itself
    repeats, 10, 20 and 40 s later, before the dispatcher is asked; 0 asks it at once."""
    resources: Resources = field(default_factory=Resources)
    tmp_size: str = "1Gi"
    """JOB_TMP_SIZE. Limit of the container's /tmp; a run above it is evicted."""
    image_pull_secrets: tuple[str, ...] = ()
    """IMAGE_PULL_SECRETS, names with commas between. For a private registry."""
    priority_class: str = ""
    """JOB_PRIORITY_CLASS. "" leaves it to the cluster's default."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """JOB_NODE_SELECTOR, a JSON object of labels that a node must have."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """JOB_TOLERATIONS, a JSON list of tolerations beside the built-in ones for lost nodes."""
    pod: Mapping[str, Any] = field(default_factory=dict)
    """JOB_POD, a JSON object of additions to every run's pod: affinity, env, volumes, labels and
    the like; see `extras`."""
    command: tuple[str, ...] = ()
    """No setting: what to start instead of the image's own entry point. For trying out."""
    kubeconfig: str = ""
    """KUBECONFIG. "" means the pod's own service account, or ~/.kube/config outside a pod."""


def read(reader: Reader) -> KubernetesSettings:
    """Read the settings; faults stay in `reader` for its `finish`."""
    usual = KubernetesSettings(image="")
    return KubernetesSettings(
        image=reader.required("JOB_IMAGE", "it is the image of the job's program."),
        namespace=_matching(
            reader, "NAMESPACE", _own_namespace(), _DNS_LABEL, "a namespace's name"
        ),
        instance=_matching(reader, "INSTANCE", usual.instance, _LABEL_VALUE, "a label value"),
        volume_size=reader.quantity("VOLUME_SIZE", usual.volume_size),
        storage_class=reader.text("STORAGE_CLASS"),
        access_mode=reader.choice("ACCESS_MODE", ACCESS_MODES, usual.access_mode),
        service_account=reader.text("JOB_SERVICE_ACCOUNT", usual.service_account),
        secret=reader.text("JOB_SECRET"),
        secrets=_secrets(reader),
        deadline=_deadline(reader, usual.deadline),
        backoff_limit=reader.whole("JOB_BACKOFF_LIMIT", usual.backoff_limit),
        resources=_resources(reader),
        tmp_size=reader.quantity("JOB_TMP_SIZE", usual.tmp_size),
        image_pull_secrets=_list(reader, "IMAGE_PULL_SECRETS"),
        priority_class=reader.text("JOB_PRIORITY_CLASS"),
        node_selector=_labels(reader, "JOB_NODE_SELECTOR"),
        tolerations=_objects(reader, "JOB_TOLERATIONS"),
        pod=_pod(reader),
        kubeconfig=reader.text("KUBECONFIG"),
    )


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"


def _resources(reader: Reader) -> Resources:
    usual = Resources()
    cores = 'cores such as "2", "0.5" or "500m"'
    return Resources(
        cpu_request=_matching(reader, "JOB_CPU_REQUEST", usual.cpu_request, _CPU, cores),
        memory_request=reader.quantity("JOB_MEMORY_REQUEST", usual.memory_request),
        cpu_limit=_matching(reader, "JOB_CPU_LIMIT", usual.cpu_limit, _CPU, cores),
        memory_limit=reader.quantity("JOB_MEMORY_LIMIT", usual.memory_limit),
    )


def _deadline(reader: Reader, default: float) -> float:
    """Whole seconds, for the API takes no fractions; at least one."""
    value = reader.seconds("RUN_DEADLINE", default)
    if value >= 1:
        return float(int(value))
    reader.fault("RUN_DEADLINE", "at least one second")
    return default


def _matching(reader: Reader, name: str, default: str, pattern: re.Pattern[str], need: str) -> str:
    value = reader.text(name, default)
    if value == default or pattern.fullmatch(value):
        return value
    reader.fault(name, need)
    return default


def _list(reader: Reader, name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in reader.text(name).split(",") if part.strip())


def _json(reader: Reader, name: str) -> Any:
    try:
        return json.loads(reader.text(name, "null"))
    except ValueError:
        return reader.text(name)


def _labels(reader: Reader, name: str) -> Mapping[str, str]:
    value = _json(reader, name)
    if value is None:
        return {}
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    reader.fault(name, 'a JSON object of texts such as {"disk":"large"}')
    return {}


def _objects(reader: Reader, name: str) -> tuple[Mapping[str, Any], ...]:
    value = _json(reader, name)
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return tuple(value)
    reader.fault(name, 'a JSON list of objects such as [{"key":"spot","operator":"Exists"}]')
    return ()


def _secrets(reader: Reader) -> tuple[SecretFiles, ...]:
    value = _json(reader, "JOB_SECRETS")
    found = () if value is None else secret_files(value)
    if found is None:
        reader.fault("JOB_SECRETS", 'a JSON list such as [{"name":"db","items":{"key":"FILE"}}]')
    return found or ()


def _pod(reader: Reader) -> Mapping[str, Any]:
    value = _json(reader, "JOB_POD")
    if value is None:
        return {}
    need = wrong_with(value) if isinstance(value, dict) else "a JSON object"
    if need:
        reader.fault("JOB_POD", need)
        return {}
    return dict(value)
