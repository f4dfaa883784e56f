"""What a failed upload means: passing or final, told with file, remote and rclone's own words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contract.errors import CourseRunnerError, Misconfigured, Temporary
from contract.log import Redactor
from job_image.rclone_failure import DAY_LIMIT_WAIT, Ended, failure, shown, words
from job_image.upload import upload
from tests.job_image.deliver.run import Runs
from tests.job_image.deliver.scripted_webdav import Script, scripted
from tests.services import free_port

pytestmark = pytest.mark.usefixtures("rclone")
QUICK = "--low-level-retries 1"


def failed(runs: Runs, remote: str, config: Path | None = None, flags: str = QUICK) -> str:
    """Upload one file and return the error's type, summary and advice."""
    settings = {"RCLONE_REMOTE": remote, "RCLONE_FLAGS": flags}
    run = runs(**settings, **({"RCLONE_CONFIG": str(config)} if config else {}))
    run.file("test-course/01/001 A.mp4", os.urandom(1000))
    with pytest.raises(CourseRunnerError) as caught:
        upload(run.context(), "test-course")
    error = caught.value
    return f"{type(error).__name__}: {error.summary} / {error.advice}"


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (Script(401, "nope", "*"), "Misconfigured", "401 Unauthorized"),
        (Script(403, '{"reason": "storageQuotaExceeded"}'), "Misconfigured", "Make room"),
        (Script(507, "full"), "Misconfigured", "Make room"),
        (Script(403, "read only share"), "Misconfigured", "may write to this folder"),
        (Script(403, '{"reason": "userRateLimitExceeded"}'), "Temporary", "userRateLimit"),
        (Script(503, "busy"), "Temporary", "503 Service Unavailable"),
        (Script(503, "busy", "*"), "Temporary", "503 Service Unavailable"),
        (Script(500, "oops"), "Temporary", "500 Internal Server Error"),
        (Script(429, "slower"), "Temporary", "429 Too Many Requests"),
        (Script(423, "locked"), "Temporary", "423 Locked"),
        (Script(404, "gone"), "Temporary", "404 Not Found"),
    ],
    ids=lambda value: f"{value.status}-{value.method}" if isinstance(value, Script) else None,
)
def test_each_answer_of_a_server_is_judged(
    runs: Runs, tmp_path: Path, script: Script, kind: str, said: str
) -> None:
    with scripted(tmp_path, script) as config:
        told = failed(runs, "dav:Courses", config)
    assert told.startswith(kind)
    assert said in told
    assert "Uploading test-course to dav:Courses failed" in told
    if script.method == "PUT":
        assert "(01/001 A.mp4)" in told


def test_a_refused_connection_is_passing(runs: Runs, tmp_path: Path) -> None:
    config = tmp_path / "rclone.conf"
    config.write_text(f"[dav]\ntype = webdav\nurl = http://127.0.0.1:{free_port()}\n")
    told = failed(runs, "dav:", config)
    assert told.startswith("Temporary")
    assert "connection refused" in told


def test_a_host_nobody_knows_is_passing(runs: Runs, tmp_path: Path) -> None:
    config = tmp_path / "rclone.conf"
    config.write_text("[dav]\ntype = webdav\nurl = http://nowhere.invalid/\n")
    assert failed(runs, "dav:", config).startswith("Temporary")


def test_an_unknown_remote_is_final(runs: Runs) -> None:
    told = failed(runs, "gdrive:Courses")
    assert told.startswith("Misconfigured")
    assert "didn't find section in config file" in told
    assert "RCLONE_CONFIG" in told


def test_an_unknown_flag_is_final_and_no_page_of_usage_is_logged(
    runs: Runs, tmp_path: Path
) -> None:
    told = failed(runs, str(tmp_path / "out"), flags="--no-such-flag")
    assert told.startswith("Misconfigured")
    assert "unknown flag: --no-such-flag" in told


def test_a_configuration_that_is_not_there_is_final(runs: Runs, tmp_path: Path) -> None:
    told = failed(runs, "dav:", tmp_path / "missing.conf")
    assert told.startswith("Misconfigured")
    assert "missing.conf cannot be read: No such file" in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_disk_as_remote_is_final(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "out/test-course/01").mkdir(parents=True)
    (tmp_path / "out/test-course/01/001 A.mp4").symlink_to("/dev/full")
    told = failed(runs, str(tmp_path / "out"), flags=f"{QUICK} --inplace --copy-links")
    assert told.startswith("Misconfigured")
    assert "no space left on device" in told


def test_options_of_a_connection_string_are_never_shown(runs: Runs) -> None:
    run_told = failed(runs, ":webdav,url='http://127.0.0.1:1',pass='hush-hush':Courses")
    assert "hush-hush" not in run_told
    assert ":webdav,…:Courses" in run_told


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("gdrive:Courses", "gdrive:Courses"),
        ("/mnt/a,b:c", "/mnt/a,b:c"),
        (":webdav,url='http://h:1',pass=x:a/b", ":webdav,…:a/b"),
        ('dav,user="a:b""c",pass=p:', "dav,…:"),
        ("my remote,vendor=other:x", "my remote,…:x"),
    ],
)
def test_a_remote_is_shown_without_options(remote: str, expected: str) -> None:
    assert shown(remote) == expected


GOOGLE = "googleapi: Error 403: The user's Drive storage quota has been exceeded., "


@pytest.mark.parametrize(
    ("ended", "kind", "advice"),
    [
        (Ended(7, GOOGLE + "storageQuotaExceeded"), Misconfigured, "Make room"),
        (Ended(1, GOOGLE + "storageQuotaExceeded"), Misconfigured, "Make room"),
        (Ended(7, "googleapi: … teamDriveFileLimitExceeded"), Misconfigured, "Make room"),
        (Ended(1, "couldn't fetch token: invalid_grant: expired"), Misconfigured, "Renew"),
        (Ended(1, "googleapi: Error 401: Invalid Credentials"), Misconfigured, "Renew"),
        (Ended(1, "googleapi: Error 403: x, rateLimitExceeded"), Temporary, ""),
        (Ended(1, "googleapi: Error 403: Quota exceeded, rateLimitExceeded"), Temporary, ""),
        (Ended(1, "AccessDenied: Access Denied\n\tstatus code: 403"), Misconfigured, "Renew"),
        (Ended(1, "oauth: dial tcp: i/o timeout", critical=True), Temporary, ""),
        (Ended(1, "something nobody has seen"), Temporary, ""),
        (Ended(1, "something nobody has seen", critical=True), Misconfigured, "RCLONE_REMOTE"),
        (Ended(3, "directory not found"), Misconfigured, "RCLONE_REMOTE"),
        (Ended(4, "object not found"), Temporary, ""),
        (Ended(5, "unexpected EOF"), Temporary, ""),
        (Ended(6, "immutable file modified"), Misconfigured, "RCLONE_FLAGS"),
        (Ended(8, "max transfer limit reached"), Temporary, ""),
        (Ended(10, "max duration reached"), Temporary, ""),
        (Ended(143), Temporary, ""),
        (Ended(-9), Temporary, ""),
        (Ended(1, 'open "Lecture 401/507 storage.mp4": file vanished'), Temporary, ""),
    ],
)
def test_each_end_of_rclone_is_judged(
    ended: Ended, kind: type[CourseRunnerError], advice: str
) -> None:
    error = failure(ended, "Uploading x", "gdrive:Courses", Redactor())
    assert type(error) is kind
    assert advice in error.advice


def test_a_limit_per_day_waits_for_hours_and_not_for_seconds() -> None:
    ended = Ended(7, "googleapi: Error 403: User rate limit exceeded., userRateLimitExceeded")
    error = failure(ended, "Uploading x", "gdrive:Courses", Redactor())
    assert isinstance(error, Temporary)
    assert error.retry_after == DAY_LIMIT_WAIT


def test_words_are_short_and_without_secrets() -> None:
    told = words("bad:\n" + "x" * 1000 + " https://h/p?sig=abc", Redactor(["secret-value"]))
    assert len(told) <= 300
    assert "\n" not in told
    assert words("see secret-value at https://h/p?sig=abc", Redactor(["secret-value"])) == (
        "see **** at https://h/p?****"
    )


def test_many_failed_files_are_counted_and_not_listed() -> None:
    ended = Ended(1, "busy", names=tuple("abcdef"))
    error = failure(ended, "Uploading x", "r:", Redactor())
    assert "(a, b, c and 3 more)" in error.summary
