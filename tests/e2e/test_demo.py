"""The demo, run as a newcomer runs it: as a process, in a folder of its own, offline.

Nothing is taken from the demo's own word that could be looked at: rows, files, processes.
"""

import json
import os
import pty
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DEMO = [sys.executable, "-m", "playground.demo", "--output"]
LIMIT = 240
"""Seconds; a demo takes about 40, on a busy machine several times that."""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all demos of this module, so that the sample media are made once."""
    return tmp_path_factory.mktemp("demo") / "demo-output"


def without_network(words: list[str]) -> list[str]:
    """Wrap a command so that it has loopback and no other network, where this user may do that."""
    offline = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "offline"]
    able = bool(shutil.which("unshare") and shutil.which("ip"))
    able = able and subprocess.run([*offline, "true"], capture_output=True).returncode == 0
    return [*offline, *words] if able else words


def at_work_in(folder: Path) -> list[str]:
    """The command lines of all processes that have to do with the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((entry / "cwd").readlink())
        except OSError:
            continue
        if entry.name != str(os.getpid()) and str(folder) in f"{words} {place}":
            found.append(f"{entry.name} {words}")
    return found


@pytest.fixture(scope="module")
def told(output: Path) -> subprocess.CompletedProcess[str]:
    """A whole demo, without a terminal and without a network."""
    return subprocess.run(
        without_network([*DEMO, str(output)]),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


@pytest.mark.timeout(LIMIT + 30)
def test_the_demo_ends_with_zero_and_every_fact_holds(
    told: subprocess.CompletedProcess[str], output: Path
) -> None:
    """Exit code 0, no FAIL in the summary, and the same facts for programs."""
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stderr == ""
    summary = json.loads((output / "summary.json").read_text())
    assert summary["ok"] and all(fact["holds"] for fact in summary["facts"].values())
    assert "FAIL" not in told.stdout
    for fact in summary["facts"].values():
        assert fact["sentence"] in told.stdout


def test_a_newcomer_learns_what_was_resumed(
    told: subprocess.CompletedProcess[str], output: Path
) -> None:
    """The killed order took a second run, which fetched what was missing and little more."""
    summary = json.loads((output / "summary.json").read_text())
    assert summary["attempts"]["999"] == 2
    assert summary["bytes"]["twice"] <= 1024 * 1024 * len(summary["killed"]["opened"])
    assert summary["reused_after_kill"] > 10_000_000
    assert f"{summary['bytes']['twice']:,} bytes were fetched twice" in told.stdout


def test_files_rows_webhooks_and_logs_are_where_the_summary_says(
    told: subprocess.CompletedProcess[str], output: Path
) -> None:
    """Each place that is named has what is promised there."""
    for place in ("remote/Courses", "orders.sqlite", "webhooks.jsonl", "logs/dispatcher.log"):
        assert str(output / place) in told.stdout
    with closing(sqlite3.connect(output / "orders.sqlite")) as rows:
        assert rows.execute("SELECT id, status FROM tasks ORDER BY id").fetchall() == [
            (999, "completed"),
            (1000, "completed"),
            (1001, "completed"),
        ]
    lectures = list((output / "remote/Courses").rglob("*.mp4"))
    assert sum(path.stat().st_size for path in lectures) > 30_000_000
    sent = [json.loads(line) for line in (output / "webhooks.jsonl").read_text().splitlines()]
    assert sorted(json.loads(d["body"])["task_id"] for d in sent if d["status"] == 200) == [
        999,
        1000,
        1001,
    ]
    assert "[RESUME]" in (output / "logs/task-999.log").read_text()


def test_progress_is_plain_lines_without_a_terminal(
    told: subprocess.CompletedProcess[str],
) -> None:
    """No control characters, and more than one line of the large order's progress."""
    assert not {"\r", "\x1b"} & set(told.stdout)
    assert sum("Task 999: " in line for line in told.stdout.splitlines()) > 3


def test_nothing_is_left_running(told: subprocess.CompletedProcess[str], output: Path) -> None:
    """No process works in the demo's folder, and no task folder is left in it."""
    assert told.returncode == 0
    assert at_work_in(output) == []
    assert list((output / "Staging_Download").glob("Task_*")) == []


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal: ours, and the demo's."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.timeout(LIMIT + 30)
def test_interrupted_on_a_terminal_it_ends_all_it_started(
    terminal: tuple[int, int], output: Path
) -> None:
    """Bars move until Ctrl-C; then exit code 130 and no process of the demo."""
    ours, theirs = terminal
    demo = subprocess.Popen(
        [*DEMO, str(output)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        # As a shell does for what runs in front; who runs the tests behind may ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = _read_until(ours, b"ACCIDENT 1")
    assert len(at_work_in(output)) > 1
    demo.send_signal(signal.SIGINT)
    seen += _read_until(ours, b"has been ended")
    assert demo.wait(60) == 130
    assert b"\x1b[" in seen and "━".encode() in seen
    assert at_work_in(output) == []


def _read_until(descriptor: int, word: bytes) -> bytes:
    """What the terminal shows, up to a word; fails when that does not come in time."""
    seen, deadline = b"", time.monotonic() + LIMIT
    while word not in seen:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{word!r} did not come: {seen.decode(errors='replace')}"
        seen += os.read(descriptor, 65536)
    return seen


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Without the demo's mark nothing is removed, and the message names the folder."""
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    ended = subprocess.run(
        [*DEMO, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert str(tmp_path) in ended.stdout
    assert mine.read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
