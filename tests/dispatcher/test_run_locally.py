"""`course-runner local` as its user meets it: told of faults at once, found by the other verbs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("course-runner")
GOOD = {
    "DOWNLOAD_COMMAND": "sleep 600 {url}",
    "RCLONE_REMOTE": "/nowhere",
    "PATH": os.environ["PATH"],
}
LIMIT = 30.0


def until(true: Callable[[], object], what: str) -> None:
    """Wait until it is so; fail with `what` when it takes too long."""
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, f"not in {LIMIT:g} s: {what}"
        time.sleep(0.05)


def ask(place: Path, settings: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [PROGRAM, *words],
        cwd=place,
        env={"HOME": str(place), **settings},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


@contextmanager
def dispatching(place: Path, settings: Mapping[str, str]) -> Iterator[Path]:
    """`course-runner local`, as long as it is needed, and its log; tasks are cancelled first."""
    log = place / "local.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [PROGRAM, "local"],
            cwd=place,
            env={"HOME": str(place), **settings},
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: "Dispatching" in log.read_text(), "the dispatcher begins")
        yield log
        for folder in place.glob("Staging_Download/Task_*"):
            ask(place, settings, "cancel", folder.name.removeprefix("Task_"))
        until(lambda: not list(runs(place)), "the runs end")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0


def runs(place: Path) -> Iterator[Path]:
    """The /proc folders of the runs that are alive below a place."""
    for record in place.glob("Staging_Download/Task_*/.state/run.json"):
        process = json.loads(record.read_bytes()).get("process")
        if process and (alive := Path(f"/proc/{process['pid']}")).exists():
            yield alive


def environment(process: Path) -> dict[str, str]:
    """The environment of a process."""
    pairs = (process / "environ").read_bytes().split(b"\0")
    return dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)


def test_faults_of_both_programs_are_told_together_before_anything_is_made(tmp_path: Path) -> None:
    """One of the dispatcher's, two of the job's program: three lines, exit code 64, no folder."""
    settings = {"MAX_ACTIVE": "none", "DB_TABLE": "a b", "PATH": os.environ["PATH"]}
    ended = ask(tmp_path, settings, "local")
    assert ended.returncode == 64
    lines = ended.stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["MAX_ACTIVE", "PLATFORM_TOKEN", "DB_TABLE"]
    assert list(tmp_path.iterdir()) == []


def test_settings_from_a_folder_of_files_count_too(tmp_path: Path) -> None:
    """What systemd or a mounted Secret supplies as files is checked like the environment."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "DB_TABLE").write_text("a b\n")
    ended = ask(tmp_path, {**GOOD, "SETTINGS_DIR": str(folder)}, "local")
    assert ended.returncode == 64
    assert [line.split()[1] for line in ended.stderr.splitlines()] == ["DB_TABLE"]


def test_a_server_of_ones_own_replaces_the_embedded_one(tmp_path: Path, valkey9: str) -> None:
    """With REDIS_URL none is brought along, and all verbs still mean this machine's tasks."""
    settings = {**GOOD, "REDIS_URL": valkey9, "QUEUE": f"queue-{tmp_path.name}"}
    with dispatching(tmp_path, settings):
        assert not (tmp_path / ".course-runner" / "redis").exists()
        pushed = ask(tmp_path, settings, "enqueue", "41", "https://courses.example/course/x/")
        assert pushed.returncode == 0, pushed.stderr
        until(lambda: list(runs(tmp_path)), "the run begins")
        until(lambda: "[ATTEMPT 1/3]" in ask(tmp_path, settings, "logs", "41").stdout, "its log")
        assert ask(tmp_path, settings, "reap", "--dry-run").returncode == 0


def test_the_usual_configuration_of_rclone_is_found(tmp_path: Path) -> None:
    """What `rclone config` wrote in the home is what runs upload with."""
    usual = tmp_path / ".config" / "rclone" / "rclone.conf"
    usual.parent.mkdir(parents=True)
    usual.write_text("[drive]\ntype = local\n")
    with dispatching(tmp_path, GOOD):
        ask(tmp_path, GOOD, "enqueue", "42", "https://courses.example/course/x/")
        until(lambda: list(runs(tmp_path)), "the run begins")
        assert environment(next(runs(tmp_path)))["RCLONE_CONFIG"] == str(usual)


def test_a_second_one_on_the_same_state_is_refused_with_the_cure(tmp_path: Path) -> None:
    """Two would fight over one embedded server."""
    with dispatching(tmp_path, GOOD):
        second = ask(tmp_path, GOOD, "local")
        assert second.returncode == 64
        assert "--state" in second.stderr


@pytest.mark.parametrize(
    "words", [("list",), ("enqueue", "1", "https://courses.example/course/x/")]
)
def test_a_stopped_one_is_named_as_the_cure(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Its state is there, its server is not: exit code 75 and what to start."""
    with dispatching(tmp_path, GOOD):
        pass
    ended = ask(tmp_path, GOOD, *words)
    assert ended.returncode == 75
    assert "course-runner local" in ended.stderr
