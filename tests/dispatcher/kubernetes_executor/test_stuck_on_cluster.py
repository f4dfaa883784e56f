"""Runs that do not begin, on the real cluster: the words, the verdict, the slot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from contract import names
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.namespaces import (
    kubectl,
    namespace,
    need_cluster,
)

pytestmark = pytest.mark.cluster

Made = Callable[[str], int]
IMPATIENT = replace(LIMITS, pending=3.0, temporary=(0.2,), crash=(0.2,))
"""Pods that wait for 3 s are ended; each cause is tried again once."""
STUCK: dict[str, tuple[dict[str, Any], str, str | tuple[str, ...]]] = {
    "image": (
        {"image": "localhost/no-such-image:1"},
        "image_missing",
        "image pull: localhost/no-such-image:1: ",
    ),
    "node": (
        {"node_selector": {"course-runner-test": "nowhere"}},
        "unschedulable",
        "unschedulable: 0/1 nodes",
    ),
    "class": (
        {"storage_class": "no-such-class"},
        "volume_unbound",
        (  # the binder's word on a busy cluster can come later than the scheduler's
            'claim unbound: storageclass.storage.k8s.io "no-such-class" not found',
            "claim unbound: 0/1 nodes are available: pod has unbound",
        ),
    ),
    "secret": ({"secret": "no-such-secret"}, "volume_not_mounted", "volume on node node-1: "),
}
"""What keeps a run from beginning: settings that bring it about, the category, the first words."""


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A namespace for all tests of this module."""
    need_cluster()
    with namespace() as name:
        yield name


@pytest.fixture(scope="module")
def made(space: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """How many Jobs of a name there have been in it."""
    with jobs_made(space, tmp_path_factory.mktemp("watch")) as count:
        yield count


def marks(town: Town, letter: str) -> dict[str, str]:
    """The record on an order's claim, asked of the server."""
    claim = json.loads(kubectl("get", "pvc", town.name(letter), "-n", town.space, "-o", "json"))
    found: dict[str, str] = claim["metadata"]["annotations"]
    return found


def until_failed(town: Town, letter: str) -> dict[str, Any]:
    """Wait for the end for good; the outcome on the claim."""
    town.until_status(letter, "failed", 240)
    outcome: dict[str, Any] = json.loads(marks(town, letter)[names.OUTCOME])
    return outcome


def test_a_run_that_cannot_begin_frees_its_slot_and_says_what_is_in_its_way(
    redis7: str, space: str, made: Made
) -> None:
    """Image, node, storage class, Secret: each is ended in the cluster's own words, tried again
    once, given up, and no Job is left.
    """
    with ExitStack() as stack:
        towns = {}
        for what, (changes, _, _) in STUCK.items():
            town = Town(redis7, space, made)
            stack.enter_context(town.dispatcher(IMPATIENT, **changes))
            town.push("a")
            towns[what] = town
        for what, (_, category, words) in STUCK.items():
            outcome = until_failed(towns[what], "a")
            assert outcome["category"] == category
            assert outcome["summary"].startswith(words), outcome["summary"]
            assert outcome["advice"]
            assert json.loads(marks(towns[what], "a")[names.FAILURES])[category] == 2
            towns[what].until(lambda t=towns[what]: not t.objects("jobs"), "no Job is left")
            assert towns[what].runs_made("a") >= 2


def test_a_run_that_waits_for_its_node_begins_when_there_is_one(
    redis7: str, space: str, made: Made
) -> None:
    """A patient dispatcher says why, and the run begins as soon as it can."""
    label = f"course-runner-test-{space}"
    town = Town(redis7, space, made)
    with town.dispatcher(node_selector={label: "yes"}):
        town.push("a")
        town.until(lambda: _obstacle(town, "a").startswith("unschedulable: "), "it says why")
        [node] = json.loads(kubectl("get", "nodes", "-l", "!type", "-o", "json"))["items"]
        kubectl("label", "node", node["metadata"]["name"], f"{label}=yes")
        try:
            town.until_status("a", "completed")
            assert _obstacle(town, "a") == ""
            town.assert_once("a")
        finally:
            kubectl("label", "node", node["metadata"]["name"], f"{label}-")


def _obstacle(town: Town, letter: str) -> str:
    assert town.executor is not None
    found = town.executor.obstacle(town.name(letter))
    return found.summary if found else ""
