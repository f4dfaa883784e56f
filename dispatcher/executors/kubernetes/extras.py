"""What an administrator adds to every run's pod, beyond what has a setting of its own.

Goes in: the JSON of JOB_POD and JOB_SECRETS, and a Job's pod template. Comes out: the template with
the additions. Whatever keeps a task safe (user, rights, restart rules, the volumes and names of
the hand-off) cannot be replaced this way: only the fields listed here can be given, lists are
appended to, and where a name is taken already, ours stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_POD = frozenset(
    {
        "affinity",
        "topologySpreadConstraints",
        "runtimeClassName",
        "schedulerName",
        "dnsPolicy",
        "dnsConfig",
        "hostAliases",
        "hostUsers",
    }
)
_LISTS = {"env": "name", "envFrom": "", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists that are appended to, and the key by which an entry could clash with ours."""

_METADATA = frozenset({"labels", "annotations"})
_IMAGE = "imagePullPolicy"


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Keys of one Secret that become files: `items` maps key to file; empty means every key."""

    name: str
    items: Mapping[str, str]


def wrong_with(extras: Mapping[str, Any]) -> str:
    """Return what JOB_POD must be, if it is something else; "" when all is well."""
    known = _POD | _METADATA | set(_LISTS) | {_IMAGE}
    if set(extras) - known:
        return "a JSON object with no other keys than " + ", ".join(sorted(known))
    for name in _LISTS:
        entries = extras.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            return f"a JSON object whose {name} is a list of objects"
    for name in _METADATA:
        values = extras.get(name, {})
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            return f"a JSON object whose {name} are texts"
    return ""


def secret_files(value: Any) -> tuple[SecretFiles, ...] | None:
    """Return the Secrets that JOB_SECRETS names, None when it is something else."""
    if not isinstance(value, list) or not all(_names_a_secret(entry) for entry in value):
        return None
    return tuple(SecretFiles(entry["name"], entry.get("items") or {}) for entry in value)


def _names_a_secret(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) - {"name", "items"}:
        return False
    items = entry.get("items") or {}
    named = isinstance(entry.get("name"), str) and isinstance(items, dict)
    return named and all(isinstance(file, str) for file in items.values())


def add(template: Json, extras: Mapping[str, Any]) -> Json:
    """Return the pod template with the additions; ours wins where a name is taken already."""
    metadata = dict(template["metadata"])
    for name in _METADATA & set(extras):
        metadata[name] = {**extras[name], **metadata.get(name, {})}
    pod = dict(template["spec"]) | {name: extras[name] for name in sorted(_POD & set(extras))}
    [container] = pod["containers"]
    container = dict(container)
    if _IMAGE in extras:
        container[_IMAGE] = extras[_IMAGE]
    for name, key in _LISTS.items():
        owner = pod if name == "volumes" else container
        if extras.get(name):
            owner[name] = [*owner.get(name, []), *_new(owner.get(name, []), extras[name], key)]
    pod["containers"] = [container]
    return {**template, "metadata": metadata, "spec": pod}


def _new(ours: list[Json], theirs: list[Json], key: str) -> list[Json]:
    """Return their entries but for those whose key is taken: a list with doubles is refused."""
    taken = {entry[key] for entry in ours} if key else set()
    return [entry for entry in theirs if not key or entry.get(key) not in taken]
