"""What is read out of Jobs, claims and pods; odd objects are read as far as they go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.outcome import Outcome
from dispatcher.executors import Ending, Phase, Run, Volume
from dispatcher.executors.kubernetes import endings, readings

NOON = "2026-01-12T12:00:00Z"
NOON_SECONDS = 1768219200.0
WORDS = Outcome("temporary", "The remote is away.", exit=75)


def job(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A Job with those conditions."""
    return {
        "metadata": {
            "name": "course-1",
            "uid": "u1",
            "resourceVersion": "17",
            "creationTimestamp": NOON,
            "annotations": {"course-runner/attempt": "3"},
        },
        "status": {"conditions": list(conditions), **status},
    }


def condition(kind: str, status: str = "True", **more: str) -> dict[str, Any]:
    """A condition that began at noon."""
    return {"type": kind, "status": status, "lastTransitionTime": NOON, **more}


@pytest.mark.parametrize(
    ("conditions", "phase"),
    [
        ([], Phase.ACTIVE),
        ([condition("Suspended")], Phase.ACTIVE),
        ([condition("FailureTarget")], Phase.ACTIVE),
        ([condition("SuccessCriteriaMet")], Phase.ACTIVE),
        ([condition("Complete", "False")], Phase.ACTIVE),
        ([condition("SuccessCriteriaMet"), condition("Complete")], Phase.SUCCEEDED),
        ([condition("FailureTarget"), condition("Failed")], Phase.FAILED),
    ],
)
def test_only_terminal_conditions_end_a_run(conditions: list[dict[str, Any]], phase: Phase) -> None:
    """While a Job only announces its end, its volume still has a writer."""
    run = readings.run(job(*conditions, startTime=NOON))
    ended = None if phase is Phase.ACTIVE else NOON_SECONDS
    assert run == Run("u1", 3, phase, started=NOON_SECONDS, ended=ended)


def test_a_closing_run_and_its_removal_show() -> None:
    """The mark of a closing run and the request for removal are read."""
    body = job()
    body["metadata"]["annotations"]["course-runner/closing"] = "true"
    body["metadata"]["deletionTimestamp"] = NOON
    run = readings.run(body)
    assert (run.closing, run.deleting, run.started) == (True, True, NOON_SECONDS)


def test_a_claim_is_read_without_what_is_not_ours() -> None:
    """Marks are our own annotations; the size is what was made."""
    claim = {
        "metadata": {
            "uid": "u2",
            "creationTimestamp": NOON,
            "annotations": {"course-runner/pinned": "yes", "pv.kubernetes.io/bound": "yes"},
        },
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        "status": {"capacity": {"storage": "2Gi"}},
    }
    marks = {"course-runner/pinned": "yes"}
    assert readings.volume(claim) == Volume("u2", NOON_SECONDS, marks, size="2Gi")
    del claim["status"]
    assert readings.volume(claim).size == "1Gi"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["name", "uid", "resourceVersion", "x"]), JSON))
def test_no_metadata_is_too_odd_to_be_read(metadata: dict[str, Any]) -> None:
    """An object whose metadata hold the wrong things is read as far as it goes."""
    obj = {"metadata": metadata}
    assert readings.run(obj).attempt == 1
    assert readings.volume(obj).marks == {}
    assert readings.version_of(obj) >= -1


def pod(name: str = "p", created: str = NOON, **status: Any) -> dict[str, Any]:
    """A pod with that status."""
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def ended(code: int, **more: str) -> list[dict[str, Any]]:
    """Container statuses of a job that ended with `code`, beside a sidecar that ended well."""
    state = {"terminated": {"exitCode": code, **more}}
    sidecar = {"name": "proxy", "state": {"terminated": {"exitCode": 0}}}
    return [sidecar, {"name": "job", "state": state}]


FAILED = condition("Failed", reason="PodFailurePolicy", message="Container job … exit code 65 …")
BACKOFF = condition("Failed", reason="BackoffLimitExceeded", message="Job has reached the limit")
DEADLINE = condition("Failed", reason="DeadlineExceeded", message="Job was active longer")


def taken_away(name: str) -> dict[str, Any]:
    """What a Job says when a pod was taken away from it."""
    message = f"Pod courses/{name} has condition DisruptionTarget matching FailJob rule at index 0"
    return condition("Failed", reason="PodFailurePolicy", message=message)


def disruption(reason: str) -> list[dict[str, Any]]:
    """The condition of a pod that was taken away."""
    return [condition("DisruptionTarget", reason=reason)]


@pytest.mark.parametrize(
    ("job_end", "pods", "ending"),
    [
        (FAILED, [pod(containerStatuses=ended(75, message=WORDS.dump()))], Ending(75, WORDS)),
        (condition("Complete"), [pod(containerStatuses=ended(0))], Ending(0)),
        (condition("Complete"), [], Ending(0)),
        (FAILED, [], Ending(65)),
        (BACKOFF, [], Ending(None, None, "BackoffLimitExceeded")),
        (DEADLINE, [], Ending(None, None, "DeadlineExceeded")),
        (DEADLINE, [pod(containerStatuses=ended(143))], Ending(143, None, "DeadlineExceeded")),
        (
            BACKOFF,
            [pod(containerStatuses=ended(137, reason="OOMKilled"))],
            Ending(137, None, "OOMKilled"),
        ),
        (BACKOFF, [pod(containerStatuses=ended(137, reason="Error"))], Ending(137, None, "Killed")),
        (BACKOFF, [pod(containerStatuses=ended(1, message="Traceback …"))], Ending(1)),
        (
            BACKOFF,
            [pod(reason="Evicted", containerStatuses=ended(137, reason="Error"))],
            Ending(137, None, "Evicted"),
        ),
        (BACKOFF, [pod(reason="OutOfcpu")], Ending(None, None, "OutOfcpu")),
        (
            BACKOFF,
            [pod(conditions=disruption("DeletionByPodGC"), containerStatuses=[])],
            Ending(None, None, "NodeLost", True),
        ),
        (
            taken_away("p"),
            [
                pod("a-newer-one"),
                pod(
                    message="The node was low on resource: memory. ",
                    reason="Evicted",
                    conditions=disruption("TerminationByKubelet"),
                    containerStatuses=ended(143),
                ),
            ],
            Ending(143, None, "Evicted", True, "The node was low on resource: memory. "),
        ),
        (
            taken_away("p"),
            [pod(conditions=disruption("EvictionByEvictionAPI"), containerStatuses=ended(143))],
            Ending(143, None, "EvictionByEvictionAPI", True),
        ),
        (taken_away("gone"), [], Ending(None, None, "Disrupted", True)),
        (
            taken_away("gone"),
            [pod("an-older-one", containerStatuses=ended(137, reason="OOMKilled"))],
            Ending(None, None, "Disrupted", True),
        ),
        (
            condition(
                "Failed",
                reason="PodFailurePolicy",
                message="Container job for pod courses/gone failed with exit code 143 matching …",
            ),
            [pod("an-older-one", containerStatuses=ended(137, reason="OOMKilled"))],
            Ending(143),
        ),
        (
            FAILED,
            [
                pod("old", "2026-01-12T11:00:00Z", containerStatuses=ended(137)),
                pod("new", containerStatuses=ended(66)),
            ],
            Ending(66),
        ),
    ],
)
def test_how_a_run_ended(
    job_end: dict[str, Any], pods: list[dict[str, Any]], ending: Ending
) -> None:
    """The pod that the Job names is asked first, or the newest; the Job where no pod can tell; what
    an older pod left is not taken for the last one's; a deadline is always told.
    """
    assert endings.ending(job(job_end), pods) == ending
