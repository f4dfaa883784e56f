"""An own downloader: what it is given, what its end means, what it leaves behind."""

from __future__ import annotations

import shlex
import sys
import threading
from pathlib import Path

import pytest

from contract.errors import (
    AuthExpired,
    BlockedByPlatform,
    CourseRunnerError,
    Misconfigured,
    NotEntitled,
    Stopped,
    Temporary,
    VolumeFull,
)
from job_image.sources.command import fetch, folder_name
from tests.job_image.deliver.run import TOKEN, Run, Runs, alive, until


def own(runs: Runs, script: str, *arguments: str, **settings: str) -> Run:
    """A run whose downloader is a shell script; `$1` is its folder, `$2` the course's address."""
    words = ["sh", "-c", script, "downloader", "{dir}", "{url}", *arguments]
    return runs(DOWNLOAD_COMMAND=shlex.join(words), **settings)


def test_what_it_leaves_is_the_course(runs: Runs) -> None:
    run = own(runs, 'mkdir "$1/01"; printf 12345 > "$1/01/a.mp4"; printf 1 > "$1/b.pdf"')
    fetched = fetch(run.context())
    assert (fetched.folder, fetched.files) == ("test-course", 2)
    assert (fetched.bytes_fetched, fetched.bytes_reused) == (6, 0)
    assert (run.root / "test-course/01/a.mp4").read_bytes() == b"12345"


def test_what_was_there_is_told_apart(runs: Runs) -> None:
    run = own(runs, 'printf 12345 > "$1/b.mp4"')
    run.file("test-course/a.mp4", b"123")
    fetched = fetch(run.context())
    assert (fetched.files, fetched.bytes_fetched, fetched.bytes_reused) == (2, 5, 3)


def test_placeholders_stand_inside_words_and_no_shell_sees_them(runs: Runs) -> None:
    url = "https://h.example/course/a$(touch /tmp/x);b'\"/"
    program = "import sys, pathlib; pathlib.Path(sys.argv[1][6:], 'x').write_text(sys.argv[2])"
    command = shlex.join([sys.executable, "-c", program, "--dir={dir}", "--url={url} {dir} {x}"])
    run = runs(DOWNLOAD_COMMAND=command, course_url=url)
    folder = run.root / fetch(run.context()).folder
    assert (folder / "x").read_text() == f"--url={url} {folder} {{x}}"


def test_an_address_that_holds_a_placeholder_is_left_as_it_is(runs: Runs) -> None:
    url = "https://h.example/course/{dir}-{url}/"
    command = shlex.join(["sh", "-c", 'printf %s "$2" > "$1/x"', "x", "{dir}", "{url}"])
    run = runs(DOWNLOAD_COMMAND=command, course_url=url)
    assert (run.root / fetch(run.context()).folder / "x").read_text() == url


def test_its_lines_are_logged_without_secrets(runs: Runs) -> None:
    run = own(runs, 'echo "token is $PLATFORM_TOKEN"; echo problem >&2; touch "$1/a"')
    fetch(run.context())
    assert run.lines("DOWNLOAD") == ["token is ****", "problem"]
    assert TOKEN not in run.log
    assert run.seen.updates[-1]["message"] == "token is ****"


def test_it_sees_the_platforms_token_and_no_other_secret(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_SECRET_KEY", "never-for-a-downloader")
    run = own(runs, 'printf "%s|%s" "$PLATFORM_TOKEN" "$API_SECRET_KEY" > "$1/a"')
    fetch(run.context())
    assert (run.root / "test-course/a").read_text() == f"{TOKEN}|"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, Temporary),
        (2, Temporary),
        (64, Misconfigured),
        (65, AuthExpired),
        (66, NotEntitled),
        (67, BlockedByPlatform),
        (70, Temporary),
        (73, VolumeFull),
        (75, Temporary),
        (137, Temporary),
    ],
)
def test_an_exit_code_of_ours_keeps_its_meaning(
    runs: Runs, code: int, kind: type[CourseRunnerError]
) -> None:
    run = own(runs, f'touch "$1/a"; echo one; echo the reason; exit {code}')
    with pytest.raises(kind, match=rf"exit code {code}\): one \| the reason") as caught:
        fetch(run.context())
    assert type(caught.value) is kind


def test_only_the_last_lines_are_repeated(runs: Runs) -> None:
    run = own(runs, "seq 1 50; exit 1")
    with pytest.raises(Temporary, match=r": 46 \| 47 \| 48 \| 49 \| 50$"):
        fetch(run.context())


def test_a_kill_is_passing(runs: Runs) -> None:
    with pytest.raises(Temporary, match=r"signal 9 ended it\): it said nothing"):
        fetch(own(runs, "kill -9 $$").context())


def test_a_full_volume_is_seen_by_its_words(runs: Runs) -> None:
    run = own(runs, 'echo "OSError: [Errno 28] No space left on device"; exit 1')
    with pytest.raises(VolumeFull) as caught:
        fetch(run.context())
    assert "volumeSize" in caught.value.advice


def test_success_without_a_file_is_none(runs: Runs) -> None:
    run = own(runs, 'mkdir "$1/01"; touch "$1/01/half.mp4.part"')
    with pytest.raises(Temporary, match="produced no files"):
        fetch(run.context())


def test_a_program_that_is_not_there_is_final(runs: Runs) -> None:
    with pytest.raises(Misconfigured, match="there is no program no-such-program"):
        fetch(runs(DOWNLOAD_COMMAND="no-such-program {url} {dir}").context())


def test_a_timeout_ends_it_with_all_its_children(runs: Runs, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run = own(runs, f"sleep 300 & echo $! > {pid}; wait", DOWNLOAD_TIMEOUT="1s")
    with pytest.raises(Temporary, match=r"longer than DOWNLOAD_TIMEOUT \(1 s\)"):
        fetch(run.context())
    assert not alive(int(pid.read_text()))


def test_a_stop_ends_it_with_all_its_children(runs: Runs, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    run = own(runs, f"sleep 300 & echo $! > {pid}; echo ready; wait")
    context = run.context()

    def stop_when_ready() -> None:
        until(lambda: run.lines("DOWNLOAD"), "the downloader is ready")
        run.stop.request()

    threading.Thread(target=stop_when_ready, daemon=True).start()
    with pytest.raises(Stopped):
        fetch(context)
    assert not alive(int(pid.read_text()))


def test_after_a_failure_its_files_are_still_there(runs: Runs) -> None:
    run = own(runs, 'test -f "$1/a" && touch "$1/b" && exit 0; touch "$1/a"; exit 1')
    with pytest.raises(Temporary):
        fetch(run.context())
    assert fetch(run.context()).files == 2


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://www.udemy.com/course/test-course/", "test-course"),
        ("https://www.udemy.com/course/test-course/learn/lecture/1?x=1#2", "test-course"),
        ("https://h/courses/Deep%20Learning", "Deep-Learning"),
        ("https://h/course/K%C3%BCche", "Küche"),
        ("https://h/a/b/..%2f..%2fetc", "etc"),
        ("https://h/course/..", "course"),
        ("https://h/course/.state/", "state"),
        ("https://h/course/", "course"),
        ("https://h/" + "x" * 300, "x" * 100),
    ],
)
def test_the_folder_is_named_after_the_course(url: str, name: str) -> None:
    assert folder_name(url) == name
