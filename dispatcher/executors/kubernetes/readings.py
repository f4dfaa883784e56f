"""What is read out of Kubernetes objects. Pure.

Goes in: a Job or claim as the API server writes it. Comes out: the few values the dispatcher goes
by, small enough to keep 10,000 of them. Whatever is missing or odd is read as absent: one strange
object must not stop the watch over all others.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from contract import names
from dispatcher.executors import Phase, Run, Volume
from dispatcher.executors.kubernetes.manifests import CLOSING

Json = dict[str, Any]

_OURS = f"{names.PREFIX}/"
_PHASES = {"Complete": Phase.SUCCEEDED, "Failed": Phase.FAILED}
"""Conditions that end a Job. FailureTarget and SuccessCriteriaMet only announce them: until the
last pod has ended, the volume still has a writer."""


def name_of(obj: Json) -> str:
    """Return the object's name; "" when it has none."""
    return str(_metadata(obj).get("name", ""))


def id_of(obj: Json) -> str:
    """Return the object's uid."""
    return str(_metadata(obj).get("uid", ""))


def version_of(obj: Json) -> int:
    """Return the resource version; -1 when it is no number, which is older than any number.

    Versions of one kind of resource rise with every write and may be compared (Kubernetes API,
    KEP-5504; true of etcd's revisions before that).
    """
    text = str(_metadata(obj).get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else -1


def is_deleting(obj: Json) -> bool:
    """Whether the object's removal has been asked for."""
    return "deletionTimestamp" in _metadata(obj)


def annotation(obj: Json, key: str) -> str:
    """Return the annotation; "" when it is not there."""
    return str((_metadata(obj).get("annotations") or {}).get(key, ""))


def label(obj: Json, key: str) -> str:
    """Return the label; "" when it is not there."""
    return str((_metadata(obj).get("labels") or {}).get(key, ""))


def created(obj: Json) -> float:
    """Return when the object was made, in Unix seconds; 0 when it does not say."""
    return seconds(_metadata(obj).get("creationTimestamp")) or 0.0


def attempt(obj: Json) -> int:
    """Return the run's number that a Job carries; 1 when it carries none."""
    text = annotation(obj, names.ATTEMPT)
    return int(text) if text.isascii() and text.isdigit() else 1


def is_closing(obj: Json) -> bool:
    """Whether a Job's run only reports a failure."""
    return annotation(obj, CLOSING) == "true"


def volume(claim: Json) -> Volume:
    """Return the volume that `claim` stands for, with the marks of the task's record."""
    annotations = _metadata(claim).get("annotations") or {}
    marks = {sys.intern(k): str(v) for k, v in annotations.items() if k.startswith(_OURS)}
    return Volume(
        id=id_of(claim),
        created=created(claim),
        marks=marks,
        deleting=is_deleting(claim),
        size=_size(claim),
        version=str(_metadata(claim).get("resourceVersion", "")),
    )


def run(job: Json) -> Run:
    """Return the run that `job` stands for."""
    status = job.get("status") or {}
    ending = end_of(job)
    return Run(
        id=id_of(job),
        attempt=attempt(job),
        phase=_PHASES[ending["type"]] if ending else Phase.ACTIVE,
        closing=is_closing(job),
        started=seconds(status.get("startTime")) or created(job) or None,
        ended=seconds(ending.get("lastTransitionTime")) if ending else None,
        deleting=is_deleting(job),
        working=bool(status.get("ready")),
    )


def end_of(job: Json) -> Mapping[str, Any] | None:
    """Return the condition that has ended `job`; None while it has not ended."""
    conditions = (job.get("status") or {}).get("conditions") or []
    ends = (c for c in conditions if c.get("type") in _PHASES and c.get("status") == "True")
    return next(ends, None)


def seconds(timestamp: object) -> float | None:
    """Return an RFC 3339 time in Unix seconds; None when it is no time."""
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return None


def _metadata(obj: Json) -> Mapping[str, Any]:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _size(claim: Json) -> str:
    """What was made; until then what was asked for."""
    made = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    asked = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get(
        "storage"
    )
    return sys.intern(str(made or asked or ""))
