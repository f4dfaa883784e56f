"""The dispatcher is killed at every point that touches the cluster; every order ends exactly once.

Real objects, real containers. Each point has a queue and an instance of its own; a few stories go
on side by side, for most of the time is waiting for containers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from contract import fault, names
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.namespaces import kubectl, namespace, need_cluster
from tests.dispatcher.tasks import order
from tests.services import until

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("dispatch.py")
LIMIT = 150.0
DISPATCHING = (
    "intake:claimed",
    "intake:volume",
    "intake:run",
    "intake:board",
    "verdict:judged",
    "verdict:published",
    "verdict:marked",
    "retry:marked",
    "retry:run",
)
REAPING = ("reap:run", "reap:volume", "reap:gone")
POINTS = (*DISPATCHING, *REAPING)
SCRIPTS: dict[str, dict[str, list[list[Any]]]] = {"a": {}, "b": {"1": [["exit", 75]]}}
"""One that succeeds, one that is tried again."""


@dataclass
class Story:
    """One queue and its dispatchers, one after the other."""

    url: str
    space: str
    folder: Path
    point: str
    jobs_made: Callable[[str], int]
    key: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.redis = redis.Redis.from_url(self.url)
        self.queue = f"q:{self.key}"
        self.tasks = {letter: f"{self.key}-{letter}" for letter in SCRIPTS}

    def tell(self) -> Story:
        """All orders, a death at the point, a successor."""
        letters = ["a"] if self.point in REAPING else ["a", "b"]
        for letter in letters:
            self.push(letter)
        keep = "0" if self.point in REAPING else "1h"
        died = self.folder / f"{self.key}.died"
        faults = {fault.POINT: self.point, fault.ONCE: str(died)}
        with self.dispatcher(KEEP_COMPLETED=keep, **faults) as process:
            process.wait(LIMIT)
            assert process.returncode == -signal.SIGKILL, self.log()
        with self.dispatcher(KEEP_COMPLETED=keep):
            self.until(lambda: self.is_over(letters), "every order ends")
            if self.point in REAPING:
                self.until(lambda: not self.objects("jobs,pvc"), "what may go goes")
                self.push("a")
                self.until(lambda: not self.left(), "the order is settled")
        return self

    def push(self, letter: str) -> None:
        """Push an order as a backend does."""
        message = order(self.tasks[letter], script=SCRIPTS[letter])
        self.redis.lpush(self.queue, message)

    @contextmanager
    def dispatcher(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a dispatcher; it is told to stop at the end unless it has ended."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": self.url,
            "QUEUE": self.queue,
            "INSTANCE": self.key,
            "DISPATCHER_ID": "d1",
            "NAMESPACE": self.space,
            "KUBECONFIG": str(cluster.kubeconfig()),
            "JOB_IMAGE": cluster.PYTHON_IMAGE,
            "VOLUME_SIZE": "1Mi",
            "RETRY_SCHEDULE": "50ms",
            "REAP_MIN_AGE": "0",
            **settings,
        }
        command = [sys.executable, str(PROGRAM)]
        with (self.folder / f"{self.key}.log").open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(LIMIT)

    def until(self, true: Any, what: str) -> None:
        """Wait for a state; say the log when it does not come."""
        try:
            until(true, what, LIMIT)
        except AssertionError as exc:
            raise AssertionError(f"{self.point}: {exc}\n{self.log()}") from exc

    def log(self) -> str:
        """What all dispatchers have said."""
        return (self.folder / f"{self.key}.log").read_text(errors="replace")

    def is_over(self, letters: list[str]) -> bool:
        """Whether the board says that these orders are completed, and nothing is left."""
        return all(self.status(one) == "completed" for one in letters) and not self.left()

    def status(self, letter: str) -> str:
        """What the board says of an order."""
        found: bytes | None = self.redis.hget(names.task_hash(self.tasks[letter]), "status")  # type: ignore[assignment]
        return (found or b"").decode()

    def left(self) -> int:
        """How many orders are in the queue or claimed by anybody."""
        lists = [self.queue, *self.redis.scan_iter(match=f"{self.queue}:claimed:*")]
        return sum(int(self.redis.llen(key)) for key in lists)  # type: ignore[arg-type]

    def objects(self, kinds: str) -> list[dict[str, Any]]:
        """The objects of this story."""
        selector = f"{names.LABEL_INSTANCE}={self.key}"
        text = kubectl("get", kinds, "-n", self.space, "-l", selector, "-o", "json")
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    def runs_made(self) -> dict[str, int]:
        """How many Jobs there have ever been of each order."""
        return {
            letter: self.jobs_made(names.object_name(task)) for letter, task in self.tasks.items()
        }


@pytest.fixture(scope="module")
def stories(
    redis7: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Story]]]:
    """The story of every point."""
    need_cluster()
    folder = tmp_path_factory.mktemp("stories")
    with (
        namespace() as space,
        jobs_made(space, folder) as made,
        ThreadPoolExecutor(4) as pool,
    ):
        told = [Story(redis7, space, folder, point, made) for point in POINTS]
        yield {story.point: pool.submit(story.tell) for story in told}


@pytest.mark.parametrize("point", DISPATCHING)
def test_every_order_has_one_claim_and_one_job_wherever_the_dispatcher_died(
    stories: dict[str, Future[Story]], point: str
) -> None:
    story = stories[point].result()
    wanted = sorted(names.object_name(task) for task in story.tasks.values())
    assert sorted(found["metadata"]["name"] for found in story.objects("pvc")) == wanted
    assert sorted(found["metadata"]["name"] for found in story.objects("jobs")) == wanted
    assert story.runs_made() == {"a": 1, "b": 2}
    assert story.left() == 0
    assert story.redis.llen(names.dead_list(story.queue)) == 0
    for claim in story.objects("pvc"):
        marks = claim["metadata"]["annotations"]
        assert json.loads(marks[names.OUTCOME])["category"] == "done"


@pytest.mark.parametrize("point", REAPING)
def test_what_may_go_goes_and_is_not_made_again_wherever_the_dispatcher_died(
    stories: dict[str, Future[Story]], point: str
) -> None:
    """The same order again is known as completed: nothing is made a second time."""
    story = stories[point].result()
    assert story.objects("jobs,pvc") == []
    assert story.runs_made() == {"a": 1, "b": 0}
    assert story.status("a") == "completed"
