"""The executor's verbs against a small API server: requests, races and refusals, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import names
from contract.errors import Misconfigured
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors import Busy, Ending, Phase, QuotaExceeded, Refused, Run, Unavailable
from dispatcher.executors.kubernetes import manifests
from dispatcher.executors.kubernetes.answers import Conflict
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.executors.kubernetes.settings import KubernetesSettings
from dispatcher.executors.kubernetes.watch import Pace
from tests.dispatcher.kubernetes_executor.api_server import (
    NAMESPACE,
    ApiServer,
    Exchange,
    Mute,
    page,
    refuse,
)

TASK = Task(999, "https://portal.invalid/course/any/")
NAME = "course-999"
CLAIMS = "persistentvolumeclaims"
QUICK = Pace(least=0.05, most=0.2, worry=0.6, start=0.7)
QUOTA = f'{CLAIMS} "{NAME}" is forbidden: exceeded quota: small'
NO_RIGHT = 'jobs.batch is forbidden: User "dispatcher" cannot create resource "jobs"'


def settings(api: ApiServer, folder: Path) -> KubernetesSettings:
    """Settings for the server."""
    return KubernetesSettings(image="i", namespace=NAMESPACE, kubeconfig=api.kubeconfig(folder))


@pytest.fixture
def made(api: ApiServer, tmp_path: Path) -> Iterator[KubernetesExecutor]:
    """An executor that is not started."""
    executor = KubernetesExecutor(settings(api, tmp_path), {}, pace=QUICK)
    yield executor
    executor.close()


@pytest.fixture
def blind(api: ApiServer, made: KubernetesExecutor) -> Iterator[KubernetesExecutor]:
    """A started executor whose watches bring nothing: it knows but its first lists."""
    mutes = [Mute(), Mute()]
    for mute in mutes:
        api.wrong("watch", mute)
    made.start()
    assert all(mute.begun.wait(10) for mute in mutes)
    api.requests.clear()
    yield made
    for mute in mutes:
        mute.over.set()


@pytest.fixture
def seeing(api: ApiServer, made: KubernetesExecutor) -> KubernetesExecutor:
    """A started executor."""
    made.start()
    return made


def verbs(api: ApiServer) -> list[tuple[str, str]]:
    """What was asked for, but for the watches' own."""
    return [(r.verb, r.resource) for r in api.requests if r.verb != "watch"]


def put_job(api: ApiServer, attempt: int = 1, end: str = "", **metadata: Any) -> dict[str, Any]:
    """Have a Job of the task there, ended by that condition."""
    body = manifests.job(Assignment(TASK, attempt), KubernetesSettings(image="i"), {})
    body["metadata"] |= metadata
    body["status"] = {"conditions": [{"type": end, "status": "True"}] if end else []}
    return api.put("jobs", body)


def put_claim(api: ApiServer, task: Task = TASK, **metadata: Any) -> dict[str, Any]:
    """Have a claim of the task's name there."""
    body = manifests.claim(task, KubernetesSettings(image="i"))
    body["metadata"] |= {"name": NAME, **metadata}
    return api.put(CLAIMS, body)


def put_pod(api: ApiServer, name: str, phase: str, **spec: str) -> dict[str, Any]:
    """Have a pod of the task's Job there."""
    labels = {"batch.kubernetes.io/job-name": NAME}
    body = {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": phase}}
    return api.put("pods", body)


def shown(executor: KubernetesExecutor) -> Run:
    """The task's run as the executor shows it."""
    run = executor.holdings()[NAME].run
    assert run is not None
    return run


# --- start ----------------------------------------------------------------------------------------
def test_starting_tries_the_manifests_out(api: ApiServer, seeing: KubernetesExecutor) -> None:
    """The server judges a claim and a Job strictly, and nothing is made."""
    tried = api.seen("create")
    assert [request.resource for request in tried] == [CLAIMS, "jobs"]
    for request in tried:
        assert request.query == {"dryRun": "All", "fieldValidation": "Strict"}
    assert dict(seeing.holdings()) == {}
    assert seeing.trouble() == ""


@pytest.mark.parametrize("resource", [CLAIMS, "jobs"])
def test_settings_that_are_refused_stop_the_start(
    api: ApiServer, made: KubernetesExecutor, resource: str
) -> None:
    """What no order could pass is told before the first order, in the server's words."""
    api.wrong("create", refuse(422, "Invalid", "spec.x is wrong"), resource)
    with pytest.raises(Misconfigured, match=r"spec\.x is wrong"):
        made.start()


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        (refuse(403, "Forbidden", QUOTA), None),
        (refuse(409, "AlreadyExists", "it is there"), None),
        (refuse(400, "BadRequest", 'webhook "x" does not support dry run'), None),
        (refuse(403, "Forbidden", NO_RIGHT), Unavailable),
        (refuse(500, "InternalError", "x"), Unavailable),
    ],
    ids=["quota", "there", "no dry run", "no right", "500"],
)
def test_other_answers_to_the_trial(
    api: ApiServer,
    made: KubernetesExecutor,
    deed: Callable[[Exchange], None],
    error: type[Exception] | None,
) -> None:
    """A full quota is no fault of the settings; missing rights are the cluster's to mend."""
    api.wrong("create", deed)
    if error is None:
        made.start()
    else:
        with pytest.raises(error):
            made.start()
    made.start()


def test_a_start_that_found_nobody_can_go_on(api: ApiServer, made: KubernetesExecutor) -> None:
    """`start` says what is wrong after a while; called again, it goes on waiting."""
    api.wrong("list", page(503, "<html>not yet</html>"), times=1000)
    with pytest.raises(Unavailable, match="not yet"):
        made.start()
    assert "not yet" in made.trouble()
    api.right_again()
    api.until(lambda: len(api.seen("watch")) == 2, "both lists came")
    made.start()
    assert made.trouble() == ""


def test_no_kubeconfig_is_told_at_once(tmp_path: Path) -> None:
    """What waiting cannot mend is not waited for."""
    executor = KubernetesExecutor(KubernetesSettings("i", kubeconfig=str(tmp_path / "none")), {})
    with pytest.raises(Misconfigured):
        executor.start()


# --- the way of an order --------------------------------------------------------------------------
def test_an_order_costs_two_requests(api: ApiServer, blind: KubernetesExecutor) -> None:
    """A new task is one claim and one Job, nothing is asked besides, and both show at once."""
    assert blind.ensure_volume(TASK) is True
    assert blind.start_run(Assignment(TASK, 1)) is True
    assert verbs(api) == [("create", CLAIMS), ("create", "jobs")]
    holding = blind.holdings()[NAME]
    assert holding.volume is not None
    assert holding.volume.marks[names.MESSAGE] == TASK.dump()
    assert holding.run is not None
    assert (holding.run.attempt, holding.run.phase) == (1, Phase.ACTIVE)


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        (refuse(403, "Forbidden", QUOTA), QuotaExceeded),
        (refuse(403, "Forbidden", f'{CLAIMS} "{NAME}" is forbidden: not on a Sunday'), Refused),
        (refuse(403, "Forbidden", NO_RIGHT), Unavailable),
        (page(502, "<html>"), Unavailable),
    ],
    ids=["quota", "admission", "rights", "502"],
)
def test_what_the_server_says_of_an_order(
    api: ApiServer,
    blind: KubernetesExecutor,
    deed: Callable[[Exchange], None],
    error: type[Exception],
) -> None:
    """Both creations tell a quota, a refusal and a server's trouble apart; nothing shows."""
    api.wrong("create", deed)
    with pytest.raises(error):
        blind.ensure_volume(TASK)
    assert dict(blind.holdings()) == {}
    blind.ensure_volume(TASK)
    api.wrong("create", deed)
    with pytest.raises(error):
        blind.start_run(Assignment(TASK, 1))
    assert blind.holdings()[NAME].run is None


# --- volumes --------------------------------------------------------------------------------------
def test_a_volume_that_is_there_already_is_ours(api: ApiServer, blind: KubernetesExecutor) -> None:
    """A claim with the same task's message counts, also one the watch has not brought yet."""
    put_claim(api, Task(999, "https://portal.invalid/course/another/"))
    assert blind.ensure_volume(TASK) is False
    assert blind.holdings()[NAME].volume is not None


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"finalizers": ["x"], "deletionTimestamp": "2026-01-12T17:00:00Z"}, Busy),
        ({"annotations": {}}, Refused),
        ({"annotations": {names.MESSAGE: "no message"}}, Refused),
        ({"annotations": {names.MESSAGE: Task(1, TASK.course_url).dump()}}, Refused),
        ({"labels": {names.LABEL_INSTANCE: "another"}}, Refused),
        ({"labels": None}, Refused),
    ],
    ids=["going", "no record", "strange", "another task", "another instance", "no labels"],
)
def test_a_volume_that_is_not_ours_is_told_apart(
    api: ApiServer, blind: KubernetesExecutor, metadata: dict[str, Any], error: type[Exception]
) -> None:
    """A claim that is going, or that somebody else has, is never taken for the task's."""
    put_claim(api, **metadata)
    with pytest.raises(error, match=NAME):
        blind.ensure_volume(TASK)
    with pytest.raises(error, match=NAME):
        blind.start_run(Assignment(TASK, 1))
    assert api.get("jobs", NAME) is None


def test_marks_show_at_once_and_are_merged(api: ApiServer, blind: KubernetesExecutor) -> None:
    """One request merges marks into the record; None removes one."""
    blind.ensure_volume(TASK)
    blind.mark(NAME, {names.PINNED: "yes", names.RETRY_AT: "1"})
    blind.mark(NAME, {names.PINNED: None})
    volume = blind.holdings()[NAME].volume
    assert volume is not None
    assert volume.marks == {
        names.MESSAGE: TASK.dump(),
        names.ATTEMPT: "1",
        names.RETRY_AT: "1",
    }
    assert len(api.seen("patch")) == 2


def test_marks_on_a_volume_that_has_gone_make_it_go_here_too(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """A claim that somebody removed is ignored, and is no longer shown."""
    blind.ensure_volume(TASK)
    api.remove(CLAIMS, NAME)
    blind.mark(NAME, {names.PINNED: "yes"})
    blind.mark("course-never-was", {names.PINNED: "yes"})
    assert dict(blind.holdings()) == {}


def test_a_volume_is_removed_after_its_job_and_pods(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """A Job, then a pod in any phase, keep the claim; then it goes, by its uid."""
    uid = put_claim(api)["metadata"]["uid"]
    put_job(api, end="Complete")
    put_pod(api, "p", "Succeeded")
    with pytest.raises(Busy, match="Job"):
        blind.remove_volume(NAME, uid)
    api.remove("jobs", NAME)
    with pytest.raises(Busy, match="Pods"):
        blind.remove_volume(NAME, uid)
    api.remove("pods", "p")
    blind.remove_volume(NAME, uid)
    assert api.get(CLAIMS, NAME) is None
    [request] = api.seen("delete")
    assert request.body["preconditions"] == {"uid": uid}
    blind.remove_volume(NAME, uid)


def test_a_volume_that_lingers_shows_as_deleting(api: ApiServer, blind: KubernetesExecutor) -> None:
    """While a finalizer holds the claim it is shown as going; nothing touches the finalizer."""
    uid = put_claim(api, finalizers=["kubernetes.io/pvc-protection"])["metadata"]["uid"]
    blind.remove_volume(NAME, uid)
    volume = blind.holdings()[NAME].volume
    assert volume is not None
    assert volume.deleting
    left = api.get(CLAIMS, NAME)
    assert left is not None
    assert left["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    with pytest.raises(Busy):
        blind.start_run(Assignment(TASK, 2))


def test_another_volume_of_that_name_stays(api: ApiServer, blind: KubernetesExecutor) -> None:
    """An id of an earlier claim removes nothing, and that is no error."""
    put_claim(api)
    blind.remove_volume(NAME, "an-earlier-one")
    assert api.get(CLAIMS, NAME) is not None


def test_a_volume_goes_only_as_it_was_seen(api: ApiServer, blind: KubernetesExecutor) -> None:
    """Its version goes with the removal; a claim that was marked since is `Busy`, and stays."""
    claim = put_claim(api)
    uid, version = claim["metadata"]["uid"], claim["metadata"]["resourceVersion"]
    blind.mark(NAME, {names.PINNED: "yes"})
    with pytest.raises(Busy, match="changed since it was looked at"):
        blind.remove_volume(NAME, uid, version)
    volume = blind.holdings()[NAME].volume
    assert volume is not None
    assert api.get(CLAIMS, NAME) is not None
    blind.remove_volume(NAME, uid, volume.version)
    assert api.get(CLAIMS, NAME) is None
    wanted = {"uid": uid, "resourceVersion": volume.version}
    assert api.seen("delete")[-1].body["preconditions"] == wanted


def test_a_conflict_that_is_none_of_identity_is_told(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """When the server refuses to remove the very object, nothing is pretended."""
    uid = put_claim(api)["metadata"]["uid"]
    api.wrong("delete", refuse(409, "Conflict", "please apply your changes to the latest version"))
    with pytest.raises(Conflict):
        blind.remove_volume(NAME, uid)


# --- runs -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("end", ["", "Complete", "Failed"])
def test_a_run_of_the_same_attempt_is_enough(
    api: ApiServer, blind: KubernetesExecutor, end: str
) -> None:
    """Whoever made it, and whether it has ended: it is there, and shows at once."""
    put_claim(api)
    put_job(api, 2, end)
    assert blind.start_run(Assignment(TASK, 2)) is False
    assert shown(blind).attempt == 2
    assert api.seen("delete") == []


def test_a_later_run_is_never_replaced(api: ApiServer, blind: KubernetesExecutor) -> None:
    """A dispatcher that lags behind does not undo what another one did since."""
    put_claim(api)
    put_job(api, 3, "Failed")
    assert blind.start_run(Assignment(TASK, 2)) is False
    assert blind.start_run(Assignment(TASK, 2, report="{}")) is False
    assert api.seen("delete") == []


def test_an_ended_run_makes_room(api: ApiServer, blind: KubernetesExecutor) -> None:
    """The Job of an earlier attempt that has ended is replaced, by its uid, in one go."""
    put_claim(api)
    old = put_job(api, 1, "Failed")
    put_pod(api, "p", "Failed")
    assert blind.start_run(Assignment(TASK, 2)) is True
    [request] = api.seen("delete")
    assert request.body["preconditions"] == {"uid": old["metadata"]["uid"]}
    assert request.body["propagationPolicy"] == "Background"
    run = shown(blind)
    assert run.attempt == 2
    assert run.id != old["metadata"]["uid"]


def test_a_closing_run_follows_a_run_of_the_same_number(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """An ordinary run and a closing run are two runs, in this order."""
    put_claim(api)
    put_job(api, 2, "Failed")
    assert blind.start_run(Assignment(TASK, 2, report="{}")) is True
    assert shown(blind).closing
    assert blind.start_run(Assignment(TASK, 2, report="{}")) is False
    assert blind.start_run(Assignment(TASK, 2)) is False


def test_an_active_run_is_in_the_way(api: ApiServer, blind: KubernetesExecutor) -> None:
    """An earlier run at work is left alone."""
    put_claim(api)
    put_job(api, 1, "FailureTarget")
    with pytest.raises(Busy, match="at work"):
        blind.start_run(Assignment(TASK, 2))
    assert api.seen("delete") == []


def test_a_job_that_is_going_away_is_waited_for_a_little(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """If it goes within two seconds the new run begins; if not, the caller asks again."""
    put_claim(api)
    put_job(api, 1, "Failed", finalizers=["foregroundDeletion"])
    with pytest.raises(Busy, match="still going away"):
        blind.start_run(Assignment(TASK, 2))

    def gone(exchange: Exchange) -> None:
        api.serve(exchange)
        api.remove("jobs", NAME)

    api.wrong("get", gone, "jobs")
    assert blind.start_run(Assignment(TASK, 2)) is True


def test_a_pod_that_outlives_its_job_is_in_the_way(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """A second writer never begins beside a pod that is still stopping; its node is named."""
    put_claim(api)
    put_pod(api, "p", "Running", nodeName="node-7")
    with pytest.raises(Busy, match="node-7") as caught:
        blind.start_run(Assignment(TASK, 2))
    assert "out-of-service" in caught.value.advice
    put_pod(api, "p", "Failed")
    assert blind.start_run(Assignment(TASK, 2)) is True


def test_a_second_run_on_a_new_volume_is_looked_at_closely(
    api: ApiServer, blind: KubernetesExecutor
) -> None:
    """Only the very first run of a claim made here needs no look for pods."""
    blind.ensure_volume(TASK)
    blind.start_run(Assignment(TASK, 1))
    api.remove("jobs", NAME)
    put_pod(api, "p", "Running")
    with pytest.raises(Busy, match="stopping"):
        blind.start_run(Assignment(TASK, 1))


def test_a_run_without_a_volume_waits(api: ApiServer, blind: KubernetesExecutor) -> None:
    """No Job is made for a claim that is not there: its pod would wait for ever."""
    with pytest.raises(Busy):
        blind.start_run(Assignment(TASK, 1))
    assert api.seen("create") == []


@pytest.mark.parametrize(
    ("end", "policy"), [("", "Foreground"), ("Complete", "Background"), ("Failed", "Background")]
)
def test_an_active_run_keeps_its_name_until_it_has_stopped(
    api: ApiServer, seeing: KubernetesExecutor, end: str, policy: str
) -> None:
    """An active Job stays until its pods have stopped; an ended one may go at once."""
    uid = put_job(api, 1, end)["metadata"]["uid"]
    api.until(lambda: NAME in seeing.holdings(), "the Job shows")
    seeing.remove_run(NAME, uid)
    [request] = api.seen("delete")
    assert request.body["propagationPolicy"] == policy
    assert dict(seeing.holdings()) == {}
    seeing.remove_run(NAME, uid)


def test_a_run_that_lingers_shows_as_deleting(api: ApiServer, blind: KubernetesExecutor) -> None:
    """While its pods stop, a removed Job is still shown, marked."""
    uid = put_job(api, 1, finalizers=["foregroundDeletion"])["metadata"]["uid"]
    blind.remove_run(NAME, uid)
    assert shown(blind).deleting


def test_another_run_of_that_name_stays(api: ApiServer, blind: KubernetesExecutor) -> None:
    """An id of an earlier Job removes nothing, and that is no error."""
    put_job(api, 2)
    blind.remove_run(NAME, "an-earlier-one")
    assert api.get("jobs", NAME) is not None


def test_the_ending_is_that_of_the_very_run(api: ApiServer, blind: KubernetesExecutor) -> None:
    """Pods of that Job alone are asked; of a Job that is gone nothing is known."""
    job = put_job(api, 2, "Failed")
    uid = job["metadata"]["uid"]
    pod = put_pod(api, "p", "Failed")
    pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] = uid
    state = {"terminated": {"exitCode": 66, "finishedAt": "2026-01-12T17:00:00Z"}}
    pod["status"]["containerStatuses"] = [{"name": "job", "state": state}]
    api.put("pods", pod)
    other = put_pod(api, "z", "Failed")
    other["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] = "an-earlier-one"
    api.put("pods", other)
    assert blind.ending(NAME, Run(uid, 2, Phase.FAILED)) == Ending(66)
    assert blind.ending(NAME, Run("an-earlier-one", 1, Phase.FAILED)).reason == "Deleted"


# --- seeing ---------------------------------------------------------------------------------------
def test_what_others_do_is_seen_and_waited_for(api: ApiServer, seeing: KubernetesExecutor) -> None:
    """Objects of others with our labels show; those of another instance do not."""
    while seeing.wait(0.2):
        pass
    put_claim(api)
    assert seeing.wait(10) is True
    api.until(lambda: NAME in seeing.holdings(), "the claim shows")
    put_job(api, labels={names.LABEL_MANAGED_BY: names.PREFIX, names.LABEL_INSTANCE: "another"})
    put_claim(api, annotations={names.PINNED: "yes"})
    api.until(
        lambda: names.PINNED in (seeing.holdings()[NAME].volume.marks),  # type: ignore[union-attr]
        "the mark shows",
    )
    assert seeing.holdings()[NAME].run is None


def test_closing_ends_everything_at_once(api: ApiServer, seeing: KubernetesExecutor) -> None:
    """Waits end, threads end, and nothing is removed."""
    put_claim(api)
    seeing.close()
    assert seeing.wait(0) is True
    assert api.get(CLAIMS, NAME) is not None
