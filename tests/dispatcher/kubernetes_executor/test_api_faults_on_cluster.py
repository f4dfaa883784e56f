"""A faulty API server: no duplicate Job, no lost verdict, no leaked slot, and readiness tells.

A proxy between the dispatcher and the real API server does wrong on demand; what is asserted is
asked of the real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.cluster_town import Town
from tests.dispatcher.kubernetes_executor.fault_proxy import (
    Deed,
    FaultProxy,
    any_call,
    expired,
    fault_proxy,
    late,
    lose_the_answer,
    making,
    mute,
    refuse,
    watching,
)
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.namespaces import (
    apply,
    kubectl,
    namespace,
    need_cluster,
    tried,
)

pytestmark = pytest.mark.cluster

AGAIN = {"1": [["exit", 75]]}
"""A run that is tried again: it has two verdicts."""


Made = Callable[[str], int]


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


@pytest.fixture
def proxy(space: str, tmp_path: Path) -> Iterator[FaultProxy]:
    """A proxy of this test alone."""
    with fault_proxy(cluster.kubeconfig(), tmp_path) as made:
        yield made


@pytest.fixture
def town(redis7: str, space: str, made: Made, proxy: FaultProxy) -> Town:
    """A town whose way to the API server leads through the proxy."""
    return Town(redis7, space, made, proxy.kubeconfig())


def patch_of_a_claim(method: str, path: str) -> bool:
    """Match what marks a verdict."""
    return method == "PATCH" and "/persistentvolumeclaims/" in path


@pytest.mark.parametrize(
    "deed",
    [
        refuse(429, "TooManyRequests", Retry_After="1"),
        refuse(500, "InternalError"),
        lose_the_answer,
        late(2.0),
    ],
    ids=["429", "500", "the answer is lost", "slow"],
)
def test_what_is_made_is_made_once(town: Town, proxy: FaultProxy, deed: Deed) -> None:
    """Whatever becomes of the first answer, to the claim's making and to the Job's, there is one
    of each, and the order ends.
    """
    with town.dispatcher():
        for kind in ("persistentvolumeclaims", "jobs"):
            proxy.wrong(making(kind), deed)
        town.push("a")
        town.until_status("a", "completed")
        assert [method for method, _ in proxy.met] == ["POST", "POST"]
        town.assert_once("a")


@pytest.mark.parametrize(
    "deed", [refuse(500, "InternalError"), lose_the_answer], ids=["500", "the answer is lost"]
)
def test_no_verdict_is_lost(town: Town, proxy: FaultProxy, deed: Deed) -> None:
    """Marks that did not get through, or whose answer did not, are there in the end: two runs."""
    with town.dispatcher():
        proxy.wrong(patch_of_a_claim, deed, times=4)
        town.push("a", AGAIN)
        town.until_status("a", "completed")
        assert len(proxy.met) == 4
        town.assert_once("a", runs=2)


def test_an_absence_is_told_and_leaves_nothing_behind(town: Town, proxy: FaultProxy) -> None:
    """Runs end while the server is away: verdicts come later, and new orders wait in the queue."""
    with town.dispatcher():
        town.push("a", [["wait for", "gate"]])
        town.until_status("a", "running")
        town.until(lambda: _opened(town, "a"), "the run works")
        proxy.away()
        town.until(town.ready, "readiness tells")
        town.push("b", AGAIN)
        town.until(lambda: not town.raw.llen(town.queue), "the order is claimed")
        assert [found["metadata"]["name"] for found in town.objects("jobs")] == [town.name("a")]
        proxy.back()
        for letter in "ab":
            town.until_status(letter, "completed")
        town.until(lambda: not town.ready(), "readiness is back")
        assert (town.runs_made("a"), town.runs_made("b")) == (1, 2)
        assert town.left() == 0


def _opened(town: Town, letter: str) -> bool:
    touch = ("exec", f"job/{town.name(letter)}", "-n", town.space, "--", "touch", "/sandbox/gate")
    return tried(*touch).returncode == 0


@pytest.mark.parametrize("deed", [expired, mute], ids=["410", "mute"])
def test_a_broken_watch_hides_no_end(town: Town, proxy: FaultProxy, deed: Deed) -> None:
    """A watch that expires or says nothing is begun anew; the run's end is seen all the same."""
    proxy.wrong(watching("jobs"), deed, times=3)
    with town.dispatcher():
        town.push("a", AGAIN)
        town.until_status("a", "completed")
        town.assert_once("a", runs=2)
    assert proxy.met


def test_a_storm_of_errors_ends_in_order(town: Town, proxy: FaultProxy) -> None:
    """Twenty calls in a row are refused; three orders end once each, slots are free."""
    with town.dispatcher():
        for deed in (refuse(500, "InternalError"), refuse(429, "TooManyRequests", Retry_After="1")):
            proxy.wrong(any_call, deed, times=10)
        for letter in "abc":
            town.push(letter, AGAIN)
        for letter in "abc":
            town.until_status(letter, "completed")
        assert len(proxy.met) == 20
        town.assert_once("a", "b", "c", runs=2)
        town.until(lambda: not town.ready(), "readiness is back")


def test_a_token_that_is_no_longer_valid_is_read_anew(
    redis7: str, space: str, made: Made, tmp_path: Path
) -> None:
    """The token's Secret is deleted, which ends it; a new one in the kubeconfig goes on."""
    name = f"account-{tmp_path.name[-8:].strip('_').lower()}".replace("_", "-")
    _account(space, name)
    path = tmp_path / "kubeconfig"
    path.write_text(_with_token(_token(space, name, "first")))
    town = Town(redis7, space, made, str(path))
    with town.dispatcher():
        town.push("a")
        town.until_status("a", "completed")
        kubectl("delete", "secret", f"{name}-first", "-n", space)
        town.until(lambda: "401" in town.ready(), "readiness tells")
        path.write_text(_with_token(_token(space, name, "second")))
        town.push("b")
        town.until_status("b", "completed")
        town.assert_once("a", "b")
        town.until(lambda: not town.ready(), "readiness is back")


def _account(space: str, name: str) -> None:
    """A service account that may do what the dispatcher does, and more."""
    api = "rbac.authorization.k8s.io"
    meta = {"name": name, "namespace": space}
    apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space}],
        },
    )


def _token(space: str, account: str, number: str) -> str:
    """A token that lives as long as a Secret."""
    secret = f"{account}-{number}"
    meta = {"name": secret, "namespace": space}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta})
    bound = ("--bound-object-kind=Secret", f"--bound-object-name={secret}")
    return kubectl("create", "token", account, "-n", space, *bound).strip()


def _with_token(token: str) -> str:
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return json.dumps(config)


# --- what the cluster refuses, or somebody does ---------------------------------------------------
@pytest.fixture
def direct(redis7: str, own: str, tmp_path: Path) -> Iterator[Town]:
    """A town without a proxy, in a namespace of its own."""
    with jobs_made(own, tmp_path) as count:
        yield Town(redis7, own, count)


@pytest.fixture
def own() -> Iterator[str]:
    """A namespace for one test that changes its rules."""
    need_cluster()
    with namespace() as name:
        yield name


def test_a_quota_is_told_and_the_order_goes_on_when_there_is_room(direct: Town) -> None:
    """The order stays claimed, its hash and the log say "waiting: quota"; then it runs."""
    meta = {"name": "small", "namespace": direct.space}
    hard = {"persistentvolumeclaims": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta}
    apply({**quota, "spec": {"hard": hard}})
    direct.until(lambda: _counts(direct.space), "the quota counts")
    with direct.dispatcher():
        direct.push("a")
        told = "waiting: quota: "
        direct.until(
            lambda: direct.fields("a").get("obstacle", "").startswith(told), "the hash tells"
        )
        assert "exceeded quota: small" in direct.lines.getvalue()
        assert direct.left() == 1
        assert direct.dead() == []
        kubectl("delete", "resourcequota", "small", "-n", direct.space)
        direct.until_status("a", "completed")
        assert direct.fields("a").get("obstacle", "") == ""
        direct.assert_once("a")


def _counts(space: str) -> bool:
    quota = json.loads(kubectl("get", "resourcequota", "small", "-n", space, "-o", "json"))
    return bool(quota.get("status", {}).get("hard"))


def test_what_admission_refuses_is_final_in_the_servers_words(direct: Town) -> None:
    """An order whose claim is refused goes to the dead list, with the words and the cure."""
    limit = {"type": "PersistentVolumeClaim", "max": {"storage": "2Mi"}}
    meta = {"name": "small", "namespace": direct.space}
    apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [limit]}})
    with direct.dispatcher():
        direct.push("a", volumeSize="3Mi")
        direct.until(direct.dead, "the order is in the dead list")
        [letter] = direct.dead()
        assert "maximum storage usage" in letter["reason"]
        assert direct.left() == 0
        assert direct.objects("jobs,pvc") == []


def test_what_is_removed_by_hand_is_made_again_or_waited_for(direct: Town) -> None:
    """A deleted Job starts again on its claim; a claim that cannot go away is told as that."""
    with direct.dispatcher():
        direct.push("a", [["exit if", "told", 0], ["say", "ready"], ["until stopped", "told"]])
        direct.until_status("a", "running")
        direct.until(lambda: direct.objects("jobs"), "the Job is there")
        direct.until(lambda: _prints(direct, "a", "ready"), "the run works")
        kubectl("delete", "job", direct.name("a"), "-n", direct.space, "--wait=false")
        direct.until_status("a", "completed")
        direct.assert_once("a", runs=2)

        _hold(direct, "a", '["course-runner-test/hold"]')
        kubectl("delete", "job", direct.name("a"), "-n", direct.space)
        kubectl("delete", "pvc", direct.name("a"), "-n", direct.space, "--wait=false")
        direct.until(lambda: _is_going(direct, "a"), "the claim is going away")
        direct.push("a", force=True)
        direct.until(lambda: "going away" in direct.lines.getvalue(), "the log tells")
        assert direct.objects("jobs") == []
        assert direct.left() == 1
        _hold(direct, "a", "null")
        direct.until(lambda: not direct.left(), "the order goes on")
        direct.until(lambda: direct.objects("jobs"), "it runs")


def _prints(town: Town, letter: str, line: str) -> bool:
    assert town.executor is not None
    return line in town.executor.logs(town.name(letter))


def _is_going(town: Town, letter: str) -> bool:
    holding = town.holding(letter)
    return bool(holding and holding.volume and holding.volume.deleting)


def _hold(town: Town, letter: str, finalizers: str) -> None:
    patch = f'{{"metadata":{{"finalizers":{finalizers}}}}}'
    kubectl("patch", "pvc", town.name(letter), "-n", town.space, "--type=merge", "-p", patch)


def test_a_volume_is_grown_where_its_class_allows(direct: Town) -> None:
    """The PATCH doubles the request once and the run is tried again; elsewhere it is final."""
    growing = f"growing-{direct.space}"
    made = json.loads(kubectl("get", "storageclass", "local-path", "-o", "json"))
    made = {k: v for k, v in made.items() if k not in ("metadata", "status")}
    apply({**made, "metadata": {"name": growing}, "allowVolumeExpansion": True})
    full = {"1": [["exit", 73, "volume_full"]]}
    try:
        with direct.dispatcher(storage_class=growing):
            direct.push("a", full)
            direct.until_status("a", "completed")
            [claim] = direct.objects("pvc")
            assert claim["spec"]["resources"]["requests"]["storage"] in ("2Mi", str(2 << 20))
            direct.assert_once("a", runs=2)
        with direct.dispatcher():
            direct.push("b", full)
            direct.until_status("b", "failed")
            assert direct.fields("b")["category"] == "volume_full"
            assert "stays as large as it is" in direct.lines.getvalue()
    finally:
        kubectl("delete", "storageclass", growing)
