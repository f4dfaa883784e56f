"""`watch` and `top` as their user meets them: on a real terminal, in a pipe, without rich."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from contract.env import Secret
from dispatcher.store import Store, connect
from tests.dispatcher.own_redis import OwnRedis
from tests.dispatcher.terminal.pseudo import Terminal
from tests.services import until

PROGRAM = str(Path(sys.executable).with_name("course-runner"))
QUEUE = "queue"
LIMIT = 60.0
RUNNING = {"status": "running", "phase": "fetch", "attempt": "1", "message": "Lecture 1"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis of the test's own: the board has no queue's name in it."""
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(home: OwnRedis) -> Store:
    """The store, as a dispatcher has it."""
    return Store(connect(Secret(home.url)), QUEUE, "test")


def say(store: Store, task: str, percent: float, **more: str) -> None:
    """Say of a task what its run would."""
    done = {
        "percent": f"{percent:.1f}",
        "bytes": str(int(percent * 1e6)),
        "total_bytes": "100000000",
    }
    store.write(task, {**RUNNING, **done, **more})


def environment(home: OwnRedis, place: Path) -> dict[str, str]:
    """What the command is given."""
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": home.url,
        "QUEUE": QUEUE,
        "TERM": "xterm-256color",
        "HOME": str(place),
        "STAGING_DIR": str(place / "Staging_Download"),
        "RCLONE_REMOTE": "/nowhere",
    }


@contextmanager
def terminal(home: OwnRedis, place: Path, *words: str, **more: str) -> Iterator[Terminal]:
    """A command on a terminal, ended at the end."""
    shown = Terminal([PROGRAM, *words], {**environment(home, place), **more}, place)
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def piped(home: OwnRedis, place: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A command whose output goes into a file."""
    said = place / "said"
    with said.open("w") as out:
        process = subprocess.Popen(
            [PROGRAM, *words], cwd=place, env=environment(home, place), stdout=out, stderr=out,
            text=True,
        )  # fmt: skip
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()


# --- watch ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_bars_move_and_the_cursor_comes_back(
    home: OwnRedis, store: Store, tmp_path: Path, how: signal.Signals
) -> None:
    say(store, "7", 10)
    say(store, "8", 20, phase="upload\x1b]0;owned\x07")
    with terminal(home, tmp_path, "watch") as shown:
        until(lambda: "10.0%" in shown.read() and "20.0%" in shown.read(), "both bars")
        assert "\x1b[?25l" in shown.raw, "the cursor is hidden while bars move"
        assert "━" in shown.raw
        say(store, "7", 55)
        until(lambda: "55.0%" in shown.read() and "MB/s" in shown.read(), "it moves")
        store.write("8", {"status": "completed", "message": "Every step is done."})
        until(lambda: "task 8  completed  Every step is done." in shown.read(), "the end")
        shown.process.send_signal(how)
        assert shown.process.wait(LIMIT) == 128 + how
        shown.read()
    assert shown.raw.rindex("\x1b[?25h") > shown.raw.rindex("\x1b[?25l")
    assert "Traceback" not in shown.raw
    assert "\x1b]0;" not in shown.raw, "what the board says moves nothing on the terminal"


def test_in_a_pipe_there_are_plain_lines_and_only_when_something_happened(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    say(store, "7", 10)
    with piped(home, tmp_path, "watch") as (process, said):
        until(lambda: "10.0%" in said.read_text(), "the first line")
        say(store, "7", 11)  # no tenth: no line
        say(store, "8", 1)
        until(lambda: "task 8" in said.read_text(), "a new task")
        say(store, "7", 45)
        until(lambda: "45.0%" in said.read_text(), "four tenths")
        store.write("7", {"status": "failed", "message": "No\x1b[31m such course."})
        until(lambda: "task 7  failed" in said.read_text(), "the end")
        assert process.poll() is None
        text = said.read_text()
    assert "\x1b" not in text
    assert "11.0%" not in text
    of_seven = [line for line in text.splitlines() if "task 7" in line]
    assert all(re.match(r"\[\d\d:\d\d:\d\d\] task 7  ", line) for line in of_seven)
    assert len(of_seven) == 3


def test_named_tasks_are_watched_to_their_end_and_the_exit_code_says_how(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    store.push(b'{"taskId":9,"courseUrl":"https://courses.example/course/x/"}')
    say(store, "7", 10)
    say(store, "other", 10)
    with piped(home, tmp_path, "watch", "7", "9") as (process, said):
        until(lambda: "10.0%" in said.read_text(), "it is watched")
        store.write("7", {"status": "completed", "message": ""})
        until(lambda: "task 7  completed" in said.read_text(), "one has ended")
        assert process.poll() is None, "the other is still queued"
        store.write("9", {"status": "completed", "message": ""})
        assert process.wait(LIMIT) == 0
        assert "other" not in said.read_text()
    store.write("9", {"status": "failed", "message": "no"})
    with piped(home, tmp_path, "watch", "7", "9") as (process, said):
        assert process.wait(LIMIT) == 1
        assert "task 9  failed  no" in said.read_text()


def test_an_unknown_task_is_named_and_nothing_is_waited_for(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    with piped(home, tmp_path, "watch", "7") as (process, said):
        assert process.wait(LIMIT) == 1
        assert said.read_text() == "course-runner: task 7 is not known.\n"


def test_a_redis_that_goes_away_is_told_once_and_watching_goes_on(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    say(store, "7", 10)
    with piped(home, tmp_path, "watch") as (process, said):
        until(lambda: "10.0%" in said.read_text(), "it is watched")
        home.stop()
        until(lambda: "Redis cannot be used" in said.read_text(), "the trouble is told")
        home.start()
        until(lambda: "Redis is back." in said.read_text(), "it is over")
        say(store, "7", 70)
        until(lambda: "70.0%" in said.read_text(), "it goes on")
        assert process.poll() is None
        assert said.read_text().count("Redis cannot be used") <= 3


def test_without_a_redis_at_the_start_it_ends_with_75(home: OwnRedis, tmp_path: Path) -> None:
    home.stop()
    with piped(home, tmp_path, "watch") as (process, said):
        assert process.wait(LIMIT) == 75
        assert "Redis cannot be used" in said.read_text()


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    """`course-runner watch | head -1`."""
    say(store, "7", 10)
    env = environment(home, tmp_path)
    command = [PROGRAM, "watch"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        assert "task 7" in process.stdout.readline()
        process.stdout.close()
        say(store, "7", 90)
        assert process.wait(LIMIT) == 0
        assert process.stderr.read() == ""


WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from dispatcher.cli import main; main()"


@pytest.mark.parametrize(
    ("command", "term"),
    [([sys.executable, "-c", WITHOUT_RICH, "watch"], "xterm"), ([PROGRAM, "watch"], "dumb")],
    ids=["without rich", "a dumb terminal"],
)
def test_where_nothing_can_be_drawn_a_terminal_gets_plain_lines(
    home: OwnRedis, store: Store, tmp_path: Path, command: list[str], term: str
) -> None:
    say(store, "7", 10)
    shown = Terminal(command, {**environment(home, tmp_path), "TERM": term}, tmp_path)
    try:
        until(lambda: "task 7  running  fetch  10.0%" in shown.read(), "a line")
        assert "\x1b" not in shown.raw
    finally:
        shown.close()


# --- top ------------------------------------------------------------------------------------------
def local(tmp_path: Path) -> None:
    """Make the folder look like one where `course-runner local` is used."""
    (tmp_path / ".course-runner").mkdir()


def ask(home: OwnRedis, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a pipe."""
    return subprocess.run(
        [PROGRAM, *words], cwd=place, env=environment(home, place), capture_output=True,
        text=True, timeout=LIMIT,
    )  # fmt: skip


def test_top_prints_once_in_a_pipe(home: OwnRedis, store: Store, tmp_path: Path) -> None:
    local(tmp_path)
    store.say_state({"active": 1, "max_active": 5, "at": time.time()})
    store.push(b'{"taskId":9,"courseUrl":"https://courses.example/course/x/"}')
    say(store, "7", 10)
    store.write("6", {"status": "completed", "message": ""})
    done = ask(home, tmp_path, "top")
    assert done.returncode == 0, done.stderr
    slots, rates, volumes, *rest = done.stdout.splitlines()
    assert slots == "Slots    1 of 5 slots in use, 1 queued"
    assert rates.endswith("last hour: 1 completed")
    assert volumes == "Volumes  0 volumes"
    assert rest[0].startswith("task 7  running  fetch  10.0%")


def test_top_for_programs_is_json(home: OwnRedis, store: Store, tmp_path: Path) -> None:
    local(tmp_path)
    say(store, "7", 10)
    store.pause("upgrade")
    data = json.loads(ask(home, tmp_path, "top", "--json").stdout)
    assert [task["task"] for task in data["moving"]] == ["7"]
    assert data["paused"]["why"] == "upgrade"
    assert (data["volumes"], data["volumes_trouble"]) == ([], "")


def test_top_says_why_volumes_cannot_be_seen_and_shows_the_rest(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    """A laptop that reaches Redis and no cluster."""
    say(store, "7", 10)
    done = ask(home, tmp_path, "top")
    assert done.returncode == 0, done.stderr
    assert "task 7  running" in done.stdout
    volumes = done.stdout.splitlines()[2].removeprefix("Volumes  ")
    assert volumes
    assert not volumes.startswith("0 volumes")


def test_top_on_a_terminal_is_drawn_again_and_shows_volumes(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    """The volume of a task that a real dispatcher holds, with what its files take."""
    local(tmp_path)
    env = {
        **environment(home, tmp_path),
        "DOWNLOAD_COMMAND": "sleep 600 {url}",
    }
    log = tmp_path / "local.log"
    with log.open("w") as out:
        dispatcher = subprocess.Popen(
            [PROGRAM, "local"], cwd=tmp_path, env=env, stdout=out, stderr=out
        )
    try:
        store.push(b'{"taskId":9,"courseUrl":"https://courses.example/course/x/"}')
        until(lambda: store.show("9").get("status") == "running", "the run begins")
        with terminal(home, tmp_path, "top") as shown:
            until(lambda: "1 of 5 slots" in shown.read(), "slots")
            until(lambda: re.search(r"9 +running +[\d.]+ [KM]B +\d+s", shown.read()), "its volume")
            store.write("9", {"message": "later"})
            until(lambda: "later" in shown.read(), "it is drawn again")
            shown.process.send_signal(signal.SIGINT)
            assert shown.process.wait(LIMIT) == 130
    finally:
        subprocess.run([PROGRAM, "cancel", "9"], cwd=tmp_path, env=env, capture_output=True)
        until(lambda: store.show("9").get("status") == "cancelled", "the run is stopped")
        dispatcher.send_signal(signal.SIGTERM)
        assert dispatcher.wait(LIMIT) == 0, log.read_text()


def test_the_look_of_others_is_no_more_than_a_few_questions_a_second(
    home: OwnRedis, store: Store, tmp_path: Path
) -> None:
    """Of 3,000 tasks that have ended only those under way are asked about at each look."""
    client = redis.Redis.from_url(home.url)
    pipe = client.pipeline(transaction=False)
    for number in range(3000):
        pipe.hset(f"course-runner:task:{number}", mapping={"status": "completed", "updated": "1"})
    pipe.execute()
    say(store, "a", 10)
    with piped(home, tmp_path, "watch") as (_, said):
        until(lambda: "10.0%" in said.read_text(), "the first look")
        for percent in (25, 35, 45):
            before = int(client.info("commandstats")["cmdstat_hgetall"]["calls"])
            say(store, "a", percent)
            until(lambda p=percent: f"{p}.0%" in said.read_text(), "the next look")
            asked = int(client.info("commandstats")["cmdstat_hgetall"]["calls"]) - before
            if asked < 100:
                return
    pytest.fail("every look read the whole board")
