"""A local dispatcher that dies at any moment loses no run, starts none twice, harms no stranger."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors import Phase
from tests.dispatcher.executors.bench import Stage, Steps, order
from tests.dispatcher.executors.local_bench import LocalBench

COUNTED: Steps = [["append", "count", "x"], ["say", "ready"], ["wait for", "gate"]]


@contextmanager
def _killed_host(local: LocalBench, task: Task, *, after: str) -> Iterator[None]:
    """Have another process start the task's run, and kill it once it printed `after`."""
    with local.host(task) as host:
        assert host.stdout is not None
        try:
            while (line := host.stdout.readline().strip()) != after:
                assert line, "the host ended before its time"
        finally:
            host.kill()
    yield


def test_a_run_goes_on_when_its_dispatcher_is_killed(local: LocalBench) -> None:
    """The next dispatcher finds the run alive, starts no second one, and learns its ending."""
    task = order([*COUNTED, ["exit", 65]])
    with _killed_host(local, task, after="run"):
        stage = Stage(local, task)
    assert stage.run is not None
    assert stage.run.phase is Phase.ACTIVE
    assert stage.executor.start_run(Assignment(task, 1)) is False
    found = stage.run.id
    stage.printed("ready")
    stage.open("gate")
    run = stage.ended()
    assert run.id == found
    ending = stage.executor.ending(stage.name, run)
    assert (ending.exit, ending.reason) == (65, "")
    assert ending.words is not None
    assert (local.root(task) / "count").read_text() == "x"


@pytest.mark.parametrize(
    ("last", "code", "reason"),
    [(["exit", 0], 0, ""), (["die"], None, "Killed"), (["exit silently", 3], None, "Killed")],
)
def test_a_run_that_ended_unseen(
    local: LocalBench, last: list[object], code: int | None, reason: str
) -> None:
    """A run that ended with nobody there is known by its last words, or died without a word."""
    task = order([["wait for", "gate"], last])
    with _killed_host(local, task, after="run"):
        pid = _recorded(local, task)["process"]["pid"]
    descriptor = os.pidfd_open(pid)
    local.open_gate(task, "gate")
    _gone(descriptor)
    stage = Stage(local, task)
    run = stage.ended()
    assert run.phase is (Phase.SUCCEEDED if code == 0 else Phase.FAILED)
    assert run.started is not None
    assert run.ended is not None
    assert run.started <= run.ended
    ending = stage.executor.ending(stage.name, run)
    assert (ending.exit, ending.reason) == (code, reason)


def test_what_an_unseen_run_left_behind_is_ended(local: LocalBench) -> None:
    """Also of a run that ended with nobody there, nothing works beside the next attempt."""
    task = order([["leave child", "child", "session"], ["wait for", "gate"], ["die"]])
    with _killed_host(local, task, after="run"):
        pid = _recorded(local, task)["process"]["pid"]
    descriptor = os.pidfd_open(pid)
    local.open_gate(task, "gate")
    _gone(descriptor)
    child = os.pidfd_open(int((local.root(task) / "child").read_text()))
    Stage(local, task).ended()
    _gone(child)


@pytest.mark.parametrize("moment", range(8))
def test_whenever_the_dispatcher_is_killed_one_run_lives(local: LocalBench, moment: int) -> None:
    """Killed at any moment of a start, the next dispatcher's start makes it exactly one run."""
    task = order(COUNTED)
    with _killed_soon(local, task, moment / 400):
        stage = Stage(local, task)
    stage.start()
    stage.printed("ready")
    stage.open("gate")
    assert stage.ended().phase is Phase.SUCCEEDED
    assert (local.root(task) / "count").read_text() == "x"


@contextmanager
def _killed_soon(local: LocalBench, task: Task, seconds: float) -> Iterator[None]:
    """Kill the other process so many seconds after it made the volume: while it starts the run."""
    with local.host(task) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "volume\n"
        try:
            host.wait(seconds)
        except subprocess.TimeoutExpired:
            host.kill()
    yield


def test_a_run_not_yet_written_down_is_found(local: LocalBench) -> None:
    """Killed between a run's birth and its record, the next dispatcher finds and can stop it."""
    task = order({"1": [["say", "ready"], ["until stopped", "told"]]})
    with _killed_host(local, task, after="run"):
        local.change(task, "run.json", process=None)
    stage = Stage(local, task)
    assert stage.executor.start_run(Assignment(task, 1)) is False
    stage.printed("ready")
    stage.remove_run()
    assert (local.root(task) / "told").read_text() == "SIGTERM"


def test_a_run_that_was_only_meant_is_started(local: LocalBench) -> None:
    """Killed before a run's birth, the next dispatcher starts it: the intention is no run."""
    task = order()
    stage = Stage(local, task)
    stage.start_and_end()
    local.state(task, "termination").unlink()
    local.change(task, "run.json", process=None, ended=None, exit=None, id="meant")
    stage = stage.again()
    assert stage.run is None
    assert stage.start() is True
    assert stage.ended().id != "meant"


def test_a_stranger_with_the_runs_number_is_left_alone(local: LocalBench) -> None:
    """A process that has the number of a dead run is neither taken for it nor signalled."""
    task = order()
    stage = Stage(local, task)
    stage.start_and_end()
    stage.executor.close()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        process = {**_recorded(local, task)["process"], "pid": stranger.pid}
        local.change(task, "run.json", process=process, ended=None, parent=None, deleting=1.0)
        stage = Stage(local, task)
        stage.until(lambda: stage.run is None, "the dead run is removed")
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_an_earlier_boots_run_is_over(local: LocalBench) -> None:
    """After a reboot nothing runs, whatever process has the number and the start of a run."""
    task = order()
    stage = Stage(local, task)
    stage.start_and_end()
    stage.executor.close()
    local.state(task, "termination").unlink()
    mine = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    process = {"pid": os.getpid(), "started": int(mine), "boot": "another"}
    local.change(task, "run.json", process=process, ended=None, exit=None, parent=process)
    stage = Stage(local, task)
    run = stage.ended()
    assert stage.executor.ending(stage.name, run).reason == "Killed"


def test_a_removal_goes_on_after_a_restart(local: LocalBench) -> None:
    """A run being removed when its dispatcher was killed is still ended, after its grace."""
    local.grace = 0.5
    task = order([["deaf"], ["say", "ready"], ["wait for", "never"]])
    with _killed_host(local, task, after="run"):
        stage = Stage(local, task)
    stage.printed("ready")
    assert stage.run is not None
    stage.executor.remove_run(stage.name, stage.run.id)
    assert stage.run is not None
    assert stage.run.deleting
    stage = stage.again()
    stage.until(lambda: stage.run is None, "the run is gone")


def test_the_terminals_interrupt_does_not_reach_the_runs(local: LocalBench) -> None:
    """A run has a session of its own, so Ctrl-C ends the dispatcher alone."""
    task = order(COUNTED)
    stage = Stage(local, task)
    stage.start()
    pid = _recorded(local, task)["process"]["pid"]
    assert os.getsid(pid) == os.getpgid(pid) == pid
    stage.open("gate")
    assert stage.ended().phase is Phase.SUCCEEDED


def test_the_dispatcher_that_started_a_run_writes_its_end(local: LocalBench) -> None:
    """A second dispatcher leaves the end of a run to the one that can know its exit code."""
    task = order([["wait for", "gate"], ["exit silently", 9]])
    with local.host(task) as host:
        assert host.stdout is not None
        assert host.stdin is not None
        assert [host.stdout.readline(), host.stdout.readline()] == ["volume\n", "run\n"]
        host.send_signal(signal.SIGSTOP)
        try:
            stage = Stage(local, task)
            descriptor = os.pidfd_open(_recorded(local, task)["process"]["pid"])
            stage.open("gate")
            _gone(descriptor)
            looks = [stage.executor.wait(0.5), stage.executor.wait(0.5)]
            assert stage.run is not None
            assert stage.run.phase is Phase.ACTIVE, looks
        finally:
            host.send_signal(signal.SIGCONT)
        run = stage.ended()
        assert stage.executor.ending(stage.name, run).exit == 9
        host.stdin.close()


def _recorded(local: LocalBench, task: Task) -> dict[str, dict[str, int]]:
    """The run's record as it is on the disk."""
    record: dict[str, dict[str, int]] = json.loads(local.state(task, "run.json").read_text())
    return record


def _gone(descriptor: int) -> None:
    """Wait for the end of the process behind a pidfd."""
    try:
        assert select.select([descriptor], [], [], 20)[0], "the run does not end"
    finally:
        os.close(descriptor)
