"""Folders as volumes: what is ours, what is not, and what a broken one becomes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract import names
from contract.handoff import Assignment
from contract.log import LOGGER
from dispatcher.executors import Busy, Phase, Refused, Unavailable
from dispatcher.executors.local import LocalExecutor, files
from tests.dispatcher.executors.bench import Stage, order
from tests.dispatcher.executors.local_bench import LocalBench

NOBODY = 65534


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The product's log, caught."""
    logger = logging.getLogger(LOGGER)
    logger.propagate = True
    caplog.set_level(logging.WARNING, LOGGER)
    return caplog


def test_the_folder_is_named_as_the_old_worker_named_it(local: LocalBench) -> None:
    """Task 999 lives in `Task_999` below the staging folder."""
    stage = Stage(local, order(task_id=999))
    stage.executor.ensure_volume(stage.task)
    assert (local.folder / "Task_999" / ".state").is_dir()


def test_a_strangers_folder_is_left_alone(
    local: LocalBench, warnings: pytest.LogCaptureFixture
) -> None:
    """A folder without our record is no holding, is warned of once, and is never touched."""
    strange = local.folder / "Task_5"
    strange.mkdir(parents=True)
    (strange / "lecture.mp4").write_text("x")
    (local.folder / "notes.txt").touch()
    stage = Stage(local, order(task_id=5))
    assert stage.executor.holdings() == {}
    with pytest.raises(Refused, match="Task_5"):
        stage.executor.ensure_volume(stage.task)
    with pytest.raises(Refused, match="Task_5"):
        stage.executor.start_run(Assignment(stage.task, 1))
    stage.executor.wait(1.0)
    assert [r for r in warnings.messages if "Task_5" in r and "left alone" in r] == [
        f"Folder {strange} has no record of ours; it is left alone."
    ]
    assert (strange / "lecture.mp4").read_text() == "x"
    assert stage.executor.trouble() == ""


def test_a_copy_of_a_task_is_no_second_task(
    local: LocalBench, warnings: pytest.LogCaptureFixture
) -> None:
    """A folder that somebody copied keeps the record of its original, and is left alone."""
    stage = Stage(local, order(task_id=7))
    stage.executor.ensure_volume(stage.task)
    shutil.copytree(local.root(stage.task), local.folder / "Task_7-copy")
    stage = stage.again()
    assert list(stage.executor.holdings()) == [stage.name]
    assert any("Task_7-copy" in message for message in warnings.messages)


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"id":"x"}', '{"marks":{"a":1}}', "\0" * 90])
def test_a_broken_record_is_kept_and_rebuilt(local: LocalBench, broken: str) -> None:
    """A record that cannot be read is kept as .bad; id, message and attempt are rebuilt."""
    stage = Stage(local, order([["exit", 75]]))
    stage.start_and_end(1)
    stage.start_and_end(2)
    stage.executor.mark(stage.name, {names.ATTEMPT: "2", names.RETRY_AT: "5"})
    volume = stage.volume
    local.state(stage.task, "record.json").write_text(broken)
    stage = stage.again()
    assert (stage.volume.id, stage.volume.created) == (volume.id, volume.created)
    assert stage.marks() == {names.MESSAGE: stage.task.dump(), names.ATTEMPT: "2"}
    assert local.state(stage.task, "record.json.bad").read_text() == broken
    assert json.loads(local.state(stage.task, "record.json").read_text())["id"] == volume.id
    assert stage.executor.trouble() == ""
    assert stage.ended(2).phase is Phase.FAILED


def test_a_second_broken_record_overwrites_nothing(local: LocalBench) -> None:
    """What was put aside before stays; the next broken record goes beside it."""
    stage = Stage(local, order())
    for number in ("one", "two"):
        stage.executor.ensure_volume(stage.task)
        local.state(stage.task, "record.json").write_text(number)
        stage = stage.again()
    kept = [local.state(stage.task, f"record.json{end}").read_text() for end in (".bad", ".bad2")]
    assert kept == ["one", "two"]


def test_a_record_beyond_repair_is_a_trouble(local: LocalBench) -> None:
    """Without record and identity the folder is kept, refused and reported, until mended."""
    stage = Stage(local, order([["exit", 75]]))
    stage.executor.ensure_volume(stage.task)
    stage.executor.close()
    identity = local.state(stage.task, "identity.json")
    sound = identity.read_text()
    identity.write_text("x")
    local.state(stage.task, "record.json").write_text("y")
    stage = Stage(local, stage.task)
    assert stage.holding is None
    assert local.root(stage.task).name in stage.executor.trouble()
    with pytest.raises(Refused):
        stage.executor.ensure_volume(stage.task)
    assert local.state(stage.task, "record.json").read_text() == "y"
    identity.write_text(sound)
    stage.until(lambda: stage.holding is not None, "the mended folder shows")
    assert stage.executor.trouble() == ""


def test_a_broken_record_of_a_run_is_kept(local: LocalBench) -> None:
    """A run's record that cannot be read is kept as .bad; the lock still tells what is alive."""
    stage = Stage(local, order([["say", "ready"], ["wait for", "gate"]]))
    stage.start()
    stage.printed("ready")
    local.state(stage.task, "run.json").write_text('{"id":')
    stage.until(lambda: stage.run is None, "the run is forgotten")
    assert local.state(stage.task, "run.json.bad").read_text() == '{"id":'
    with pytest.raises(Busy):
        stage.executor.start_run(Assignment(stage.task, 1))
    with pytest.raises(Busy):
        stage.executor.remove_volume(stage.name, stage.volume.id)
    stage.open("gate")
    assert stage.start() is True
    assert stage.ended().phase is Phase.SUCCEEDED


def test_what_a_crash_left_half_done_is_finished(local: LocalBench) -> None:
    """Half-made and half-removed folders are no tasks, and go at the next start."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    stage.executor.close()
    removed = local.folder / ".deleting-3f0c"
    local.root(stage.task).rename(removed)
    (removed / "chapter").mkdir()
    (removed / "chapter" / "lecture.mp4").write_text("x")
    (local.folder / ".new-77aa" / ".state").mkdir(parents=True)
    stage = Stage(local, stage.task)
    assert stage.executor.holdings() == {}
    assert [path.name for path in local.folder.iterdir()] == [".lock"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of an ordinary user, who we are meanwhile: root is stopped by no right."""
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp())
    if root:
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_is_removed_whatever_is_in_it(place: Path) -> None:
    """Locked folders, broken and outward links go; what a link points to stays."""
    outside, doomed = place / "precious", place / "doomed"
    inner = doomed / "locked" / "inner"
    inner.mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_text("x")
    (inner / "file").write_text("x")
    (inner / "link").symlink_to(outside)
    (inner / "broken").symlink_to("nowhere")
    (inner / "closed").mkdir(mode=0o000)
    outside.chmod(0o500)
    inner.chmod(0o000)
    inner.parent.chmod(0o500)
    with pytest.raises(PermissionError):
        next(inner.iterdir())
    files.remove_tree(doomed)
    assert not doomed.exists()
    assert (outside / "file").read_text() == "x"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o500


def test_what_cannot_be_removed_is_a_trouble_and_no_task(local: LocalBench) -> None:
    """A volume whose files resist is no task any more; `trouble` names the rest until it goes."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    (local.root(stage.task) / "mounted").mkdir()
    with _resisting(local.root(stage.task) / "mounted"):
        stage.executor.remove_volume(stage.name, stage.volume.id)
        assert stage.holding is None
        (left,) = local.folder.glob(".deleting-*")
        assert str(left) in stage.executor.trouble()
        stage = stage.again()
        assert str(left) in stage.executor.trouble()
    stage = stage.again()
    assert not left.exists()
    assert stage.executor.trouble() == ""


@contextmanager
def _resisting(folder: Path) -> Iterator[None]:
    """Have a file in `folder` that nobody can remove; skip where that cannot be arranged."""
    (folder / "file").touch()
    if subprocess.run(["chattr", "+i", folder / "file"], check=False).returncode:
        pytest.skip("needs the right to make a file immutable")
    number = (folder / "file").stat().st_ino
    try:
        yield
    finally:
        base = next(p for p in folder.parents if p.name == "Staging_Download")
        found = [path for path in base.rglob("file") if path.stat().st_ino == number]
        subprocess.run(["chattr", "-i", *found], check=True)


def test_a_folder_removed_by_hand_is_gone(local: LocalBench) -> None:
    """Whoever deletes a task's folder has removed the task; that is seen, and no trouble."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    shutil.rmtree(local.root(stage.task))
    stage.until(lambda: stage.holding is None, "the holding is gone")
    assert stage.executor.trouble() == ""


def test_a_staging_place_that_is_no_folder(tmp_path: Path) -> None:
    """A staging folder that cannot be made is `Unavailable`, with its name."""
    (tmp_path / "Staging_Download").write_text("a file")
    executor = LocalExecutor(tmp_path / "Staging_Download", os.environ)
    with pytest.raises(Unavailable, match="Staging_Download"):
        executor.start()
    executor.close()


def test_the_staging_folder_going_away_is_a_trouble(local: LocalBench) -> None:
    """While the disk is away nothing is forgotten, and `trouble` says so; then all is well."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    away = local.folder.rename(local.folder.with_name("away"))
    stage.until(lambda: "Staging_Download" in stage.executor.trouble(), "the trouble shows")
    assert stage.holding is not None
    away.rename(local.folder)
    stage.until(lambda: stage.executor.trouble() == "", "the trouble is over")
    assert stage.holding is not None


def test_the_size_of_a_volume(local: LocalBench) -> None:
    """`used_bytes` is what the folder takes on the disk; nothing for one that is not there."""
    stage = Stage(local, order())
    stage.executor.ensure_volume(stage.task)
    folder = local.root(stage.task)
    before = files.used_bytes(folder)
    (folder / "lecture.mp4").write_bytes(os.urandom(1 << 20))
    assert files.used_bytes(folder) - before >= 1 << 20
    assert files.used_bytes(folder / "unknown") == 0
