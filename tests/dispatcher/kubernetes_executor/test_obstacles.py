"""Why a pod has not begun: the cluster's own words, as a 1.37.2 says them."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.executors.kubernetes import obstacles
from dispatcher.executors.kubernetes.obstacles import (
    IMAGE,
    NOT_MADE,
    NOT_MOUNTED,
    NOT_STARTED,
    UNBOUND,
    UNSCHEDULABLE,
)
from dispatcher.executors.kubernetes.readings import seconds

NOON = "2026-01-12T12:00:00Z"
BOUND = {"status": {"phase": "Bound"}}
PENDING = {"status": {"phase": "Pending"}}
ON_NODE = {"nodeName": "node-7", "containers": [{"name": "job", "image": "registry/job:1"}]}


def pod(waiting: dict[str, str] | None = None, unscheduled: str = "", **meta: str) -> Any:
    """A pending pod."""
    status: dict[str, Any] = {"phase": "Pending"}
    if waiting:
        status["containerStatuses"] = [{"name": "job", "state": {"waiting": waiting}}]
    if unscheduled:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        status["conditions"] = [{**condition, "message": unscheduled}]
    spec = {} if unscheduled else ON_NODE
    metadata = {"name": "course-1-abc", "creationTimestamp": NOON, **meta}
    return {"metadata": metadata, "spec": spec, "status": status}


def warning(reason: str, message: str) -> dict[str, str]:
    """An event."""
    return {"reason": reason, "message": message}


PULL = warning("Failed", 'Failed to pull image "registry/job:1": not found')
CLASS = warning("ProvisioningFailed", 'storageclass.storage.k8s.io "gone" not found')
ATTACH = warning("FailedAttachVolume", "Multi-Attach error: Volume is already used by pod x")
NO_NODE = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
NO_CLAIM = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."


@pytest.mark.parametrize(
    ("seen", "claim", "warnings", "category", "words"),
    [
        (
            pod({"reason": "ImagePullBackOff", "message": "Back-off"}),
            BOUND,
            [PULL],
            IMAGE,
            f"image pull: registry/job:1: ImagePullBackOff: {PULL['message']}",
        ),
        (
            pod({"reason": "ErrImageNeverPull", "message": "not present"}),
            BOUND,
            [],
            IMAGE,
            "image pull: registry/job:1: ErrImageNeverPull: not present",
        ),
        (pod(unscheduled=NO_NODE), BOUND, [], UNSCHEDULABLE, f"unschedulable: {NO_NODE}"),
        (pod(unscheduled=NO_NODE), PENDING, [], UNSCHEDULABLE, f"unschedulable: {NO_NODE}"),
        (pod(unscheduled=NO_CLAIM), PENDING, [], UNBOUND, f"claim unbound: {NO_CLAIM}"),
        (
            pod(unscheduled=NO_CLAIM),
            PENDING,
            [CLASS],
            UNBOUND,
            f"claim unbound: {CLASS['message']}",
        ),
        (
            pod({"reason": "ContainerCreating"}),
            BOUND,
            [ATTACH],
            NOT_MOUNTED,
            f"volume on node node-7: {ATTACH['message']}",
        ),
        (
            pod({"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}),
            BOUND,
            [],
            NOT_STARTED,
            'container: CreateContainerConfigError: secret "s" not found',
        ),
        (
            pod(deletionTimestamp=NOON),
            BOUND,
            [],
            "",
            "pod course-1-abc is still stopping on node node-7",
        ),
    ],
)
def test_what_is_in_the_way_is_told_in_the_clusters_words(
    seen: Any, claim: Any, warnings: list[Any], category: str, words: str
) -> None:
    """The category tells whether waiting is worth the slot, `since` how long it has waited."""
    found = obstacles.of_pod(seen, claim, warnings)
    assert found is not None
    assert (found.category, found.summary, found.since) == (category, words, seconds(NOON))
    assert bool(found.advice) == bool(category)


@pytest.mark.parametrize("seen", [pod(), pod({"reason": "ContainerCreating"})])
def test_a_pod_on_its_way_has_no_obstacle(seen: Any) -> None:
    assert obstacles.of_pod(seen, BOUND, []) is None


def test_a_job_without_a_pod_tells_a_quota_from_a_refusal() -> None:
    """A quota is worth any wait; a refusal is not."""
    job = {"metadata": {"creationTimestamp": NOON}}
    quota = warning("FailedCreate", "pods is forbidden: exceeded quota: small")
    refused = warning("FailedCreate", "violates PodSecurity")
    found = [obstacles.without_pod(job, [event]) for event in (quota, refused)]
    assert [one.category for one in found if one] == ["", NOT_MADE]
    assert [one.summary[:15] for one in found if one] == ["waiting: quota:", "no pod of the J"]
    assert obstacles.without_pod(job, []) is None


def test_an_old_job_whose_new_pod_is_refused_has_its_full_patience() -> None:
    """What counts is since when pods are refused, not when the Job was made."""
    job = {"metadata": {"creationTimestamp": "2026-01-12T06:00:00Z"}}
    event = {**warning("FailedCreate", "violates PodSecurity"), "firstTimestamp": NOON}
    found = obstacles.without_pod(job, [event])
    assert found is not None
    assert found.since == seconds(NOON)


def test_long_words_are_cut() -> None:
    found = obstacles.of_pod(pod(unscheduled="x" * 5000), BOUND, [])
    assert found is not None
    assert len(found.summary) == obstacles.WORDS
