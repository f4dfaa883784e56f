"""The dispatcher is killed at every named point; the next one ends every order exactly once.

Each point gets a Redis database, a folder, and real processes of its own: a dispatcher that dies
there by SIGKILL, and one that does not. They run side by side, for most of the time is waiting.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from contract import names
from tests.dispatcher.tasks import order
from tests.services import until

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
QUEUE = names.DEFAULT_QUEUE
REAPING = ("reap:run", "reap:volume", "reap:gone")
DISPATCHING = (
    "intake:claimed",
    "intake:volume",
    "intake:run",
    "intake:board",
    "intake:settled",
    "verdict:judged",
    "verdict:published",
    "verdict:marked",
    "retry:marked",
    "retry:run",
)
FORCING = ("intake:claimed", "intake:volume", "intake:run", "intake:board", "intake:settled")
ADOPTED = "intake:volume, and another takes over"
ORDERS = {
    "1": {},
    "2": {"1": "exit 75"},
    "3": {"1": "exit 65"},
}
"""One that succeeds, one that is tried again, one that fails for good and is reported."""
ENDS = {"1": "completed", "2": "completed", "3": "failed"}
RUNS = {
    "1": [("run", 1)],
    "2": [("run", 1), ("run", 2)],
    "3": [("run", 1), ("report", 2)],
}


@dataclass
class Machine:
    """One machine: a folder, a database, dispatchers one after the other."""

    folder: Path
    url: str

    def __post_init__(self) -> None:
        program = self.folder / "job_image"  # what `python -m job_image` finds here first
        program.mkdir(parents=True)
        (program / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("tiny_job.py"), program / "__main__.py")
        self.redis = redis.Redis.from_url(self.url)
        self.redis.flushdb()

    @property
    def staging(self) -> Path:
        """Folder of the tasks."""
        return self.folder / "Staging"

    @contextmanager
    def dispatcher(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a dispatcher; it is told to stop at the end unless it has ended."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self.url,
            "EXECUTOR": "local",
            "STAGING_DIR": str(self.staging),
            "DISPATCHER_ID": "d1",
            "HEALTH_PORT": "0",
            "RETRY_SCHEDULE": "50ms",
            **settings,
        }
        command = [sys.executable, "-m", "dispatcher"]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(LIMIT)

    def dies_at(self, point: str, **settings: str) -> None:
        """Run a dispatcher that is killed at a point."""
        with self.dispatcher(COURSE_RUNNER_FAULT=point, **settings) as process:
            process.wait(LIMIT)
            assert process.returncode == -signal.SIGKILL, self.log()

    def log(self) -> str:
        """What all dispatchers have said."""
        return (self.folder / "log").read_text(errors="replace")

    def status(self, task: str) -> str:
        """What the board says of a task."""
        found: bytes | None = self.redis.hget(names.task_hash(task), "status")  # type: ignore[assignment]
        return (found or b"").decode()

    def until_ended(self, ends: Mapping[str, str]) -> None:
        """Wait until every order has ended as it must and nothing is queued or claimed."""
        until(
            lambda: {task: self.status(task) for task in ends} == ends and not self.left(),
            "every order ends",
            LIMIT,
        )

    def left(self) -> int:
        """How many orders are in the queue or claimed by anybody."""
        lists = [QUEUE, *self.redis.scan_iter(match=f"{QUEUE}:claimed:*")]
        return sum(int(self.redis.llen(key)) for key in lists)  # type: ignore[arg-type]

    def journal(self) -> list[dict[str, Any]]:
        """What the runs noted."""
        path = self.staging / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def folders(self) -> list[str]:
        """Folders of tasks, also such as are half made or half removed."""
        return sorted(p.name for p in self.staging.iterdir() if p.is_dir())

    def marks(self, task: str) -> dict[str, str]:
        """The marks of a task's volume."""
        path = self.staging / f"Task_{task}" / names.STATE_DIR / names.RECORD_FILE
        marks: dict[str, str] = json.loads(path.read_text())["marks"]
        return marks


def dispatch(machine: Machine, point: str) -> None:
    """All orders, one death at the point, a successor."""
    for task, do in ORDERS.items():
        machine.redis.lpush(QUEUE, order(int(task), do=do))
    machine.dies_at(point.partition(",")[0])
    successor = "d1"
    if point == ADOPTED:
        assert machine.left()
        machine.redis.delete(names.heartbeat_key(QUEUE, "d1"))  # as after a minute
        successor = "d2"
    with machine.dispatcher(DISPATCHER_ID=successor):
        machine.until_ended(ENDS)


def reap(machine: Machine, point: str) -> None:
    """One completed order that may go, one death at the point, a successor with another order.

    A dispatcher looks for what may go in its first turn, then every few seconds. Of a task the run
    goes first, and its volume in a later look.
    """
    machine.redis.lpush(QUEUE, order(1))
    with machine.dispatcher(KEEP_COMPLETED="0", REAP_MIN_AGE="1h"):
        machine.until_ended({"1": "completed"})
        until(lambda: names.EXPIRES_AT in machine.marks("1"), "the verdict is marked", LIMIT)
    run = machine.staging / "Task_1" / names.STATE_DIR / names.RUN_FILE
    if point != "reap:run":
        with machine.dispatcher(REAP_MIN_AGE="0"):
            until(lambda: not run.exists(), "the run goes", LIMIT)
    machine.dies_at(point, REAP_MIN_AGE="0")
    machine.redis.lpush(QUEUE, order(2))
    with machine.dispatcher(REAP_MIN_AGE="0"):
        machine.until_ended({"1": "completed", "2": "completed"})
        until(lambda: machine.folders() == ["Task_2"], "the volume goes", LIMIT)


@pytest.fixture(scope="module")
def machines(
    redis7: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Machine]]]:
    """The machine of every point, after its story."""

    def live(number: int, point: str) -> Machine:
        url = f"{redis7.rpartition('/')[0]}/{number}"
        machine = Machine(tmp_path_factory.mktemp("machine"), url)
        (reap if point in REAPING else dispatch)(machine, point)
        return machine

    points = [*DISPATCHING, ADOPTED, *REAPING]
    with ThreadPoolExecutor(4) as pool:
        futures = {point: pool.submit(live, n, point) for n, point in enumerate(points, 1)}
        yield futures
    for future in futures.values():
        if not future.exception():
            future.result().redis.close()


@pytest.mark.parametrize("point", [*DISPATCHING, ADOPTED])
def test_every_order_ends_once_wherever_the_dispatcher_died(
    machines: dict[str, Future[Machine]], point: str
) -> None:
    machine = machines[point].result()
    journal = machine.journal()
    assert [entry for entry in journal if entry["event"] == "clash"] == []
    starts = [(e["task"], (e["kind"], e["attempt"])) for e in journal if e["event"] == "start"]
    assert {task: [run for owner, run in starts if owner == task] for task in ORDERS} == RUNS
    ends = Counter((e["task"], e["kind"]) for e in journal if e["event"] == "end 0")
    assert ends == {("1", "run"): 1, ("2", "run"): 1, ("3", "report"): 1}
    assert machine.folders() == ["Task_1", "Task_2", "Task_3"]
    assert machine.left() == 0
    assert machine.redis.llen(names.dead_list(QUEUE)) == 0


@pytest.mark.parametrize("point", [*DISPATCHING, ADOPTED])
def test_the_board_and_the_marks_agree_wherever_the_dispatcher_died(
    machines: dict[str, Future[Machine]], point: str
) -> None:
    machine = machines[point].result()
    categories = {"1": "done", "2": "done", "3": "auth_expired"}
    for task, category in categories.items():
        marks = machine.marks(task)
        assert json.loads(marks[names.OUTCOME])["category"] == category
        assert machine.status(task) == ENDS[task]
        assert names.EXPIRES_AT in marks
        assert machine.redis.ttl(names.task_hash(task)) > 0  # type: ignore[operator]


def force(machine: Machine, point: str) -> bytes:
    """A forced order, one death, and no successor before the run, if it has begun, is judged.

    The one that judges it is another, while the dead one's heartbeat still keeps the order to it.
    """
    message = order(1, force=True)
    machine.redis.lpush(QUEUE, message)
    machine.dies_at(point)
    if point not in FORCING[:2]:
        with machine.dispatcher(DISPATCHER_ID="d2"):
            until(lambda: machine.status("1") == "completed", "the run is judged", LIMIT)
            until(lambda: names.EXPIRES_AT in machine.marks("1"), "that is marked", LIMIT)
        assert machine.left() == (point != "intake:settled")
    return message


def ended(machine: Machine) -> int:
    """How many runs have ended well."""
    return sum(entry["event"] == "end 0" for entry in machine.journal())


@pytest.mark.parametrize("point", FORCING)
def test_a_forced_order_runs_once_wherever_the_dispatcher_died_and_its_next_push_again(
    redis7: str, tmp_path: Path, point: str
) -> None:
    """Also when it is looked at only after its run; the same bytes pushed anew are an order."""
    url = f"{redis7.rpartition('/')[0]}/15"
    machine = Machine(tmp_path, url)
    message = force(machine, point)
    with machine.dispatcher():
        machine.until_ended({"1": "completed"})
        until(lambda: names.ACCEPTED not in machine.marks("1"), "the mark goes", LIMIT)
        assert ended(machine) == 1
        machine.redis.lpush(QUEUE, message)
        until(lambda: ended(machine) == 2 and not machine.left(), "it runs again", LIMIT)
    starts = [(e["kind"], e["attempt"]) for e in machine.journal() if e["event"] == "start"]
    assert starts == [("run", 1), ("run", 1)]
    machine.redis.close()


@pytest.mark.parametrize("point", REAPING)
def test_what_may_go_goes_wherever_the_dispatcher_died(
    machines: dict[str, Future[Machine]], point: str
) -> None:
    machine = machines[point].result()
    assert machine.folders() == ["Task_2"]
    assert [e["task"] for e in machine.journal() if e["event"] == "start"] == ["1", "2"]
    assert machine.left() == 0


def test_every_point_in_the_code_is_tried() -> None:
    """A new point without a test here would be a promise that nobody keeps."""
    # test_control_crash; a folder does not grow: test_deaths_on_cluster; test_late_runs
    elsewhere = ("cancel:", "grow:", "late:")
    ours = [point for point in points_in_code() if not point.startswith(elsewhere)]
    assert ours == sorted([*DISPATCHING, *REAPING])


def test_every_point_in_the_code_is_told_of_and_no_other() -> None:
    """The table of docs/task-life.md names just the points that there are."""
    text = (ROOT / "docs" / "task-life.md").read_text()
    section = text.partition("## Where the dispatcher may die")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([a-z]+:[a-z]+)` \|", section.partition("In the run:")[0], re.M)
    assert sorted(told) == points_in_code()


def points_in_code() -> list[str]:
    """The names of all points where a dispatcher may be killed."""
    paths = (ROOT / "dispatcher").rglob("*.py")
    code = "".join(path.read_text() for path in paths)
    return sorted(re.findall(r'fault\.point\("([^"]+)"\)', code))
