"""The volume: one writer, durable writes, refusals that say what and where."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import Stopped, Temporary, VolumeFull
from job_image.sandbox import Sandbox, locked, refusals, write_durably


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """An empty volume."""
    made = Sandbox(tmp_path)
    made.prepare()
    return made


HOLDER = (
    "import sys; from pathlib import Path; from job_image.sandbox import *\n"
    "with locked(Sandbox(Path(sys.argv[1])), 'another'):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(sandbox: Sandbox) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the volume's lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(sandbox.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_kept_out_as_if_told_to_stop(
    sandbox: Sandbox, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(Stopped, match="Another process"), locked(sandbox, "me"):
        raise AssertionError("two writers")
    assert (sandbox.state / "lock").read_text() == "another\n"


def test_the_lock_dies_with_its_process(sandbox: Sandbox, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    with locked(sandbox, "me"):
        assert (sandbox.state / "lock").read_text() == "me\n"


def test_the_lock_can_be_taken_again_after_it_was_let_go(sandbox: Sandbox) -> None:
    for owner in ("one", "two"):
        with locked(sandbox, owner):
            pass
    assert (sandbox.state / "lock").read_text() == "two\n"


def test_a_durable_write_replaces_the_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"a" * 100)
    write_durably(path, b"b")
    assert path.read_bytes() == b"b"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_is_a_full_volume_with_a_cure(number: int) -> None:
    full = pytest.raises(VolumeFull, match=r"full: writing film\.mp4")
    with full as caught, refusals(Path("/sandbox/film.mp4")):
        raise OSError(number, os.strerror(number))
    assert "volumeSize" in caught.value.advice


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_any_other_refusal_is_a_passing_failure_that_names_the_file(number: int) -> None:
    passing = pytest.raises(Temporary, match=r"film\.mp4.*" + os.strerror(number)[:10])
    with passing, refusals(Path("/sandbox/film.mp4")):
        raise OSError(number, os.strerror(number))


def test_a_folder_that_cannot_be_made_is_a_passing_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Temporary, match="file"):
        Sandbox(tmp_path / "file").prepare()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Sandbox]:
    """A real volume without a free byte."""
    volume = tmp_path / "small"
    volume.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(volume)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("LOUD SKIP: mounting a small tmpfs needs root")
    try:
        made = Sandbox(volume)
        made.prepare()
        with pytest.raises(OSError, match="No space"), (volume / "ballast").open("wb", 0) as file:
            while True:
                file.write(b"x" * 4096)
        yield made
    finally:
        subprocess.run(["umount", str(volume)], check=True)


def test_on_a_full_volume_the_lock_is_still_taken_and_writing_says_what_is_wrong(
    full: Sandbox,
) -> None:
    """The run must be able to end, and a closing run to tell the backend."""
    with locked(full, "me"), pytest.raises(VolumeFull, match=r"state\.json"):
        write_durably(full.state_file("state.json"), b"x" * 8192)
