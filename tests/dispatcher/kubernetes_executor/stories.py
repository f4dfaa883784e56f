"""The story of one queue on the real cluster: dispatchers of its own that die, and what they leave.

Goes in: where Redis and the namespace are, the point at which the first dispatcher dies. Real
objects, real containers; an instance of its own keeps a story's objects apart from its neighbours'.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from contract import fault, names
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.namespaces import kubectl
from tests.dispatcher.tasks import order
from tests.services import until

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("dispatch.py")
LIMIT = 150.0


@dataclass
class Story:
    """One queue and its dispatchers, one after the other."""

    url: str
    space: str
    folder: Path
    point: str
    jobs_made: Callable[[str], int]
    settings: Mapping[str, str] = field(default_factory=dict)
    """More of the dispatchers' settings."""
    key: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.redis = redis.Redis.from_url(self.url)
        self.queue = f"q:{self.key}"
        self.tasks = {letter: f"{self.key}-{letter}" for letter in "ab"}

    @property
    def deadly(self) -> dict[str, str]:
        """Settings by which the first dispatcher that gets to the point dies there."""
        return {fault.POINT: self.point, fault.ONCE: str(self.folder / f"{self.key}.died")}

    def push(self, letter: str, **fields: object) -> None:
        """Push an order as a backend does."""
        self.redis.lpush(self.queue, order(self.tasks[letter], **fields))

    def die(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a dispatcher has died at the point."""
        process.wait(LIMIT)
        assert process.returncode == -signal.SIGKILL, f"{self.point}: {self.log()}"

    @contextmanager
    def dispatcher(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a dispatcher; it is told to stop at the end unless it has ended."""
        command = [sys.executable, str(PROGRAM)]
        with (self.folder / f"{self.key}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment(**settings), stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(LIMIT)

    def environment(self, **settings: str) -> dict[str, str]:
        """What a dispatcher of this story is given."""
        return {
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
            **self.settings,
            **settings,
        }

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
