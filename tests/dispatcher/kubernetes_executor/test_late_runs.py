"""A run that does not begin, from the loop's side: ended, its slot free, its task tried again.

The API server is the small one of these tests, so that a pod stays as long in trouble as the test
wants; test_stuck_on_cluster.py has the same on a real cluster, with its words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import names
from tests.dispatcher.kubernetes_executor.api_server import NAMESPACE, ApiServer
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town

QUICK = replace(LIMITS, pending=60.0)
"""The small server's objects are made in January, so that a minute is over at once."""


@pytest.fixture
def town(redis7: str, api: ApiServer, tmp_path: Path) -> Iterator[Town]:
    """A dispatcher on the small API server."""
    town = Town(redis7, NAMESPACE, lambda name: 0, api.kubeconfig(tmp_path))
    with town.dispatcher(QUICK):
        yield town


def job_of(api: ApiServer, town: Town, letter: str, attempt: int) -> dict[str, Any]:
    """The Job of an order's run, as soon as it is there."""

    def found() -> dict[str, Any] | None:
        job = api.get("jobs", town.name(letter))
        marks = job["metadata"]["annotations"] if job else {}
        return job if marks.get(names.ATTEMPT) == str(attempt) else None

    town.until(found, f"run {attempt} of {letter} is there")
    job = found()
    assert job is not None
    return job


def stuck_pod(job: dict[str, Any]) -> dict[str, Any]:
    """A pod of that Job whose image cannot be had."""
    labels = {
        "batch.kubernetes.io/controller-uid": job["metadata"]["uid"],
        "batch.kubernetes.io/job-name": job["metadata"]["name"],
    }
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    status = {"name": "job", "state": {"waiting": waiting}}
    return {
        "metadata": {"name": f"{job['metadata']['name']}-x", "labels": labels},
        "spec": {"nodeName": "node-1", "containers": [{"name": "job", "image": "gone:1"}]},
        "status": {"phase": "Pending", "containerStatuses": [status]},
    }


def marks_of(api: ApiServer, town: Town, letter: str) -> dict[str, str]:
    """The record on an order's claim."""
    claim = api.get("persistentvolumeclaims", town.name(letter))
    assert claim is not None
    marks: dict[str, str] = claim["metadata"]["annotations"]
    return marks


def test_a_run_that_cannot_begin_gives_its_slot_away_and_is_tried_again(
    api: ApiServer, town: Town
) -> None:
    """A run whose image cannot be had is ended with that verdict and its Job removed; the retry
    works, and is left alone however old its Job is.
    """
    town.push("a")
    pod = api.put("pods", stuck_pod(job_of(api, town, "a", 1)))
    town.until(lambda: marks_of(api, town, "a").get(names.FAILURES), "there is a verdict")
    assert json.loads(marks_of(api, town, "a")[names.FAILURES]) == {"image_missing": 1}
    town.until(lambda: town.fields("a").get("category") == "image_missing", "the board tells")
    town.until(lambda: len(api.seen("delete", "jobs")) == 1, "the Job is removed")
    api.remove("pods", pod["metadata"]["name"])

    again = job_of(api, town, "a", 2)
    api.put("jobs", {**again, "status": {"active": 1, "ready": 1}})
    town.until(lambda: _works(town, "a"), "the retry works")
    ended = [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-12T17:00:00Z"}]
    api.put("jobs", {**again, "status": {"conditions": ended}})
    town.until_status("a", "completed")
    assert len(api.seen("delete", "jobs")) == 1, "the stuck run and no other"


def _works(town: Town, letter: str) -> bool:
    holding = town.holding(letter)
    return bool(holding and holding.run and holding.run.working)


def test_a_pod_on_its_way_is_left_alone(api: ApiServer, town: Town) -> None:
    """An old Job without an obstacle that is known keeps its slot: something may yet come of it."""
    town.push("b")
    job_of(api, town, "b", 1)
    town.until(lambda: len(api.seen("list", "pods")) >= 2, "it was looked at")
    assert names.OUTCOME not in marks_of(api, town, "b")
    assert api.seen("delete", "jobs") == []
