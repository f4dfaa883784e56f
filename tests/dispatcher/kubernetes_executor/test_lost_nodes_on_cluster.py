"""A node goes away with a run on it: one writer at a time, a free retry, the slot is not lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract import names
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor import made_nodes
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.namespaces import (
    apply,
    kubectl,
    namespace,
    need_cluster,
)

pytestmark = pytest.mark.cluster

TWO_SLOTS = replace(LIMITS, max_active=2)
LIMIT = 240.0
"""Seconds. The pod garbage collector looks every 20, and waits 40 more before it believes that a
node is gone."""


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A namespace for this module."""
    need_cluster()
    with namespace() as name:
        yield name


@contextmanager
def pods_seen(space: str, folder: Path) -> Iterator[Callable[[], str]]:
    """Watch the pods of a namespace; the function returns all events so far."""
    command = [str(cluster.kubectl()), f"--kubeconfig={cluster.kubeconfig()}", "get", "pods"]
    command += ["-n", space, "--watch", "--output-watch-events", "-o", "json"]
    path = folder / "pods.json"
    with path.open("wb") as out:
        watch = subprocess.Popen(command, stdout=out)
    try:
        yield path.read_text
    finally:
        watch.terminate()
        watch.wait(10)


@contextmanager
def lost_world(space: str, folder: Path) -> Iterator[str]:
    """Two nodes of ours with room for one pod each, three disks; gives the label and the class."""
    label = f"lost-{space}"
    nodes, disks = (f"{label}-1", f"{label}-2"), [f"{label}-{n}" for n in range(3)]
    for disk in disks:
        apply(*made_nodes.network_disk(disk, label, str(folder / disk)))
    for node in nodes:
        made_nodes.make_node(node, label)
    try:
        yield label
    finally:
        kubectl("delete", "node", *nodes, "--ignore-not-found")
        kubectl("label", "nodes", "-l", f"{label},!type", f"{label}-")
        kubectl("delete", "pv", *disks, "--wait=false")
        kubectl("delete", "storageclass", label)


def pods(town: Town, letter: str) -> list[dict[str, Any]]:
    """The pods of an order."""
    found = town.objects("pods")
    return [p for p in found if p["metadata"]["name"].startswith(f"{town.name(letter)}-")]


def placed(town: Town, letter: str) -> str:
    """The node of an order's only pod; "" while it has none."""
    found = pods(town, letter)
    return str(found[0]["spec"].get("nodeName", "")) if len(found) == 1 else ""


def test_runs_on_lost_nodes_go_on_elsewhere_never_two_at_once(
    redis7: str, space: str, tmp_path: Path
) -> None:
    """One node's object is deleted, the other is declared out of service. Until then nothing is
    started beside a pod that may still write; then each run goes on, for free and counted.
    """
    with ExitStack() as stack:
        made = stack.enter_context(jobs_made(space, tmp_path))
        seen = stack.enter_context(pods_seen(space, tmp_path))
        label = stack.enter_context(lost_world(space, tmp_path))
        town = Town(redis7, space, made)
        where = {"node_selector": {label: "yes"}, "storage_class": label}
        tolerations = ({"key": made_nodes.TAINT, "operator": "Exists"},)
        stack.enter_context(town.dispatcher(TWO_SLOTS, tolerations=tolerations, **where))
        for letter in "ab":
            town.push(letter)
        for letter in "ab":
            town.until(lambda one=letter: placed(town, one), f"{letter} has its node")
            made_nodes.begin(space, pods(town, letter)[0]["metadata"]["name"])
        town.push("c")
        town.until(lambda: all(_works(town, one) for one in "ab"), "both work")

        first, second = placed(town, "a"), placed(town, "b")
        assert first != second
        made_nodes.fall_silent(first)
        made_nodes.fall_silent(second)
        town.until(lambda: _unreachable(first) and _unreachable(second), "the cluster knows")
        kubectl("label", "nodes", "-l", "!type", f"{label}=yes")  # there is another node
        assert [town.runs_made(one) for one in "ab"] == [1, 1]
        assert town.left() == 1, "both slots are held by runs that may still write"

        kubectl("delete", "node", first)
        made_nodes.give_up(second)
        for letter in "abc":
            town.until_status(letter, "completed", LIMIT)
        town.until(lambda: not town.left(), "nothing is left")
        assert [town.runs_made(one) for one in "abc"] == [2, 2, 1]
        for letter in "ab":
            assert json.loads(_marks(town, letter)[names.FAILURES]) == {"disrupted": 1}
            begins = f"{town.name(letter)}-"
            alive = made_nodes.most_alive(seen(), lambda name, b=begins: name.startswith(b))
            assert alive == 1, f"{letter} had {alive} pods at once"


def _works(town: Town, letter: str) -> bool:
    holding = town.holding(letter)
    return bool(holding and holding.run and holding.run.working)


def _unreachable(node: str) -> bool:
    found = json.loads(kubectl("get", "node", node, "-o", "json"))
    return any(t["key"] == "node.kubernetes.io/unreachable" for t in found["spec"]["taints"])


def _marks(town: Town, letter: str) -> dict[str, str]:
    claim = json.loads(kubectl("get", "pvc", town.name(letter), "-n", town.space, "-o", "json"))
    found: dict[str, str] = claim["metadata"]["annotations"]
    return found


def test_the_watch_would_see_two_at_once() -> None:
    """Two pods that have not ended count as two; one that has ended, or is gone, does not."""

    def event(kind: str, name: str, phase: str) -> str:
        pod = {"metadata": {"name": name}, "status": {"phase": phase}}
        return json.dumps({"type": kind, "object": pod}, indent=4) + "\n"

    first, second = event("ADDED", "a-1", "Running"), event("ADDED", "a-2", "Pending")
    ended, gone = event("MODIFIED", "a-1", "Failed"), event("DELETED", "a-1", "Running")
    assert made_nodes.most_alive(first + second, lambda _: True) == 2
    assert made_nodes.most_alive(first + ended + second, lambda _: True) == 1
    assert made_nodes.most_alive(first + gone + second + '{"type": "ADD', lambda _: True) == 1
