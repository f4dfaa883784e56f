"""The chart on the real cluster: installed, used, attacked, upgraded, rolled back, removed.

One release serves most tests, each with tasks of its own; removal has a release for itself. Network
policies are enforced while these run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from contract import names
from playground.portal import TOKEN
from playground.portal.accounts import ALL
from playground.receiver import Answer
from tests.cluster import cluster
from tests.deploy import probes
from tests.e2e.ground import cluster_with
from tests.e2e.kube import until
from tests.e2e.objects import secret
from tests.e2e.release import Release, gone, namespace, secrets, values
from tests.e2e.world import World, world_around

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def outside(
    redis7: str, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The cluster with all images and walls, and what is outside it."""
    cluster_with(cluster.load_images, cluster.load_redis, cluster.enforce_policies)
    with world_around(redis7, postgres, tmp_path_factory.mktemp("chart")) as made:
        yield made


@pytest.fixture(scope="module")
def release(outside: World) -> Iterator[Release]:
    """The release that most tests share, by Helm 4."""
    with namespace("chart") as kube:
        kube.apply(*secrets(outside))
        made = Release(outside, kube, "shop", cluster.helm())
        with made.installed(values(outside)):
            yield made


def test_an_installation_with_its_own_redis_does_an_order(release: Release) -> None:
    """`helm install`, an order, and everything is done: uploaded, recorded in the database,
    announced once, let go of.
    """
    release.order(201, "course-1")
    release.until_status(201, "completed")
    assert (release.world.remote / "courses" / "course-1" / "01 - Start").is_dir()
    assert release.world.backend.states(201) == ["queued", "running", "completed"]
    assert release.world.announced(201) == 1
    until(gone(release.kube, "pvc", f"{names.LABEL_TASK}=201"), "the claim is gone")
    assert release.world.portal.ledger.credentials_at_cdn == []


def test_helm_test_passes(release: Release) -> None:
    """The built-in order gets through, and leaves nothing."""
    said = release.helm("test", release.name)
    assert "trial: passed" in said
    ours = f"{names.LABEL_MANAGED_BY}={names.PREFIX},{names.LABEL_INSTANCE}!={release.name}"
    assert not release.kube.items("pvc,jobs", ours)


# --- rights ---------------------------------------------------------------------------------------
def _claim(name: str) -> dict[str, Any]:
    annotations = {names.MESSAGE: "{}", names.RELEASED: ""}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    metadata = {"name": name, "annotations": annotations, "labels": {"a": "b"}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": spec,
    }


def _metadata(**fields: Any) -> dict[str, Any]:
    return {"metadata": fields}


def test_a_run_may_set_one_annotation_of_its_own_claim_and_nothing_else(release: Release) -> None:
    """With a run's account and a run's pod name: each other request is refused, with its reason."""
    kube = release.kube
    kube.apply(_claim("course-77"), _claim("course-78"))
    core = f"/api/v1/namespaces/{kube.namespace}"
    mine, other = (f"{core}/persistentvolumeclaims/course-{n}" for n in (77, 78))
    released = _metadata(annotations={names.RELEASED: "now"})
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}
    size = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    requests = {
        "secrets": ("GET", f"{core}/secrets", None),
        "secret": ("GET", f"{core}/secrets/{release.stem}-job", None),
        "pods": ("GET", f"{core}/pods", None),
        "claims": ("GET", f"{core}/persistentvolumeclaims", None),
        "jobs": ("GET", f"/apis/batch/v1/namespaces/{kube.namespace}/jobs", None),
        "delete": ("DELETE", mine, None),
        "elsewhere": ("PATCH", mine.replace(kube.namespace, "default"), released),
        "another claim": ("PATCH", other, released),
        "another annotation": ("PATCH", mine, _metadata(annotations={names.PINNED: "true"})),
        "changed": ("PATCH", mine, _metadata(annotations={names.MESSAGE: "x"})),
        "removed": ("PATCH", mine, _metadata(annotations={names.MESSAGE: None})),
        "labels": ("PATCH", mine, _metadata(labels={"a": "c"})),
        "finalizers": ("PATCH", mine, _metadata(finalizers=["example.com/x"])),
        "owners": ("PATCH", mine, _metadata(ownerReferences=[owner])),
        "spec": ("PATCH", mine, size),
        "released": ("PATCH", mine, released),
    }
    labels = probes.run_labels(release.name, token=True)
    account = f"{release.stem}-job"
    name = "course-77-abcde"
    kube.apply(probes.pod(name, probes.ASK, labels, account, REQUESTS=json.dumps(requests)))
    answers = probes.found(kube, name)
    assert answers.pop("released") == [200, ""]
    # A claim's spec is refused by the API server itself, before any policy is asked.
    assert {what: code for what, (code, _) in answers.items() if code != 403} in ({}, {"spec": 422})
    for what, words in (
        ("another claim", "its own claim only"),
        ("another annotation", "no other annotation than course-runner/released"),
        ("changed", "no other annotation than course-runner/released"),
        ("removed", "may remove no annotation"),
        ("labels", "may not change its claim's labels"),
        ("finalizers", "may not change its claim's finalizers"),
        ("owners", "may not change its claim's owners"),
        ("elsewhere", "cannot patch"),
    ):
        assert words in answers[what][1], (what, answers[what])
    kube.run("delete", "pod,pvc", name, "course-77", "course-78", "--ignore-not-found")


# --- walls ----------------------------------------------------------------------------------------
def test_a_run_reaches_what_it_needs_and_nothing_else(release: Release) -> None:
    """CDN, webhook, DNS and Redis: yes. Another pod, the dispatcher: no. The API server: only with
    a token. A pod that is no run reaches all of it, so it is the policies that refuse.
    """
    kube, world = release.kube, release.world
    kube.apply(probes.pod("target", probes.LISTEN, {"a": "target"}))
    target = probes.address(kube, "target")
    _, api, cdn, webhook, _, database = world.ports
    host = cluster.host_address()
    places = {
        "platform": (host, api),
        "cdn": (host, cdn),
        "webhook": (host, webhook),
        "database": (host, database),
        "redis by name": (f"{release.stem}-redis.{kube.namespace}.svc", 6379),
        "another pod": (target, 8000),
        "dispatcher": (probes.address(kube, release.parts("dispatcher")[0]), 8080),
        "api server": ("kubernetes.default.svc", 443),
        "host": (host, int(_kubelet_port())),
    }
    who = {
        "with-token": probes.run_labels(release.name, token=True),
        "without-token": probes.run_labels(release.name, token=False),
        "no-run": {"a": "other"},
    }
    for name, labels in who.items():
        kube.apply(probes.pod(name, probes.REACH, labels, PLACES=json.dumps(places)))
    found = {name: probes.found(kube, name) for name in who}
    needed = ("platform", "cdn", "webhook", "database", "redis by name")
    for name in ("with-token", "without-token"):
        assert all(found[name][place] for place in needed), found
        assert not any(found[name][place] for place in ("another pod", "dispatcher", "host"))
    assert found["with-token"]["api server"]
    assert not found["without-token"]["api server"]
    assert found["no-run"]["another pod"] and found["no-run"]["api server"]
    assert not found["no-run"]["dispatcher"] and not found["no-run"]["redis by name"]
    kube.run("delete", "pod", "target", *who, "--wait=false")


def _kubelet_port() -> str:
    return "10250"


# --- life -----------------------------------------------------------------------------------------
def _state(release: Release, task: int) -> tuple[str, str, int]:
    """The task's one pod: its uid, its memory limit, its restarts."""
    [pod] = release.pods(task)
    [container] = pod["spec"]["containers"]
    restarts = sum(c["restartCount"] for c in pod["status"].get("containerStatuses", ()))
    return pod["metadata"]["uid"], container["resources"]["limits"]["memory"], restarts


def test_upgrade_and_rollback_leave_running_courses_alone(release: Release) -> None:
    """A course runs through both; a changed template is for new runs only."""
    world = release.world
    first, second = world.stall("course-2"), world.stall("course-3")
    release.order(202, "course-2")
    world.await_stall(first)
    before = _state(release, 202)

    release.install(values(world, job={"resources": {"limits": {"memory": "900Mi"}}}))
    release.order(203, "course-3")
    world.await_stall(second)
    assert _state(release, 202) == before
    assert _state(release, 203)[1] == "900Mi" != before[1]

    upgraded = _state(release, 203)
    release.helm("rollback", release.name, "--wait", "--timeout", "120s")
    assert (_state(release, 202), _state(release, 203)) == (before, upgraded)
    world.portal.release()
    for task in (202, 203):
        release.until_status(task, "completed")
        assert world.announced(task) == 1


def test_two_dispatchers_and_one_is_killed(release: Release) -> None:
    """Orders are pushed, one of two is killed at once: each order is done once."""
    release.install(values(release.world, dispatcher=_two()))
    tasks = range(211, 215)
    for task in tasks:
        release.order(task, f"course-{task - 200}")
    doomed = release.parts("dispatcher")[0]
    release.kube.run("delete", "pod", doomed, "--grace-period=0", "--force", "--wait=false")
    for task in tasks:
        release.until_status(task, "completed", 180)
        assert release.world.announced(task) == 1
    assert release.kube.items("pdb")


def _two() -> dict[str, Any]:
    repository, _, tag = cluster.DISPATCHER_IMAGE.rpartition(":")
    return {"replicas": 2, "image": {"repository": repository, "tag": tag}}


def test_redis_dies_with_orders_queued(release: Release) -> None:
    """Its pod is killed while one course runs and two wait: all three are done."""
    world = release.world
    settings = {**values(world)["settings"], "MAX_ACTIVE": 1}
    release.install(values(world, settings=settings))
    key = world.stall("course-21")
    release.order(221, "course-21")
    world.await_stall(key)
    for task in (222, 223):
        release.order(task, f"course-{task - 200}")
    [server] = release.parts("redis")
    release.kube.run("delete", "pod", server, "--grace-period=0", "--force", "--wait=true")
    release.await_ready(f"statefulset/{release.stem}-redis")
    world.portal.release()
    for task in (221, 222, 223):
        release.until_status(task, "completed", 180)
        assert world.announced(task) == 1


def test_rotated_secrets_reach_the_next_run(release: Release) -> None:
    """New platform token and new signing key in the Secrets, no upgrade: the next run uses both."""
    world = release.world
    world.portal.accounts.grant("rotated-token", ALL)
    world.portal.accounts.revoke(TOKEN)
    release.kube.apply(
        secret("platform", {"token": "rotated-token"}),
        secret("webhook", {"sign": "rotated-signing-key"}),
    )
    world.receiver.answer_with(Answer(200))  # it knows the old key only, and would refuse
    release.order(231, "course-31")
    release.until_status(231, "completed")
    [delivery] = [d for d in world.receiver.deliveries if d.json.get("task_id") == 231]
    assert delivery.verdicts.status == 401  # so it is signed with the new key
    world.portal.accounts.grant(TOKEN, ALL)
    release.kube.apply(*secrets(world))


# --- removal, and two releases --------------------------------------------------------------------
def test_uninstall_leaves_a_running_course_alone_and_says_what_stays(outside: World) -> None:
    """The course is fetched, uploaded and announced without a release; volume and queue stay, and
    Helm says so; installed again (by Helm 3), the release lets go of the volume.
    """
    with namespace("bye") as kube:
        kube.apply(*secrets(outside))
        # One try at each step in a run: the refused last step then ends it sooner.
        quick = values(outside)
        quick["settings"] |= {"MAX_RETRIES": 1}
        release = Release(outside, kube, "bye", cluster.helm())
        release.install(quick)
        key = outside.stall("course-32")
        release.order(232, "course-32")
        outside.await_stall(key)
        before = _state(release, 232)
        said = release.helm("uninstall", "bye", "--wait")
        assert "1 volumes of tasks" in said and "course-232" in said
        assert (
            f"kubectl delete pvc --namespace {kube.namespace} data-{release.stem}-redis-0" in said
        )
        assert _state(release, 232) == before
        outside.portal.release()
        until(lambda: outside.announced(232) == 1, "the course is announced without a release")
        claims = {claim["metadata"]["name"] for claim in kube.items("pvc")}
        assert claims == {"course-232", f"data-{release.stem}-redis-0"}

        again = Release(outside, kube, "bye", cluster.helm3())
        again.install(quick)
        until(gone(kube, "pvc", f"{names.LABEL_TASK}=232"), "the claim is gone", 180)
        assert outside.announced(232) == 1
        again.helm("uninstall", "bye", "--wait")


def test_two_releases_in_one_namespace_do_not_touch_each_other(
    release: Release, outside: World
) -> None:
    """The second one has a queue, runs and rights of its own; it comes, works and goes while a
    course of the first one is under way, which needs no second run for that.
    """
    key = outside.stall("course-34")
    release.order(242, "course-34")
    outside.await_stall(key)
    second = Release(outside, release.kube, "other", cluster.helm())
    second.install(values(outside))
    second.order(241, "course-33")
    second.until_status(241, "completed")
    assert release.status(241) == "" and second.status(242) == ""
    assert "241" not in release.log() and "242" not in second.log()
    second.helm("uninstall", "other", "--wait")
    release.kube.run("delete", "pvc", f"data-{second.stem}-redis-0")
    outside.portal.release()
    release.until_status(242, "completed")
    assert release.shown(242)["attempt"] == "1"
    assert outside.announced(242) == 1
