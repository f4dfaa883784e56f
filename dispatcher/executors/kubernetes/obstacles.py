"""Why a run's pod has not begun to work, in one sentence. Pure.

Goes in: the Job, its newest pod, the claim, warnings about them. Comes out: an `Obstacle`, or None
when nothing is known to be in the way. What people read names the reason in the cluster's own
words; the category says whether waiting is worth its slot: "" for what ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.executors import Obstacle
from dispatcher.executors.kubernetes.endings import container_state
from dispatcher.executors.kubernetes.readings import Json, created, is_deleting, name_of, seconds

IMAGE = "image_missing"
UNSCHEDULABLE = "unschedulable"
UNBOUND = "volume_unbound"
NOT_MOUNTED = "volume_not_mounted"
NOT_MADE = "pod_refused"
NOT_STARTED = "container_not_started"

WORDS = 300
"""Characters of the cluster's words that are repeated."""

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_STARTING = ("", "ContainerCreating", "PodInitializing")
_MOUNT = ("FailedMount", "FailedAttachVolume")

_ADVICE = {
    IMAGE: "Mend JOB_IMAGE or IMAGE_PULL_SECRETS, or load the image; then retry the task.",
    UNSCHEDULABLE: "Give the cluster a node that fits, or change JOB_NODE_SELECTOR, "
    "JOB_TOLERATIONS or what the job asks for.",
    UNBOUND: "Mend STORAGE_CLASS, or make a volume that fits the claim.",
    NOT_MOUNTED: "Make what is missing; or, if the node that has the volume is gone for good, "
    "delete the Node or taint it out-of-service.",
    NOT_MADE: "Mend the policy that refuses the pod, or the settings that it speaks of.",
    NOT_STARTED: "Look whether the Secrets and ConfigMaps that the job names are there.",
}


def is_waiting(pod: Json) -> bool:
    """Whether the pod has yet to begin, or cannot go away."""
    return is_deleting(pod) or (pod.get("status") or {}).get("phase", "Pending") == "Pending"


def is_unbound(claim: Json) -> bool:
    """Whether the claim still waits for its volume."""
    return (claim.get("status") or {}).get("phase") == "Pending"


def without_pod(job: Json, warnings: Sequence[Json]) -> Obstacle | None:
    """Return why a Job has no pod: a quota, which is worth any wait, or a refusal."""
    said = _last(warnings, "FailedCreate")
    if not said:
        return None
    # The Job may be old, and only its last pod be refused.
    first = [seconds(event.get("firstTimestamp")) or 0.0 for event in warnings]
    since = max(created(job), *first)
    if "exceeded quota" in said:
        return Obstacle("", f"waiting: quota: the Job has no pod: {said}", since=since)
    return _obstacle(NOT_MADE, f"no pod of the Job is admitted: {said}", since)


def of_pod(pod: Json, claim: Json, warnings: Sequence[Json]) -> Obstacle | None:
    """Return what keeps `pod` from beginning; None when it is simply on its way."""
    since = created(pod)
    if is_deleting(pod):
        return Obstacle("", f"pod {name_of(pod)} is still stopping{_on(pod)}", since=since)
    unscheduled = _unscheduled(pod)
    if unscheduled is not None:
        return _unplaced(unscheduled, claim, warnings, since)
    waiting = container_state(pod).get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if reason in _IMAGE:
        words = _last(warnings, "Failed", "Inspect") or str(waiting.get("message") or "")
        return _obstacle(IMAGE, f"image pull: {_image(pod)}: {reason}: {words}", since)
    mount = _last(warnings, *_MOUNT)
    if reason in _STARTING:
        return _obstacle(NOT_MOUNTED, f"volume{_on(pod)}: {mount}", since) if mount else None
    return _obstacle(NOT_STARTED, f"container: {reason}: {waiting.get('message', '')}", since)


def _unplaced(message: str, claim: Json, warnings: Sequence[Json], since: float) -> Obstacle:
    said = _last(warnings, "ProvisioningFailed", "FailedBinding")
    if is_unbound(claim) and (said or "unbound" in message):
        return _obstacle(UNBOUND, f"claim unbound: {said or message}", since)
    return _obstacle(UNSCHEDULABLE, f"unschedulable: {message}", since)


def _obstacle(category: str, summary: str, since: float) -> Obstacle:
    text = " ".join(summary.split())
    short = text if len(text) <= WORDS else text[: WORDS - 1] + "…"
    return Obstacle(category, short.removesuffix(":").rstrip(), _ADVICE[category], since)


def _unscheduled(pod: Json) -> str | None:
    """Return the scheduler's words; None when the pod has its node, or nobody has looked yet."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no reason is given")
    return None


def _on(pod: Json) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    return f" on node {node}" if node else ""


def _image(pod: Json) -> str:
    containers: Sequence[Mapping[str, Any]] = (pod.get("spec") or {}).get("containers") or ()
    return str(next((c.get("image") for c in containers if c.get("name") == "job"), "?"))


def _last(warnings: Sequence[Json], *reasons: str) -> str:
    """Return the words of the newest warning of these reasons."""
    found = [str(w.get("message") or "") for w in warnings if w.get("reason") in reasons]
    return found[-1] if found else ""
