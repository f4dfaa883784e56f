"""Stories of runs that lose their place: to the loss of a node, to a more important pod.

Of two lost nodes, one is deleted and the other declared out of service, both after a silence in
which nothing may be started beside a pod that may still write; a third order waits for a slot. They
are told in threads: most of it is waiting for the cluster's own controllers.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contract import names
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor import made_nodes
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.namespaces import (
    apply,
    kubectl,
    namespace,
    now_and_then,
)

LETTERS = "ab"
"""The orders whose nodes are lost."""
TWO_SLOTS = replace(LIMITS, max_active=2)
LIMIT = 240.0
"""Seconds. The pod garbage collector looks every 20, and waits 40 more before it believes that a
node is gone."""


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
def made_world(label: str, folder: Path, *, nodes: int, disks: int) -> Iterator[dict[str, Any]]:
    """Nodes with room for one pod each, and disks that any node reaches; gives the settings of an
    executor whose runs go to nodes that have the label, and to such disks.
    """
    names_of_nodes = [f"{label}-{n}" for n in range(nodes)]
    names_of_disks = [f"{label}-{n}" for n in range(disks)]
    for disk in names_of_disks:
        apply(*made_nodes.network_disk(disk, label, str(folder / disk)))
    for node in names_of_nodes:
        made_nodes.make_node(node, label)
    tolerations = (made_nodes.TOLERATION,)
    try:
        yield {"node_selector": {label: "yes"}, "storage_class": label, "tolerations": tolerations}
    finally:
        kubectl("delete", "node", *names_of_nodes, "--ignore-not-found")
        kubectl("label", "nodes", "-l", f"{label},!type", f"{label}-")
        kubectl("delete", "pv", *names_of_disks, "--wait=false")
        kubectl("delete", "storageclass", label)


def pods(town: Town, letter: str) -> list[dict[str, Any]]:
    """The pods of an order."""
    found = town.objects("pods")
    return [p for p in found if p["metadata"]["name"].startswith(f"{town.name(letter)}-")]


def placed(town: Town, letter: str) -> str:
    """The node of an order's only pod; "" while it has none."""
    found = pods(town, letter)
    return str(found[0]["spec"].get("nodeName", "")) if len(found) == 1 else ""


@dataclass(frozen=True)
class Lost:
    """What was seen, by letter of the orders on the lost nodes.

    `early`: Jobs while the nodes were silent and another one was there; `waiting`: orders in the
    queue at that time; `runs`, `failures`: Jobs and counts at the end; `most`: pods that had not
    ended at one time.
    """

    early: dict[str, int]
    waiting: int
    runs: dict[str, int]
    failures: dict[str, dict[str, int]]
    most: dict[str, int]


def lose_two_nodes(url: str, folder: Path) -> Lost:
    """Tell the story in a namespace of its own; every order has completed at the return."""
    with ExitStack() as stack:
        space = stack.enter_context(namespace())
        made = stack.enter_context(jobs_made(space, folder))
        seen = stack.enter_context(pods_seen(space, folder))
        label = f"lost-{space}"
        where = stack.enter_context(made_world(label, folder, nodes=2, disks=3))
        town = Town(url, space, made)
        stack.enter_context(town.dispatcher(TWO_SLOTS, **where))
        nodes = [_begin_on_its_node(town, letter) for letter in LETTERS]
        town.push("c")
        town.until(lambda: all(_works(town, one) for one in LETTERS), "both work")
        for node in nodes:
            made_nodes.fall_silent(node)
        known = now_and_then(lambda: all(map(_unreachable, nodes)))
        town.until(known, "the cluster knows")
        _give_another_node(label)
        early, waiting = {one: town.runs_made(one) for one in LETTERS}, town.left()
        kubectl("delete", "node", nodes[0])
        made_nodes.give_up(nodes[1])
        for letter in (*LETTERS, "c"):
            town.until_status(letter, "completed", LIMIT)
        return Lost(
            early,
            waiting,
            {one: town.runs_made(one) for one in LETTERS},
            {one: json.loads(_marks(town, one)[names.FAILURES]) for one in LETTERS},
            {one: made_nodes.most_alive(seen(), f"{town.name(one)}-") for one in LETTERS},
        )


@dataclass(frozen=True)
class Preempted:
    """What was seen at the end of an order that had to make room."""

    runs: int
    failures: dict[str, int]


def lose_to_another(url: str, folder: Path) -> Preempted:
    """Tell the story of a pod that is more important; the order has completed at the return."""
    with ExitStack() as stack:
        space = stack.enter_context(namespace())
        made = stack.enter_context(jobs_made(space, folder))
        label = f"full-{space}"
        where = stack.enter_context(made_world(label, folder, nodes=1, disks=1))
        town = Town(url, space, made)
        stack.enter_context(town.dispatcher(TWO_SLOTS, **where))
        node = _begin_on_its_node(town, "a")
        town.until(lambda: _works(town, "a"), "it works")
        [pod] = pods(town, "a")
        apply(*made_nodes.important(space, label))
        stack.callback(kubectl, "delete", "priorityclass", label)
        told = now_and_then(lambda: _is_told_to_stop(town, pod))
        town.until(told, "it is told to make room")
        made_nodes.stop(space, pod["metadata"]["name"])
        town.until(now_and_then(lambda: town.runs_made("a") == 2), "the next run is there")
        _give_another_node(label)
        kubectl("delete", "node", node)
        town.until_status("a", "completed", LIMIT)
        failures = json.loads(_marks(town, "a")[names.FAILURES])
        return Preempted(town.runs_made("a"), failures)


def _is_told_to_stop(town: Town, pod: dict[str, Any]) -> bool:
    found = [p for p in pods(town, "a") if p["metadata"]["uid"] == pod["metadata"]["uid"]]
    return any("deletionTimestamp" in p["metadata"] for p in found)


def _give_another_node(label: str) -> None:
    """Let the machine's own node be one of those that runs may go to."""
    kubectl("label", "nodes", "-l", "!type", f"{label}=yes")


def _begin_on_its_node(town: Town, letter: str) -> str:
    """Push an order, let its pod work on the node that has room; return the node's name."""
    town.push(letter)
    town.until(now_and_then(lambda: placed(town, letter)), f"{letter} has its node")
    made_nodes.begin(town.space, pods(town, letter)[0]["metadata"]["name"])
    return placed(town, letter)


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
