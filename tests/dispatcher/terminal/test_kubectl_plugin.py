"""`kubectl course …`: found by a real kubectl, run here or in the dispatcher's pod.

Which pod, and with which words, is tried with a stand-in for kubectl that writes down what it is
asked; `tests/deploy/test_cluster_plugin.py` tries it on a real cluster.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.plugin import Words, part
from tests.cluster import cluster
from tests.services import absent

BIN = Path(sys.executable).parent
STAND_IN = """#!/bin/sh
echo "$*" >>"$ASKED"
case $1 in
  get) printf '%s\\n' $FOUND; exit ${GET_CODE:-0} ;;
  exec) echo "said by the pod"; exit ${EXEC_CODE:-0} ;;
esac
"""


@pytest.fixture(scope="module")
def kubectl() -> Path:
    """The kubectl that comes with the cluster, which is built beside the other tests."""
    try:
        return cluster.kubectl()
    except cluster.ClusterError:
        absent("kubectl (scripts/cluster.sh builds it)")


def ask(kubectl: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the real kubectl with the plugin on its PATH."""
    path = os.pathsep.join([str(BIN), str(kubectl.parent), os.environ["PATH"]])
    env = {"PATH": path, "HOME": "/nonexistent", **settings}
    return subprocess.run([kubectl, *words], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.cluster
def test_kubectl_finds_the_plugin_and_runs_it_here_with_a_redis(kubectl: Path, redis7: str) -> None:
    """`kubectl course why 1` on a laptop that reaches Redis: the answer and the exit code."""
    said = ask(kubectl, "course", "why", "1", REDIS_URL=redis7, QUEUE="plugin")
    assert (said.returncode, said.stderr) == (1, "course-runner: task 1 is not known.\n")
    pushed = ask(
        kubectl, "course", "enqueue", "1", "https://h/course/x/", REDIS_URL=redis7, QUEUE="plugin"
    )
    assert pushed.returncode == 0, pushed.stderr
    said = ask(kubectl, "course", "why", "1", REDIS_URL=redis7, QUEUE="plugin")
    assert said.returncode == 0
    assert "queue" in said.stdout


@pytest.mark.cluster
def test_kubectl_completes_its_words(kubectl: Path) -> None:
    """kubectl asks `kubectl_complete-course`; no file names are offered."""
    said = ask(kubectl, "__complete", "course", "wa")
    assert said.stdout.splitlines() == ["watch", ":4"]
    said = ask(kubectl, "__complete", "course", "-n", "courses", "dead", "re")
    assert said.stdout.splitlines() == ["requeue", ":4"]


@pytest.mark.cluster
def test_a_cluster_that_is_not_there_is_kubectls_to_complain_of(kubectl: Path) -> None:
    said = ask(kubectl, "course", "--server", "http://127.0.0.1:1", "list")
    assert said.returncode == 1
    assert "127.0.0.1:1" in said.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["list"], Words([], ["list"])),
        (["-n", "a", "list", "-n"], Words(["-n", "a"], ["list", "-n"])),
        (["--context=c", "--namespace", "a", "why", "1"],
         Words(["--context=c", "--namespace", "a"], ["why", "1"])),
        ([], Words([], [])),
        (["-n"], Words(["-n"], [])),
    ],
)  # fmt: skip
def test_options_of_kubectl_stand_first(given: list[str], words: Words) -> None:
    assert part(given) == words


class StandIn:
    """A program called kubectl that writes down its words."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked = folder / "asked"
        program = folder / "kubectl"
        program.write_text(STAND_IN)
        program.chmod(0o755)

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the plugin as kubectl does."""
        env = {"PATH": f"{self._folder}:{os.environ['PATH']}", "ASKED": str(self._asked)}
        return subprocess.run(
            [BIN / "kubectl-course", *words], env={**env, **settings}, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip

    @property
    def asked(self) -> list[str]:
        """What it was asked, call by call."""
        return self._asked.read_text().splitlines()


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """A stand-in for kubectl."""
    return StandIn(tmp_path)


def test_without_a_redis_the_command_runs_in_the_dispatchers_pod(stand_in: StandIn) -> None:
    """Words go through as they are, the pod's answer and exit code come back."""
    one = "deployment.apps/shop-course-runner-dispatcher"
    said = stand_in.run("-n", "courses", "pause", "a b", "--x", FOUND=one, EXEC_CODE="3")
    assert (said.returncode, said.stdout) == (3, "said by the pod\n")
    get, run = stand_in.asked
    assert get.startswith("get deployments -n courses --selector=")
    assert "app.kubernetes.io/component=dispatcher" in get
    assert (
        run
        == f"exec -n courses --quiet {one} --container=dispatcher -- course-runner pause a b --x"
    )


def test_of_several_dispatchers_one_must_be_named(stand_in: StandIn) -> None:
    said = stand_in.run("list", FOUND="deployment.apps/a deployment.apps/b")
    assert said.returncode == 64
    assert "deployment.apps/a, deployment.apps/b" in said.stderr
    assert "COURSE_RUNNER_DEPLOYMENT" in said.stderr
    assert stand_in.run("list", COURSE_RUNNER_DEPLOYMENT="b").returncode == 0
    assert " deployment/b " in stand_in.asked[-1]


def test_no_dispatcher_is_told_with_the_cure(stand_in: StandIn) -> None:
    said = stand_in.run("list", FOUND="")
    assert said.returncode == 64
    assert "kubectl course -n NAMESPACE list" in said.stderr


def test_what_kubectl_cannot_do_ends_with_its_code(stand_in: StandIn) -> None:
    assert stand_in.run("list", FOUND="", GET_CODE="7").returncode == 7


def test_help_needs_no_cluster(stand_in: StandIn) -> None:
    said = stand_in.run()
    assert said.returncode == 0
    assert "watch" in said.stdout
