"""Every death of a run on the real cluster: verdict, words, retry, row, failure event.

Real containers end by every code of the table, by the kernel, by the kubelet, by other hands; the
closing run is the product's own. All orders go side by side, for most of the time is waiting.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from contract import names
from dispatcher.executors.kubernetes.settings import Resources
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town
from tests.dispatcher.kubernetes_executor.growth import GROWING, Grown, grow, growing_class
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.lost_nodes import (
    Lost,
    Preempted,
    lose_to_another,
    lose_two_nodes,
)
from tests.dispatcher.kubernetes_executor.made_nodes import most_alive
from tests.dispatcher.kubernetes_executor.namespaces import (
    apply,
    kubectl,
    namespace,
    need_cluster,
    now_and_then,
    tried,
)
from tests.dispatcher.kubernetes_executor.outside import COMMAND, SECRET, Outside, outside
from tests.dispatcher.kubernetes_executor.stories import Story
from tests.services import until

pytestmark = pytest.mark.cluster

LIMIT = 240.0
ONCE = replace(
    LIMITS, max_active=6, temporary=(0.2,), webhook=(0.2,), crash=(0.2,), stopped=1, pending=120
)
"""Every cause is tried again once; a time in a test is not worth waiting for."""
SMALL = Resources("20m", "64Mi", "", "192Mi")
"""The closing run's own program needs less; what is to die of it takes more."""


@dataclass(frozen=True)
class Death:
    """How an order's runs die, and what must follow.

    `runs`: Jobs in all, with the closing run. `row`: its status at the end, from "running", or from
    "completed" where the run itself had set it. `says`: what summary, row and event have in them.
    """

    script: Any
    category: str
    runs: int
    says: str
    advice: str = ""
    row: str = "failed"
    status: str = "failed"
    failures: dict[str, int] = field(default_factory=dict)


def ends_with(code: int, category: str) -> list[list[Any]]:
    """A script that ends by that code with last words."""
    return [["exit", code, category]]


def works(times: int) -> dict[str, list[list[Any]]]:
    """A script of runs that work until they are told to stop, then of one that succeeds."""
    return {str(n): [["say", f"ready {n}"], ["until stopped", "told"]] for n in range(1, times + 1)}


def said(code: int) -> str:
    """What the script's last words are."""
    return f"The script said {code}."


BY_CODE = {
    "exit0": Death(ends_with(0, ""), "done", 1, "Every step", row="running", status="completed"),
    "exit64": Death(ends_with(64, "bad_input"), "bad_input", 2, said(64)),
    "exit65": Death(ends_with(65, "auth_expired"), "auth_expired", 2, said(65)),
    "exit66": Death(ends_with(66, "not_entitled"), "not_entitled", 2, said(66)),
    "exit67": Death(ends_with(67, "blocked_by_platform"), "blocked_by_platform", 2, said(67)),
    "exit70": Death(ends_with(70, "bug"), "bug", 3, said(70), failures={"bug": 2}),
    "exit73": Death(ends_with(73, "volume_full"), "volume_full", 2, said(73)),
    "exit75": Death(
        ends_with(75, "temporary"), "temporary", 3, said(75), failures={"temporary": 2}
    ),
    "exit76": Death(
        ends_with(76, "webhook_not_delivered"), "webhook_not_delivered", 2, said(76),
        row="completed", failures={"webhook_not_delivered": 2},
    ),
    "exit143": Death(ends_with(143, "stopped"), "stopped", 3, said(143), failures={"stopped": 2}),
}  # fmt: skip
SILENT = {
    "poison": Death(
        [["exit silently", 1]], "crashed", 3, "died without a word (exit code 1)",
        failures={"crashed": 2},
    ),
    "memory": Death(
        [["eat", 600]], "crashed", 3, "died without a word (OOMKilled, exit code 137)",
        "more memory", failures={"crashed": 2},
    ),
    "room": Death(
        {"1": [["fill", "/tmp/x", 32], ["until stopped", "told"]]},
        "done", 2, "Every step", row="running", status="completed", failures={"crashed": 1},
    ),
}  # fmt: skip
BY_HAND = {
    "drained": Death(
        works(2), "disrupted", 3, "The cluster took the run away", "JOB_PRIORITY_CLASS",
        failures={"disrupted": 2},
    ),
    "deadline": Death(
        works(2), "deadline", 3, "longer than RUN_DEADLINE", "RUN_DEADLINE",
        failures={"deadline": 2},
    ),
    "deleted": Death(
        works(1), "done", 2, "Every step", row="running", status="completed",
        failures={"stopped": 1},
    ),
    "removed": Death(
        {"1": works(1)["1"]}, "removed", 4, "was removed before it ended, 2 times", "who removes",
        failures={"removed": 3},
    ),
}  # fmt: skip
REFUSED = {
    "refused": Death(
        ends_with(75, "temporary"), "refused", 2, "Not on a Sunday.", failures={"temporary": 1}
    ),
    "barred": Death(
        ends_with(75, "temporary"), "refused", 1, "Not on a Sunday.",
        row="running", failures={"temporary": 1},
    ),
}  # fmt: skip
DEATHS = SILENT | BY_HAND | REFUSED | BY_CODE
"""The slow ones first."""


@dataclass
class Deaths:
    """A town in which all of it happens, and what is seen from outside."""

    town: Town
    outside: Outside
    hands: dict[str, Future[None]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def task(self, letter: str) -> str:
        """The task's id."""
        return f"{self.town.key}-{letter}"

    def push(self, letter: str) -> None:
        """The backend's row, then its order."""
        death = DEATHS[letter]
        self.outside.add_row(self.task(letter), "completed" if letter == "exit76" else "running")
        self.town.push(letter, death.script)

    def marks(self, letter: str) -> Mapping[str, str]:
        """The record on an order's claim."""
        holding = self.town.holding(letter)
        return holding.volume.marks if holding and holding.volume else {}

    def await_run(self, letter: str, number: int, made: int) -> str:
        """Wait until run `number`, the Job `made` of all, can be told to stop; its pod's name."""
        self.town.until(
            now_and_then(lambda: self.over.is_set() or self._works(letter, number, made)),
            f"run {number} of {letter} works",
            LIMIT,
        )
        selector = f"batch.kubernetes.io/job-name={self.town.name(letter)}"
        order = "--sort-by=.metadata.creationTimestamp"
        found = kubectl("get", "pods", "-n", self.town.space, "-l", selector, order, "-o", "name")
        return found.split()[-1].removeprefix("pod/")

    def _works(self, letter: str, number: int, made: int) -> bool:
        holding, executor = self.town.holding(letter), self.town.executor
        run = holding.run if holding else None
        if run is None or not run.working or run.deleting or executor is None:
            return False
        if run.attempt != number or self.town.runs_made(letter) != made:
            return False
        return f"ready {number}" in executor.logs(self.town.name(letter))

    # --- the hands --------------------------------------------------------------------------------
    def drain(self) -> None:
        """Evict two runs, one after the other, as a drain does."""
        for number in (1, 2):
            pod = self.await_run("drained", number, number)
            meta = {"name": pod, "namespace": self.town.space}
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
            path = f"/api/v1/namespaces/{self.town.space}/pods/{pod}/eviction"
            kubectl("create", "--raw", path, "-f", "-", given=body)

    def exceed(self) -> None:
        """Let two runs reach their deadline: it is set to one second while they work."""
        for number in (1, 2):
            self.await_run("deadline", number, number)
            words = ("--type=merge", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
            kubectl("patch", "job", self.town.name("deadline"), "-n", self.town.space, *words)

    def delete(self) -> None:
        """Delete a run's pod by hand."""
        kubectl("delete", "pod", self.await_run("deleted", 1, 1), "-n", self.town.space)

    def remove(self) -> None:
        """Delete a Job by hand, as often as it comes back."""
        for made in (1, 2, 3):
            self.await_run("removed", 1, made)
            kubectl("delete", "job", self.town.name("removed"), "-n", self.town.space)

    def let_hands_work(self, pool: ThreadPoolExecutor) -> None:
        """Begin all of it."""
        deeds: dict[str, Callable[[], None]] = {
            "drained": self.drain,
            "deadline": self.exceed,
            "deleted": self.delete,
            "removed": self.remove,
        }
        self.hands = {letter: pool.submit(deed) for letter, deed in deeds.items()}


@dataclass(frozen=True)
class Elsewhere:
    """What goes on beside the town."""

    lost: Future[Lost]
    preempted: Future[Preempted]
    grown: dict[str, Future[Grown]]


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A namespace for this module, on a cluster that has the product's images."""
    need_cluster()
    cluster.load_images()
    with namespace() as name:
        yield name


@pytest.fixture(scope="module")
def deaths(
    redis7: str, postgres: str, space: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deaths]:
    """All orders, under way."""
    with ExitStack() as stack:
        made = stack.enter_context(jobs_made(space, tmp_path_factory.mktemp("watch")))
        town = Town(redis7, space, made)
        found = Deaths(town, stack.enter_context(outside(postgres, space)))
        refuse_retries(stack, town)
        pool = stack.enter_context(ThreadPoolExecutor(len(BY_HAND)))
        stack.callback(found.over.set)
        program = {"image": cluster.JOB_IMAGE, "command": COMMAND, "secret": SECRET}
        room = {"resources": SMALL, "tmp_size": "8Mi"}
        stack.enter_context(town.dispatcher(ONCE, **program, **room))
        for letter in DEATHS:
            found.push(letter)
        found.let_hands_work(pool)
        yield found


@pytest.fixture(scope="module")
def elsewhere(
    redis7: str, space: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elsewhere]:
    """Stories that have dispatchers of their own, under way."""
    growing, folder = f"growing-{space}", tmp_path_factory.mktemp("elsewhere")
    with ExitStack() as stack:
        made = stack.enter_context(jobs_made(space, folder))
        stack.enter_context(growing_class(growing))
        pool = stack.enter_context(ThreadPoolExecutor(4))
        lost = pool.submit(lose_two_nodes, redis7, folder)
        preempted = pool.submit(lose_to_another, redis7, folder)
        stories = {point: Story(redis7, space, folder, point, made) for point in GROWING}
        grown = {point: pool.submit(grow, story, growing) for point, story in stories.items()}
        yield Elsewhere(lost, preempted, grown)


def refuse_retries(stack: ExitStack, town: Town) -> None:
    """A policy that admits every first run and refuses some that follow; in force at the return.

    "refused": its second run alone; "barred": everything after its first.
    """
    name, kind = f"sunday-{town.space}", "ValidatingAdmissionPolicy"
    number = f"object.metadata.annotations['{names.ATTEMPT}']"
    ends = "object.metadata.name.endsWith"
    allowed = f"!({ends}('-refused') && {number} == '2') && !({ends}('-barred') && {number} != '1')"
    rule = {
        "apiGroups": ["batch"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["jobs"],
    }
    match = {"matchLabels": {"kubernetes.io/metadata.name": town.space}}
    constraints = {"resourceRules": [rule], "namespaceSelector": match}
    validation = {"expression": allowed, "message": "Not on a Sunday."}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [validation]}
    bound = {"policyName": name, "validationActions": ["Deny"]}
    apply({**head, "kind": kind, "spec": spec}, {**head, "kind": f"{kind}Binding", "spec": bound})
    stack.callback(kubectl, "delete", f"{kind},{kind}Binding", name)
    heard = now_and_then(lambda: "Not on a Sunday." in _trial(town.space))
    until(heard, "the policy is in force", LIMIT)


def _trial(space: str) -> str:
    """What the server says to a Job that the policy refuses; nothing is made."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}
    meta = {"name": "x-barred", "namespace": space, "annotations": {names.ATTEMPT: "2"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta}
    trial = {**job, "spec": {"template": {"spec": pod}}}
    return tried("create", "--dry-run=server", "-f", "-", given=trial).stderr


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("letter", DEATHS)
def test_a_death_has_its_verdict_its_retry_its_row_and_its_event(
    deaths: Deaths, letter: str
) -> None:
    """As the table says; and the volume is kept as its verdict wants."""
    town, death = deaths.town, DEATHS[letter]
    if letter in deaths.hands:
        deaths.hands[letter].result(LIMIT)
    town.until_status(letter, death.status, LIMIT)
    town.until(lambda: names.EXPIRES_AT in deaths.marks(letter), "the volume says so too")
    marks = deaths.marks(letter)
    outcome = json.loads(marks[names.OUTCOME])

    assert (outcome["category"], town.fields(letter)["category"]) == (death.category,) * 2
    assert death.says in outcome["summary"]
    assert death.advice in outcome["advice"]
    assert town.runs_made(letter) == death.runs
    assert json.loads(marks.get(names.FAILURES, "{}")) == death.failures
    assert (names.EXPIRES_AT in marks, names.RETRY_AT in marks) == (True, False)

    status, error = deaths.outside.row(deaths.task(letter))
    events = deaths.outside.events(deaths.task(letter))
    assert status == death.row
    if death.row == "failed":
        assert death.says in error
        assert [event["status"] for event in events] == ["failed"]
        assert death.says in events[0]["error"]
    else:
        assert events == []


def test_what_cannot_be_passed_on_is_said(deaths: Deaths) -> None:
    """The closing run of what is barred is refused too, and the task's own words say so."""
    deaths.town.until_status("barred", "failed", LIMIT)
    summary = json.loads(deaths.marks("barred")[names.OUTCOME])["summary"]
    assert summary.count("Not on a Sunday.") == 1
    assert summary.endswith("That could not be passed on, for the same reason.")


def test_no_slot_is_lost_by_any_death(deaths: Deaths) -> None:
    """When all is over, nothing runs, nothing is queued or claimed."""
    town = deaths.town
    for letter, death in DEATHS.items():
        town.until_status(letter, death.status, LIMIT)
    assert town.left() == 0
    assert town.executor is not None
    runs = [held.run for held in town.executor.holdings().values() if held.run]
    assert [run for run in runs if run.phase.value == "active"] == []


@pytest.mark.parametrize("point", GROWING)
def test_a_full_volume_is_doubled_once_wherever_the_dispatcher_died(
    elsewhere: Elsewhere, point: str
) -> None:
    """The storage had grown it meanwhile: the next dispatcher asks for no more than that."""
    grown = elsewhere.grown[point].result(LIMIT)
    assert (grown.asked, grown.status, grown.runs) == (2 << 20, "completed", 2)
    assert grown.failures == {"volume_full": 1}


def test_runs_on_lost_nodes_go_on_elsewhere_never_two_at_once(elsewhere: Elsewhere) -> None:
    """A silent node's run keeps its slot and is not doubled; once its Node is deleted, or declared
    out of service, it goes on elsewhere, for free and counted.
    """
    lost = elsewhere.lost.result(LIMIT)
    assert lost.early == {"a": 1, "b": 1}
    assert lost.waiting == 1, "both slots are held by runs that may still write"
    assert lost.runs == {"a": 2, "b": 2}
    assert lost.failures == {"a": {"disrupted": 1}, "b": {"disrupted": 1}}
    assert lost.most == {"a": 1, "b": 1}


def test_a_run_that_makes_room_for_a_more_important_pod_goes_on_elsewhere(
    elsewhere: Elsewhere,
) -> None:
    """The scheduler's preemption is a disruption like any other: free, and counted."""
    preempted = elsewhere.preempted.result(LIMIT)
    assert (preempted.runs, preempted.failures) == (2, {"disrupted": 1})


def test_the_watch_of_pods_would_see_two_at_once() -> None:
    """Two pods that have not ended count as two; one that has ended, or is gone, does not."""

    def event(kind: str, name: str, phase: str) -> str:
        pod = {"metadata": {"name": name}, "status": {"phase": phase}}
        return json.dumps({"type": kind, "object": pod}, indent=4) + "\n"

    first, second = event("ADDED", "a-1", "Running"), event("ADDED", "a-2", "Pending")
    ended, gone = event("MODIFIED", "a-1", "Failed"), event("DELETED", "a-1", "Running")
    assert most_alive(first + second, "a-") == 2
    assert most_alive(first + ended + second, "a-") == 1
    assert most_alive(first + gone + second + '{"type": "ADD', "a-") == 1
    assert most_alive(first + second, "b-") == 0
