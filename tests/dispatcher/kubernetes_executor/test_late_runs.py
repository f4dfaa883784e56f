"""A run that does not begin, from the loop's side: ended, its slot free, its task tried again.

The API server is the small one of these tests, so that a pod stays as long in trouble as the test
wants; test_stuck_on_cluster.py has the same on a real cluster, with its words.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import fault, names
from tests.cluster.cluster import PYTHON_IMAGE
from tests.dispatcher.kubernetes_executor.api_server import NAMESPACE, ApiServer
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town

QUICK = replace(LIMITS, pending=60.0)
"""The small server's objects are made in January, so that a minute is over at once."""


ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("dispatch.py")
ENDED = [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-12T17:00:00Z"}]
WORKS = {"status": {"active": 1, "ready": 1}}
SUCCEEDED = {"status": {"conditions": ENDED}}


@pytest.fixture
def place(redis7: str, api: ApiServer, tmp_path: Path) -> Town:
    """A queue and the small API server, without a dispatcher."""
    return Town(redis7, NAMESPACE, lambda name: 0, api.kubeconfig(tmp_path))


@pytest.fixture
def town(place: Town) -> Iterator[Town]:
    """A dispatcher on the small API server."""
    with place.dispatcher(QUICK):
        yield place


@contextmanager
def doomed(place: Town, folder: Path, point: str) -> Iterator[subprocess.Popen[bytes]]:
    """A dispatcher of that place that is killed at a point, in a process of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "REDIS_URL": place.url,
        "QUEUE": place.queue,
        "INSTANCE": place.key,
        "DISPATCHER_ID": "d1",
        "NAMESPACE": NAMESPACE,
        "KUBECONFIG": place.kubeconfig,
        "JOB_IMAGE": PYTHON_IMAGE,
        "PENDING_DEADLINE": "1m",
        "RETRY_SCHEDULE": "50ms",
        fault.POINT: point,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(PROGRAM)], env=environment, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def give_up(api: ApiServer, place: Town, folder: Path) -> dict[str, Any]:
    """Let a dispatcher die when it has just given the run of "a" up for good; return its Job."""
    with doomed(place, folder, "late:marked") as process:
        place.push("a")
        job = job_of(api, place, "a", 1)
        claim = api.get("persistentvolumeclaims", place.name("a"))
        assert claim is not None
        marks = {**claim["metadata"]["annotations"], names.FAILURES: '{"image_missing":1}'}
        claim = {**claim, "metadata": {**claim["metadata"], "annotations": marks}}
        api.put("persistentvolumeclaims", claim)
        pod = api.put("pods", stuck_pod(job))
        assert process.wait(60) == -signal.SIGKILL, (folder / "log").read_text(errors="replace")
    assert json.loads(marks_of(api, place, "a")[names.OUTCOME])["report"] is True
    assert api.seen("delete", "jobs") == []
    api.remove("pods", pod["metadata"]["name"])
    return job


@pytest.mark.parametrize("begins", [True, False], ids=["begins", "does not begin"])
def test_a_run_that_was_given_up_is_ended_whether_it_begins_after_all_or_not(
    api: ApiServer, place: Town, tmp_path: Path, begins: bool
) -> None:
    """The dispatcher died between its verdict and the removal: the next one removes that run, and
    only then a closing run tells of the failure.
    """
    job = give_up(api, place, tmp_path)
    if begins:
        api.put("jobs", {**job, **WORKS})
    with place.dispatcher(QUICK):
        closing = job_of(api, place, "a", 2)
        (removal,) = api.seen("delete", "jobs")
        assert removal.body["preconditions"]["uid"] == job["metadata"]["uid"]
        api.put("jobs", {**closing, **SUCCEEDED})
        place.until_status("a", "failed")


def test_a_run_that_was_given_up_and_delivered_is_completed(
    api: ApiServer, place: Town, tmp_path: Path
) -> None:
    """It began after all and did everything while no dispatcher was there: no closing run tells of
    a failure what has been delivered.
    """
    job = give_up(api, place, tmp_path)
    api.put("jobs", {**job, **SUCCEEDED})
    with place.dispatcher(QUICK):
        place.until_status("a", "completed")
        place.until(
            lambda: json.loads(marks_of(api, place, "a")[names.OUTCOME])["category"] == "done",
            "that is marked",
        )
    made = [one for one in api.seen("create", "jobs") if "dryRun" not in one.query]
    assert len(made) == 1


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
    api.put("jobs", {**again, **WORKS})
    town.until(lambda: _works(town, "a"), "the retry works")
    api.put("jobs", {**again, **SUCCEEDED})
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
