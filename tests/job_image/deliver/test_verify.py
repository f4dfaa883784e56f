"""Comparing: what is equal passes, what differs is named, and by what was compared is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contract.errors import Misconfigured, Temporary
from job_image.upload import upload
from job_image.verify import read_report, verify
from tests.job_image.deliver.run import Run, Runs
from tests.job_image.deliver.scripted_webdav import Script, scripted

pytestmark = pytest.mark.usefixtures("rclone")
NAME = "01 - Start/001 A.mp4"


def uploaded(run: Run) -> Run:
    """Put two files into the sandbox and upload them."""
    run.file(f"test-course/{NAME}", os.urandom(5000))
    run.file("test-course/02/002 B.mp4", os.urandom(5000))
    upload(run.context(), "test-course")
    return run


def test_a_plain_path_is_compared_by_hash(runs: Runs, tmp_path: Path) -> None:
    run = uploaded(runs(RCLONE_REMOTE=str(tmp_path / "out")))
    assert verify(run.context(), "test-course") == "hash"
    assert run.lines("CHECK") == ["2 files compared by hash; all are equal."]


def test_s3_is_compared_by_hash(runs: Runs, s3: Path) -> None:
    run = uploaded(runs(RCLONE_REMOTE="s3:courses", RCLONE_CONFIG=str(s3)))
    assert verify(run.context(), "test-course") == "hash"


def test_a_remote_without_hashes_is_compared_by_size_and_that_is_said(
    runs: Runs, webdav: Path
) -> None:
    run = uploaded(runs(RCLONE_REMOTE="dav:Courses", RCLONE_CONFIG=str(webdav)))
    assert verify(run.context(), "test-course") == "size"
    assert run.lines("CHECK") == [
        "2 files compared by size only: the remote has no hash for 2 of them."
    ]


def test_a_changed_byte_is_found_and_the_next_upload_mends_it(runs: Runs, tmp_path: Path) -> None:
    run = uploaded(runs(RCLONE_REMOTE=str(tmp_path / "out")))
    there = tmp_path / "out/test-course" / NAME
    content = bytearray(there.read_bytes())
    content[0] ^= 1
    there.write_bytes(content)
    with pytest.raises(Temporary, match=f"differs in {NAME}"):
        verify(run.context(), "test-course")
    upload(run.context(), "test-course")
    assert verify(run.context(), "test-course") == "hash"


def test_a_missing_file_is_named(runs: Runs, webdav: Path) -> None:
    run = uploaded(runs(RCLONE_REMOTE="dav:Courses", RCLONE_CONFIG=str(webdav)))
    (webdav.parent / "dav/Courses/test-course" / NAME).unlink()
    with pytest.raises(Temporary, match=f"dav:Courses differs in {NAME}"):
        verify(run.context(), "test-course")


def test_a_shorter_file_is_found_by_size_alone(runs: Runs, webdav: Path) -> None:
    run = uploaded(runs(RCLONE_REMOTE="dav:Courses", RCLONE_CONFIG=str(webdav)))
    (webdav.parent / "dav/Courses/test-course" / NAME).write_bytes(b"short")
    with pytest.raises(Temporary, match=NAME):
        verify(run.context(), "test-course")


def test_unfinished_files_are_not_expected_on_the_remote(runs: Runs, tmp_path: Path) -> None:
    run = uploaded(runs(RCLONE_REMOTE=str(tmp_path / "out")))
    run.file("test-course/02/003 C.mp4.part", b"half")
    assert verify(run.context(), "test-course") == "hash"


def test_a_remote_that_is_away_is_no_difference(runs: Runs, tmp_path: Path) -> None:
    with scripted(tmp_path, Script(503, "busy", "*")) as config:
        run = runs(
            RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(config), RCLONE_FLAGS="--low-level-retries 1"
        )
        run.file(f"test-course/{NAME}", b"x")
        with pytest.raises(Temporary, match=r"Comparing test-course to dav: failed: .*503"):
            verify(run.context(), "test-course")


def test_a_refused_login_is_final(runs: Runs, tmp_path: Path) -> None:
    with scripted(tmp_path, Script(401, "no", "*")) as config:
        run = runs(RCLONE_REMOTE="dav:", RCLONE_CONFIG=str(config))
        run.file(f"test-course/{NAME}", b"x")
        with pytest.raises(Misconfigured, match="401"):
            verify(run.context(), "test-course")


def test_a_report_is_read_by_its_signs(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("= a b\n* c\n+ d\u2028e\n! f\n")
    assert read_report(path) == (["a b"], ["d\u2028e", "c"])
    assert read_report(tmp_path / "none") == ([], [])
