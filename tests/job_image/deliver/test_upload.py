"""Uploading: the same folder on the remote, whatever kind it is, and nothing that is not course."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from contract.errors import Misconfigured, Stopped, Temporary
from job_image import rclone as tool
from job_image.upload import upload
from tests.job_image.deliver.run import Run, Runs, until
from tests.job_image.deliver.scripted_webdav import Script, scripted

pytestmark = pytest.mark.usefixtures("rclone")
ODD = '07 - Ünïcode & "quotes"/003 It\'s 100% — done?.mp4'
SLOW = "--bwlimit 2M"


def course(run: Run, size: int = 200_000) -> dict[str, bytes]:
    """Put a small course into the sandbox; return its files by path."""
    files = {name: os.urandom(size) for name in ("01 - Start/001 A.mp4", "02/002 B.mp4", ODD)}
    for name, content in files.items():
        run.file(f"test-course/{name}", content)
    return files


def stored(folder: Path) -> dict[str, bytes]:
    """All files below a folder by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_plain_path_is_a_remote(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    files = course(run)
    upload(run.context(), "test-course")
    assert stored(tmp_path / "out" / "test-course") == files


def test_webdav_gets_the_folder(runs: Runs, webdav: Path) -> None:
    run = runs(RCLONE_REMOTE="dav:Courses/2026", RCLONE_CONFIG=str(webdav))
    files = course(run)
    upload(run.context(), "test-course")
    assert stored(webdav.parent / "dav/Courses/2026/test-course") == files


def test_s3_gets_the_folder(runs: Runs, s3: Path) -> None:
    run = runs(RCLONE_REMOTE="s3:courses", RCLONE_CONFIG=str(s3))
    files = course(run)
    upload(run.context(), "test-course")
    assert stored(s3.parent / "s3/courses/test-course") == files


def test_a_remote_without_a_path_gets_the_folder_at_its_top(runs: Runs, webdav: Path) -> None:
    run = runs(RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(webdav))
    files = course(run)
    upload(run.context(), "test-course")
    assert stored(webdav.parent / "dav/test-course") == files


def test_unfinished_files_and_state_stay_here(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    files = course(run)
    run.file("test-course/02/003 C.mp4.part", b"half")
    run.file("test-course/.state/inner", b"state")
    run.file(".state/state.json", b"{}")
    upload(run.context(), "test-course")
    assert stored(tmp_path / "out") == {f"test-course/{name}": data for name, data in files.items()}


def test_nothing_is_deleted_on_either_side(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    files = course(run)
    foreign = tmp_path / "out/test-course/mine.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"kept")
    upload(run.context(), "test-course")
    assert foreign.read_bytes() == b"kept"
    assert stored(run.root / "test-course") == files


def test_a_repeated_upload_moves_only_what_is_missing(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    course(run)
    upload(run.context(), "test-course")
    there = tmp_path / "out/test-course/01 - Start/001 A.mp4"
    before = there.stat().st_ino
    (tmp_path / "out/test-course/02/002 B.mp4").unlink()
    upload(run.context(), "test-course")
    assert there.stat().st_ino == before
    assert (tmp_path / "out/test-course/02/002 B.mp4").exists()


def test_progress_reaches_the_total_and_never_runs_backwards(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"), RCLONE_FLAGS="--bwlimit 1M --stats 200ms")
    course(run, 700_000)
    context = run.context()
    upload(context, "test-course")
    context.progress.say("done")
    assert run.seen.updates[0]["phase"] == "upload"
    bytes_ = run.seen.numbers("bytes")
    assert bytes_[-1] == 2_100_000
    assert bytes_ == sorted(bytes_)
    assert any(0 < number < 2_100_000 for number in bytes_)
    assert run.seen.numbers("percent")[-1] == 97.0


def test_what_was_there_counts_from_the_first_moment(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    course(run, 2_000_000)
    upload(run.context(), "test-course")
    run.file("test-course/02/003 C.mp4", os.urandom(3_000_000))
    run.seen.updates.clear()
    run.environ["RCLONE_FLAGS"] = "--bwlimit 1M --stats 200ms"
    upload(run.context(), "test-course")
    moving = [number for number in run.seen.numbers("bytes") if number]
    assert moving
    assert 6_000_000 <= min(moving) < 9_000_000


def test_bytes_that_are_sent_again_count_once(runs: Runs, tmp_path: Path) -> None:
    with scripted(tmp_path, Script(503, "busy", times=4)) as config:
        run = runs(RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(config), RCLONE_FLAGS="--stats 50ms")
        course(run, 300_000)
        context = run.context()
        upload(context, "test-course")
    context.progress.say("done")
    assert run.seen.numbers("bytes")[-1] == 900_000


def test_a_line_tells_every_five_percent(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"), RCLONE_FLAGS="--bwlimit 1M --stats 100ms")
    course(run, 700_000)
    upload(run.context(), "test-course")
    percents = [int(line.split(" %")[0]) for line in run.lines("UPLOAD") if " %:" in line]
    assert 3 <= len(percents) <= 21
    assert all(later - earlier >= 1 for earlier, later in pairwise(percents))
    assert '"level"' not in run.log  # rclone's own output never goes through raw


def test_a_folder_that_is_gone_is_said(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    with pytest.raises(Misconfigured, match="test-course is not on the volume"):
        upload(run.context(), "test-course")


# --- configuration and surroundings ---------------------------------------------------------------
def test_a_configuration_that_may_not_be_written_is_enough(
    runs: Runs, webdav: Path, tmp_path: Path
) -> None:
    webdav.chmod(0o400)
    before = webdav.read_bytes()
    run = runs(RCLONE_REMOTE="dav:Courses", RCLONE_CONFIG=str(webdav))
    course(run)
    upload(run.context(), "test-course")
    assert webdav.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("rclone.conf*")) == ["rclone.conf"]


def test_the_copy_is_private_and_goes(runs: Runs, webdav: Path) -> None:
    context = runs(RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(webdav)).context()
    with tool.prepared(context.settings.upload) as ready:
        copy = Path(ready.environment["RCLONE_CONFIG"])
        assert copy.read_bytes() == webdav.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o600
        assert ready.scratch.stat().st_mode & 0o777 == 0o700
        for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
            assert ready.environment[name] == str(ready.scratch)
    assert not ready.scratch.exists()


def test_a_renewed_token_is_put_back_where_that_is_allowed(runs: Runs, webdav: Path) -> None:
    webdav.chmod(0o640)
    context = runs(RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(webdav)).context()
    with tool.prepared(context.settings.upload) as ready:
        Path(ready.environment["RCLONE_CONFIG"]).write_text("[dav]\ntoken = renewed\n")
    assert webdav.read_text() == "[dav]\ntoken = renewed\n"
    assert webdav.stat().st_mode & 0o777 == 0o640


def test_a_configuration_changed_meanwhile_is_left_alone(runs: Runs, webdav: Path) -> None:
    context = runs(RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(webdav)).context()
    with tool.prepared(context.settings.upload) as ready:
        Path(ready.environment["RCLONE_CONFIG"]).write_text("[dav]\ntoken = ours\n")
        webdav.write_text("[dav]\ntoken = theirs\n")
    assert webdav.read_text() == "[dav]\ntoken = theirs\n"


def test_a_remote_may_be_set_in_the_environment_alone(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RCLONE_CONFIG_HERE_TYPE", "alias")
    monkeypatch.setenv("RCLONE_CONFIG_HERE_REMOTE", str(tmp_path / "out"))
    run = runs(RCLONE_REMOTE="here:Courses")
    files = course(run)
    upload(run.context(), "test-course")
    assert stored(tmp_path / "out/Courses/test-course") == files


def test_a_remote_may_be_set_in_mounted_files(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings/RCLONE_CONFIG_HERE_TYPE").write_text("alias\n")
    (tmp_path / "settings/RCLONE_CONFIG_HERE_REMOTE").write_text(f"{tmp_path}/out\n")
    monkeypatch.setenv("SETTINGS_DIR", str(tmp_path / "settings"))
    run = runs(RCLONE_REMOTE="here:Courses")
    files = course(run)
    upload(run.context(), "test-course")
    assert stored(tmp_path / "out/Courses/test-course") == files


def test_rclone_sees_none_of_our_secrets(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_SECRET_KEY", "s3cret-in-the-environment")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h/d")
    with tool.prepared(runs().context().settings.upload) as ready:
        assert not {"API_SECRET_KEY", "DATABASE_URL"} & set(ready.environment)
        assert ready.environment["PATH"] == os.environ["PATH"]


# --- being told to stop ---------------------------------------------------------------------------
def test_a_stop_ends_the_upload_within_seconds(runs: Runs, tmp_path: Path) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"), RCLONE_FLAGS=f"{SLOW} --stats 100ms")
    course(run, 8_000_000)
    context = run.context()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            upload(context, "test-course")
        except Stopped as exc:
            ended.append(exc)

    worker = threading.Thread(target=work)
    worker.start()
    until(lambda: any(run.seen.numbers("bytes")), "the upload moves")
    run.stop.request()
    worker.join(15)
    assert not worker.is_alive()
    assert len(ended) == 1
    assert not list((tmp_path / "out").rglob("*.partial"))


@contextmanager
def uploading(run: Run, place: Path) -> Iterator[subprocess.Popen[str]]:
    """The upload as a program of its own, once its first file is on its way."""
    command = [sys.executable, "-m", "tests.job_image.deliver.upload_step", "test-course"]
    environment = {
        **os.environ,
        "TASK": '{"taskId":999,"courseUrl":"https://x.example/course/test-course"}',
        "SANDBOX": str(run.root),
        "PLATFORM_TOKEN": "unused",
        "RCLONE_REMOTE": str(place / "out"),
        "RCLONE_FLAGS": SLOW,
        "TMPDIR": str(place),
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: list((place / "out").rglob("*.partial")), "a file is on its way")
        yield process


def test_sigterm_ends_the_program_and_its_rclone_and_the_next_run_completes(
    runs: Runs, tmp_path: Path
) -> None:
    run = runs(RCLONE_REMOTE=str(tmp_path / "out"))
    files = course(run, 4_000_000)
    with uploading(run, tmp_path) as process:
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 143
    assert not Path(f"/proc/{child}").exists()
    assert not list((tmp_path / "out").rglob("*.partial"))
    upload(run.context(), "test-course")
    assert stored(tmp_path / "out/test-course") == files


def test_rclone_does_not_outlive_a_killed_program(runs: Runs, tmp_path: Path) -> None:
    run = runs()
    course(run, 4_000_000)
    with uploading(run, tmp_path) as process:
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        process.kill()
    until(lambda: not Path(f"/proc/{child}").exists(), "the kernel ends rclone")


def test_a_remote_that_hangs_is_given_up(runs: Runs, silent_webdav: Path) -> None:
    run = runs(RCLONE_REMOTE="dav:Courses", RCLONE_CONFIG=str(silent_webdav))
    course(run, 1000)
    with pytest.raises(Temporary, match="moved nothing for 1 s"):
        upload(run.context(), "test-course", stall=1.0)
