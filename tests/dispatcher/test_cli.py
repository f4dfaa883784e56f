"""The command line as a process: what it prints, how it exits, how little it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.errors import BadMessage
from contract.task import Task
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from tests.dispatcher.tasks import URL, order
from tests.dispatcher.town import QUEUE, Town

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*words: str, folder: Path, options: tuple[str, ...] = (), **environment: str) -> Result:
    """Run the command line in a folder of its own."""
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run(
        [sys.executable, *options, "-m", "dispatcher.cli", *words],
        cwd=folder,
        env=known,
        capture_output=True,
        text=True,
        timeout=60,
    )


Result = subprocess.CompletedProcess[str]


@pytest.fixture
def url(redis7: str) -> str:
    """URL of an empty server."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    return redis7


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """The queue, as the dispatcher sees it."""
    client = connect(Secret(url))
    yield Store(client, QUEUE, "d1")
    client.close()


@pytest.fixture
def cli(url: str, tmp_path: Path) -> Run:
    """Run a command against that server."""

    def run(*words: str, **more: str) -> Result:
        return command(*words, folder=tmp_path, REDIS_URL=url, QUEUE=QUEUE, **more)

    return run


# --- orders ---------------------------------------------------------------------------------------
def test_enqueue_pushes_what_a_backend_would(cli: Run, store: Store) -> None:
    done = cli("enqueue", "999", URL, "--email", "a@example.com", "--quality", "720", "--force")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Task 999 is in the queue; 1 waiting.\n"
    (raw,) = store.walk()
    task = Task.parse(raw)
    assert (task.task_id, task.course_url, task.email) == (999, URL, "a@example.com")
    assert (task.quality, task.force) == ("720", True)


def test_an_id_can_be_sent_as_text(cli: Run, store: Store) -> None:
    cli("enqueue", "999", URL, "--text-id")
    cli("enqueue", "abc", URL)
    assert [Task.parse(raw).task_id for raw in store.walk()] == ["abc", "999"]


def test_enqueue_takes_a_whole_message(cli: Run, store: Store) -> None:
    message = f'{{"taskId":7,"courseUrl":"{URL}","tenant":"t"}}'
    assert cli("enqueue", message).returncode == 0
    assert list(store.walk()) == [message.encode()]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["999", "no-address"], "courseUrl"),
        (["999", URL, "--volume-size", "big"], "volumeSize"),
        (['{"taskId":1}'], "courseUrl"),
        (["{"], "JSON"),
        (["999"], "JSON"),
    ],
)
def test_a_bad_order_is_not_pushed_and_the_field_is_named(
    cli: Run, store: Store, words: list[str], named: str
) -> None:
    done = cli("enqueue", *words)
    assert done.returncode == 64
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert store.waiting() == 0


def test_list_shows_tasks_and_the_queue_newest_first(cli: Run, store: Store) -> None:
    store.write("1", {"status": "running", "phase": "fetch", "percent": "12.5", "attempt": "2"})
    store.write("2", {"status": "failed", "message": "The access token is refused."})
    store.push(order(3))
    store.push(b"no order")
    done = cli("list")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["TASK", "STATUS", "PHASE", "DONE", "RUN", "AGE", "MESSAGE"]
    assert [line.split()[:2] for line in lines] == [
        ["2", "failed"],
        ["1", "running"],
        ["3", "queued"],
    ]
    assert "12.5%" in lines[1]
    assert "access token is refused" in lines[0]


def test_list_shows_a_task_of_which_only_progress_is_known(cli: Run, url: str) -> None:
    """The run writes its progress itself; the dispatcher may not have written a word yet."""
    with redis.Redis.from_url(url) as client:
        client.hset(names.task_hash("5"), mapping={"phase": "upload", "percent": "80.0"})
    done = cli("list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "upload" in done.stdout


def test_list_can_be_narrowed_and_read_by_programs(cli: Run, store: Store) -> None:
    store.write("1", {"status": "running"})
    store.write("ü", {"status": "failed"})
    rows = json.loads(cli("list", "--json").stdout)
    assert {row["task"]: row["status"] for row in rows} == {"1": "running", "ü": "failed"}
    rows = json.loads(cli("list", "--status", "failed", "--json").stdout)
    assert [row["task"] for row in rows] == ["ü"]
    assert cli("list", "--status", "waiting").stdout == "No tasks are known.\n"


def test_show_tells_one_task(cli: Run, store: Store) -> None:
    store.write("999", {"status": "waiting", "retry_at": "1768233600.000"})
    done = cli("show", "999")
    assert done.returncode == 0
    assert "status" in done.stdout
    assert "2026-01-12 16:00:00 UTC" in done.stdout
    assert json.loads(cli("show", "999", "--json").stdout)["status"] == "waiting"


def test_show_tells_on_one_machine_where_the_files_are_and_what_they_take(
    cli: Run, store: Store, tmp_path: Path
) -> None:
    store.write("999", {"status": "failed"})
    folder = tmp_path / names.STAGING_DIR / names.folder_name("999")
    folder.mkdir(parents=True)
    (folder / "lecture.mp4").write_bytes(os.urandom(1 << 20))
    assert "used_bytes" not in json.loads(cli("show", "999", "--json").stdout)  # a cluster's
    (tmp_path / ".course-runner").mkdir()
    shown = json.loads(cli("show", "999", "--json").stdout)
    assert shown["folder"] == f"{names.STAGING_DIR}/Task_999"
    assert int(shown["used_bytes"]) >= 1 << 20


def test_show_knows_what_is_only_queued(cli: Run, store: Store) -> None:
    store.push(order("a b"))
    assert json.loads(cli("show", "a b", "--json").stdout)["status"] == "queued"


def test_an_unknown_task_is_named_and_the_answer_is_no(cli: Run) -> None:
    done = cli("show", "77")
    assert done.returncode == 1
    assert "task 77 is not known" in done.stderr


def test_dead_lists_what_was_no_order_with_its_reason(cli: Run, store: Store) -> None:
    assert cli("dead").stdout == "No dead letters.\n"
    store.bury(BadMessage('Field "taskId" is missing.', b"{}"))
    store.bury(BadMessage("No JSON.", b"\xff\x00"))
    done = cli("dead")
    assert 'Field "taskId" is missing.' in done.stdout
    assert "/wA=" in done.stdout
    assert [letter["reason"] for letter in json.loads(cli("dead", "--json").stdout)] == [
        "No JSON.",
        'Field "taskId" is missing.',
    ]


# --- what a dispatcher must answer ----------------------------------------------------------------
@pytest.fixture
def town(url: str, tmp_path: Path) -> Iterator[Town]:
    """A dispatcher at work."""
    made = Town(url, tmp_path, Limits(keep_completed=0, min_age=0))
    yield made
    made.leave()


def test_retry_waits_for_the_dispatcher_and_says_what_came_of_it(cli: Run, town: Town) -> None:
    town.start()
    town.push(1, {"1": "told 65", "2": "hold"})
    town.until_stand(1, Stand.FAILED)
    done = cli("retry", "1")
    assert done.returncode == 0
    assert done.stdout == "Task 1 is retried on the volume it has.\n"
    town.until(lambda: len(town.starts(1)) == 2, "it runs again")


def test_cancel_says_that_the_task_is_cancelled(cli: Run, town: Town) -> None:
    town.start()
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    done = cli("cancel", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Task 1 is cancelled.\n"


def test_cancel_of_an_unknown_task_is_a_no(cli: Run, town: Town) -> None:
    town.start()
    done = cli("cancel", "77")
    assert done.returncode == 1
    assert "Task 77 cannot be cancelled: it is not known." in done.stderr


def test_a_request_that_no_dispatcher_answers_is_noted(cli: Run, store: Store) -> None:
    """The command waits some seconds; then it says that the request stays."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(cli("retry", "9")))
    thread.start()
    deadline = time.monotonic() + 30
    while not store.asks() and time.monotonic() < deadline:
        time.sleep(0.02)
    ((item, action, key),) = store.asks()
    assert (action, key) == ("retry", "9")
    thread.join(30)
    assert results[0].returncode == 0
    assert "no dispatcher has answered yet" in results[0].stdout
    assert store.asks() == [(item, "retry", "9")]


# --- one machine's executor -----------------------------------------------------------------------
def test_logs_print_what_the_newest_run_said(cli: Run, town: Town) -> None:
    town.start()
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    where = {"EXECUTOR": "local", "STAGING_DIR": str(town.staging)}
    town.until(lambda: cli("logs", "1", **where).stdout == "run 1 of task 1\n", "it has spoken")
    done = cli("logs", "2", **where)
    assert done.returncode == 1
    assert "nothing is held of task 2" in done.stderr


def test_following_a_log_ends_with_the_run(cli: Run, town: Town) -> None:
    town.start(keep_completed=600)
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    where = {"EXECUTOR": "local", "STAGING_DIR": str(town.staging)}
    threading.Timer(0.5, town.open, (1,)).start()
    assert cli("logs", "1", "--follow", **where).stdout == "run 1 of task 1\n"
    assert town.journal("end 0", 1)


def test_reap_shows_and_then_removes_what_may_go(cli: Run, town: Town) -> None:
    town.pace = type(town.pace)(block=0.05, reap=3600)  # its first look finds nothing
    town.start()
    town.turns(1)
    town.push(1)
    town.until_stand(1, Stand.DONE)
    town.stop()
    where = {"EXECUTOR": "local", "STAGING_DIR": str(town.staging), "REAP_MIN_AGE": "0"}
    dry = cli("reap", "--dry-run", "--json", **where)
    assert (dry.returncode, dry.stderr) == (0, "")
    assert [row["what"] for row in json.loads(dry.stdout)] == ["run"]
    assert json.loads(cli("reap", "--json", **where).stdout)[0]["name"] == "course-1"
    done = cli("reap", **where)
    assert done.stdout.splitlines()[0].split()[0] == "REMOVED"
    assert "[CLEANUP] Volume course-1 is removed" in done.stderr
    assert not (town.staging / "Task_1").exists()
    assert cli("reap", **where).stdout == "Nothing may go now.\n"


# --- settings, wrong use, what is away ------------------------------------------------------------
@pytest.mark.parametrize(
    "words", [["list"], ["show", "1"], ["retry", "1"], ["enqueue", "1", URL], ["dead"]]
)
def test_without_an_address_the_setting_is_named(tmp_path: Path, words: list[str]) -> None:
    done = command(*words, folder=tmp_path)
    assert done.returncode == 64
    assert "REDIS_URL is not set" in done.stderr


def test_the_address_of_a_local_dispatcher_is_found_in_its_state_folder(
    url: str, tmp_path: Path, store: Store
) -> None:
    store.write("1", {"status": "running"})
    for state, words in ((".course-runner", []), ("elsewhere", ["--state", "elsewhere"])):
        (tmp_path / state).mkdir()
        (tmp_path / state / "redis.url").write_text(url + "\n")
        done = command(*words, "list", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "running" in done.stdout


def test_a_redis_that_is_away_is_a_passing_failure(tmp_path: Path) -> None:
    done = command("list", folder=tmp_path, REDIS_URL="redis://:s3cret@127.0.0.1:1/0")
    assert done.returncode == 75
    assert "Redis cannot be used" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["http://host", "redis://h?socket_timeout=x", "what?"])
def test_an_address_that_is_none_is_named(tmp_path: Path, address: str) -> None:
    done = command("list", folder=tmp_path, REDIS_URL=address)
    assert done.returncode == 64
    assert "REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_faults_of_the_dispatcher_are_printed_before_anything_starts(tmp_path: Path) -> None:
    done = command(
        "dispatch", folder=tmp_path, EXECUTOR="local", MAX_ACTIVE="none", KEEP_FAILED="x"
    )
    assert done.returncode == 64
    for name in ("MAX_ACTIVE", "KEEP_FAILED", "REDIS_URL"):
        assert f"course-runner: {name} " in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["dance"], ["show"], ["list", "--colour"]])
def test_wrong_use_ends_with_64_and_says_how_it_is_used(tmp_path: Path, words: list[str]) -> None:
    done = command(*words, folder=tmp_path)
    assert done.returncode == 64
    assert "usage: course-runner" in done.stderr


def test_help_is_no_error(tmp_path: Path) -> None:
    done = command("--help", folder=tmp_path)
    assert done.returncode == 0
    for name in ("dispatch", "local", "enqueue", "list", "show", "logs", "retry", "cancel"):
        assert name in done.stdout


# --- start-up -------------------------------------------------------------------------------------
HEAVY = {"kubernetes", "sqlalchemy", "requests", "urllib3", "yaml", "rich", "asyncio"}


def loaded(done: Result) -> set[str]:
    """Top-level modules that a run with `-X importtime` has imported."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_loads_no_client_at_all(tmp_path: Path) -> None:
    modules = loaded(command("--help", folder=tmp_path, options=("-X", "importtime")))
    assert "contract" in modules
    assert not modules & (HEAVY | {"redis"})


def test_what_speaks_to_redis_alone_loads_redis_alone(url: str, tmp_path: Path) -> None:
    done = command("list", folder=tmp_path, options=("-X", "importtime"), REDIS_URL=url)
    assert done.returncode == 0
    modules = loaded(done)
    assert "redis" in modules
    assert not modules & (HEAVY - {"asyncio"})  # redis-py itself loads asyncio
