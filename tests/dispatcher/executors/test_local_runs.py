"""What a run on one machine is given, leaves behind, and is told."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from contract import names
from contract.handoff import Assignment
from dispatcher.executors import Busy, Phase, Refused
from dispatcher.executors.local.process import kill_carrying
from tests.dispatcher.executors.bench import WAITING, Stage, order
from tests.dispatcher.executors.local_bench import LocalBench


def test_a_run_gets_its_settings_and_nothing_else(local: LocalBench) -> None:
    """Of the dispatcher's environment a run sees the job's settings and what programs need."""
    local.environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/somebody",
        "TZ": "Asia/Tashkent",
        "LANG": "C.UTF-8",
        "RCLONE_BWLIMIT": "1M",
        "SSL_CERT_FILE": "/etc/ssl/own.pem",
        "REQUESTS_CA_BUNDLE": "/etc/ssl/own.pem",
        "API_SECRET_KEY": "key",
        "WEBHOOK_URL": "https://backend.invalid/hook",
        "REDIS_URL": "redis://:password@host",
        "AWS_SECRET_ACCESS_KEY": "not yours",
        "TASK": "not this",
    }
    stage = Stage(local, order([["say environment"]]))
    stage.start_and_end(2)
    (line,) = stage.executor.logs(stage.name)
    seen = json.loads(line)
    root = local.root(stage.task)
    assert seen.pop("COURSE_RUNNER_RUN")
    passed_on = set(local.environment) - {"REDIS_URL", "AWS_SECRET_ACCESS_KEY", "TASK"}
    assert {name: seen.pop(name) for name in passed_on} == {
        name: local.environment[name] for name in passed_on
    }
    assert seen == {
        "TASK": stage.task.dump(),
        "ATTEMPT": "2",
        "SANDBOX": str(root),
        "RELEASE": "file",
        "TERMINATION_LOG": str(root / ".state/termination"),
        "PYTHONUNBUFFERED": "1",
    }


def test_a_relative_folder_is_no_riddle_to_the_run(
    local: LocalBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is told the absolute path of its sandbox, and works where the dispatcher does."""
    monkeypatch.chdir(local.folder.parent)
    local.folder = Path("Staging_Download")
    stage = Stage(local, order([["say environment"]]))
    stage.start_and_end()
    (line,) = stage.executor.logs(stage.name)
    sandbox = Path(json.loads(line)["SANDBOX"])
    assert sandbox.is_absolute()
    assert sandbox.samefile(local.root(stage.task))


def test_a_program_that_is_not_there_is_refused(local: LocalBench) -> None:
    """Without its program a run is refused, saying which, and leaves no trace of a run."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    local.program = ["no-such-program-anywhere"]
    other = local.executor()
    with pytest.raises(Refused, match="no-such-program-anywhere"):
        other.start_run(Assignment(stage.task, 1))
    assert other.holdings()[stage.name].run is None
    assert not local.state(stage.task, "run.json").exists()
    assert stage.start() is True
    assert stage.ended().phase is Phase.SUCCEEDED


def test_a_run_without_a_volume_waits_for_one(local: LocalBench) -> None:
    """A run is never started in a folder that is not there (any more)."""
    stage = Stage(local, order())
    with pytest.raises(Busy):
        stage.executor.start_run(Assignment(stage.task, 1))
    assert not local.root(stage.task).exists()


def test_a_program_started_by_hand_keeps_others_out(local: LocalBench) -> None:
    """While another process holds the volume's lock no run starts and the volume stays."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    with local.state(stage.task, names.LOCK_FILE).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            stage.executor.start_run(Assignment(stage.task, 1))
        with pytest.raises(Busy):
            stage.executor.remove_volume(stage.name, stage.volume.id)
    assert stage.run is None
    assert stage.start() is True
    assert stage.ended().phase is Phase.SUCCEEDED


def test_the_program_can_take_the_volumes_lock(local: LocalBench) -> None:
    """Watching and marking never get in the way of the program's own lock."""
    stage = Stage(local, order([["hold lock"], ["exit", 0]]))
    for attempt in range(1, 6):
        assert stage.start_and_end(attempt).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("how", ["plain", "session", "bare"])
def test_what_a_run_leaves_behind_is_ended(local: LocalBench, how: str) -> None:
    """A process that a run left alive is killed at the run's end, as a container's would be."""
    stage = Stage(local, order([["leave child", "child", how], ["exit", 75]]))
    stage.start_and_end()
    stage.until(lambda: not _child_lives(local, stage), "what it left is gone")
    assert stage.start(2) is True
    stage.ended(2)


def test_a_process_just_born_does_not_escape() -> None:
    """In the middle of exec a process shows no environment yet; the sweep waits for it."""
    for number in range(50):
        variable = {"SWEPT": f"number {number}", "PATH": os.environ["PATH"]}
        with subprocess.Popen(["sleep", "600"], env=variable) as born:
            kill_carrying(f"SWEPT=number {number}")
            assert born.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("how", ["plain", "session", "bare"])
def test_what_a_killed_run_leaves_behind_is_ended(local: LocalBench, how: str) -> None:
    """Also when the run itself was killed, nothing of it works beside the next attempt."""
    stage = Stage(local, order([["leave child", "child", how], ["die"]]))
    run = stage.start_and_end()
    ending = stage.executor.ending(stage.name, run)
    assert (ending.exit, ending.reason) == (137, "Killed")
    stage.until(lambda: not _child_lives(local, stage), "what it left is gone")


def _child_lives(local: LocalBench, stage: Stage) -> bool:
    return _alive(int((local.root(stage.task) / "child").read_text()))


def test_a_run_that_does_not_listen_is_killed(local: LocalBench) -> None:
    """A removed run that ignores SIGTERM is ended by SIGKILL after the grace."""
    local.grace = 0.5
    stage = Stage(local, order([["deaf"], ["leave child", "child"], *WAITING]))
    stage.start()
    stage.printed("ready")
    stage.remove_run()
    stage.until(lambda: not _child_lives(local, stage), "what it left is gone")


def test_removing_an_active_run_does_not_block(local: LocalBench) -> None:
    """`remove_run` returns while the run still takes its time to stop."""
    stage = Stage(local, order([["deaf"], *WAITING]))
    stage.start()
    stage.printed("ready")
    assert stage.run is not None
    stage.executor.remove_run(stage.name, stage.run.id)
    assert stage.run is not None
    assert (stage.run.phase, stage.run.deleting) == (Phase.ACTIVE, True)
    stage.open("gate")
    stage.until(lambda: stage.run is None, "the run is gone")


def test_a_run_killed_before_it_could_listen_was_stopped(local: LocalBench) -> None:
    """Death by SIGTERM is being told to stop: code 143, and no reason of its own."""
    local.program = ["sh", "-c", "kill -TERM $$"]
    stage = Stage(local, order())
    run = stage.start_and_end()
    ending = stage.executor.ending(stage.name, run)
    assert (ending.exit, ending.reason) == (143, "")


def test_a_release_is_seen(local: LocalBench) -> None:
    """The file that the program leaves to let go of its volume is the mark RELEASED."""
    stage = Stage(local, order([["write", ".state/released", "1768233600\n"], *WAITING]))
    stage.start()
    stage.until(lambda: names.RELEASED in stage.marks(), "the release shows while the run lives")
    stage.open("gate")
    stage.ended()
    stage = stage.again()
    assert stage.marks()[names.RELEASED]
    stage.executor.mark(stage.name, {names.RELEASED: None})
    assert names.RELEASED not in stage.marks()
    assert names.RELEASED not in stage.again().marks()


def test_a_release_shows_no_later_than_the_end(local: LocalBench) -> None:
    """Whoever sees the run ended sees the release: else it would be judged as not done."""
    stage = Stage(local, order([["write", ".state/released", "1"]]))
    stage.start()
    while stage.run is not None and stage.run.phase is Phase.ACTIVE:
        stage.executor.wait(5)
    assert names.RELEASED in stage.marks()


def test_the_output_of_the_last_few_runs_is_kept(local: LocalBench) -> None:
    """Five runs' output stays on the volume; older output goes."""
    stage = Stage(local, order([["say", "here"], ["exit", 75]]))
    for attempt in range(1, 8):
        stage.start_and_end(attempt)
    kept = sorted(path.name for path in local.state(stage.task, "console").iterdir())
    assert kept == [f"{n:06}-attempt-{n}.log" for n in range(3, 8)]


def test_the_log_of_a_removed_run_can_be_read(local: LocalBench) -> None:
    """On one machine the output outlives the run's record."""
    stage = Stage(local, order([["say", "here"]]))
    stage.start_and_end()
    stage.remove_run()
    assert list(stage.executor.logs(stage.name)) == ["here"]


def test_closing_ends_a_followed_log(local: LocalBench) -> None:
    """Whoever follows a log is let go when the executor is closed; the run goes on."""
    stage = Stage(local, order(WAITING))
    stage.start()
    stage.printed("ready")
    lines: list[str] = []
    reader = threading.Thread(
        target=lambda: lines.extend(stage.executor.logs(stage.name, follow=True))
    )
    reader.start()
    stage.executor.close()
    reader.join(local.patience)
    assert not reader.is_alive()
    assert lines == ["ready"]
    stage = Stage(local, stage.task)
    assert stage.run is not None
    assert stage.run.phase is Phase.ACTIVE
    stage.open("gate")
    stage.ended()


def test_no_zombies_and_no_descriptors_are_left(local: LocalBench) -> None:
    """After many runs the dispatcher has no dead children and no more open files than before."""
    stage = Stage(local, order())
    stage.start_and_end(1)
    before = _descriptors()
    for attempt in range(2, 12):
        stage.start_and_end(attempt)
    stage.until(lambda: _descriptors() <= before, "all descriptors are closed")
    assert not [pid for pid in _children() if _state(pid) == "Z"]
    stage.executor.close()
    stage.executor.close()


_ON_A_FULL_DISK = """
import os, sys
from pathlib import Path
from dispatcher.executors import QuotaExceeded
from dispatcher.executors.local import LocalExecutor
from contract.task import Task
place = Path(sys.argv[1])
executor = LocalExecutor(place / "Staging", os.environ)
executor.start()
(place / "filler").write_bytes(bytes(4096 * 13))
try:
    for number in range(20):
        executor.ensure_volume(Task(number, "https://portal.invalid/course/any/"))
except QuotaExceeded as exc:
    print(exc)
"""


def _may_mount() -> bool:
    """Whether this user may mount something in a name space of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_back_pressure(tmp_path: Path) -> None:
    """Where there is no room for a volume, a quota is exceeded, and the place is named."""
    mounted = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    if not _may_mount():
        pytest.skip("needs the right to mount a tiny file system of its own")
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            mounted,
            "sh",
            tmp_path,
            sys.executable,
            _ON_A_FULL_DISK,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"There is no room for {tmp_path}/Staging" in done.stdout, done.stderr


def _alive(pid: int) -> bool:
    return _state(pid) not in ("", "Z", "X")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _children() -> list[int]:
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(pid) for path in found for pid in path.read_text().split()]


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
