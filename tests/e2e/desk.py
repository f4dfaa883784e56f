"""A release on a Redis of the user's own, and the list that a backend pushes orders onto.

Each desk has a list of its own, so that releases beside each other do not take each other's orders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from contract import names
from tests.cluster import cluster
from tests.e2e.kube import Kube, until
from tests.e2e.release import Release, values
from tests.e2e.world import World


@dataclass
class Desk:
    """One release and its queue."""

    release: Release
    queue: str

    @property
    def world(self) -> World:
        """What the release talks to."""
        return self.release.world

    @property
    def kube(self) -> Kube:
        """The release's namespace."""
        return self.release.kube

    def order(self, task: int, slug: str) -> None:
        """Push an order as a backend does, its row first."""
        self.world.backend.add(task)
        self.push({"taskId": task, "courseUrl": self.world.portal.course_url(slug)})

    def push(self, message: dict[str, Any] | bytes) -> None:
        """Push anything."""
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.world.redis.lpush(self.queue, raw)

    def await_empty_queue(self) -> None:
        """Wait until everything was taken."""
        until(lambda: not self.world.redis.llen(self.queue), "the queue is empty")

    def dead(self) -> list[dict[str, Any]]:
        """The dead letters."""
        found = self.world.redis.lrange(names.dead_list(self.queue), 0, -1)
        return [json.loads(item) for item in found]  # type: ignore[union-attr]

    def status(self, task: int) -> dict[str, str]:
        """The task's hash."""
        found = self.world.redis.hgetall(names.task_hash(str(task)))
        return {k.decode(): v.decode() for k, v in found.items()}  # type: ignore[union-attr]

    def until_status(self, task: int, status: str, seconds: float = 120) -> None:
        """Wait for a status of the task."""
        until(
            lambda: self.status(task).get("status") == status,
            lambda: f"task {task} is {status} (it is {self.status(task)})\n{self.release.log()}",
            seconds,
        )

    def story(self, task: int) -> str:
        """The log of the task's runs, as users read it."""
        return self.kube.run("logs", f"--selector={names.LABEL_TASK}={task}", "--tail=-1")

    def claims(self, task: int) -> list[dict[str, Any]]:
        """The claims of a task."""
        return self.kube.items("pvc", f"{names.LABEL_TASK}={task}")

    def jobs(self, task: int) -> list[dict[str, Any]]:
        """The Jobs of a task."""
        return self.kube.items("jobs", f"{names.LABEL_TASK}={task}")


@contextmanager
def desk(world: World, kube: Kube, name: str, **more: Any) -> Iterator[Desk]:
    """A release of that name, with these values on top; uninstalled at the end."""
    release = Release(world, kube, name, cluster.helm())
    made = Desk(release, f"{kube.namespace}:{name}")
    given = values(world, redis={"embedded": False, "url": world.redis_url}, **more)
    given["settings"] |= {"QUEUE": made.queue}
    with release.installed(given):
        yield made
