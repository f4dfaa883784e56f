"""A dispatcher at work on the real cluster: real Redis, real loop, real containers, tiny runs."""

from __future__ import annotations

import io
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from contract import names
from contract.env import Secret
from contract.log import Log, Redactor, set_up
from dispatcher.executors import Holding
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.executors.kubernetes.watch import Pace as WatchPace
from dispatcher.loop import Loop, Pace
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from tests.cluster import cluster
from tests.dispatcher.executors.bench import PROGRAM_TEXT
from tests.dispatcher.kubernetes_executor.namespaces import kubectl, settings
from tests.dispatcher.tasks import order
from tests.services import until

LIMIT = 120.0
SHORT = 0.2
"""Seconds of every wait before a retry."""
LIMITS = Limits(
    max_active=20,
    keep_completed=3600,
    min_age=0,
    temporary=(SHORT,) * 2,
    webhook=(SHORT,) * 2,
    crash=(SHORT,) * 2,
)
WATCH_PACE = WatchPace(least=0.1, most=0.5, silence=3.0, worry=1.0, start=10.0)


class Town:
    """One queue, one instance, one dispatcher in a thread."""

    def __init__(
        self, url: str, space: str, jobs_made: Callable[[str], int], kubeconfig: str = ""
    ) -> None:
        self.key = f"t{uuid.uuid4().hex[:8]}"
        self.url, self.space = url, space
        self._jobs_made = jobs_made
        self.kubeconfig = kubeconfig or str(cluster.kubeconfig())
        self.raw = redis.Redis.from_url(url)
        self.queue = f"q:{self.key}"
        self.lines = io.StringIO()
        self.executor: KubernetesExecutor | None = None
        self.loop: Loop | None = None

    @contextmanager
    def dispatcher(self, limits: Limits = LIMITS, **changes: Any) -> Iterator[Town]:
        """Run a dispatcher until the end of the block; `changes`: settings of the executor."""
        set_up("text", Redactor(), self.lines)
        usual: dict[str, Any] = {
            "instance": self.key,
            "kubeconfig": self.kubeconfig,
            "volume_size": "1Mi",
            "backoff_limit": 0,
            "command": ("python3", "-c", PROGRAM_TEXT),
        }
        chosen = settings(self.space, **(usual | changes))
        executor = KubernetesExecutor(chosen, os.environ, log=Log.for_task(), pace=WATCH_PACE)
        executor.start()
        store = Store(connect(Secret(self.url)), self.queue, "d1")
        pace = Pace(block=0.1, beat=1.0, adopt=1.0, reap=0.2)
        loop = Loop(store, executor, limits, Log.for_task(), pace=pace)
        thread = threading.Thread(target=loop.run, name="loop")
        thread.start()
        self.executor, self.loop = executor, loop
        try:
            yield self
        finally:
            loop.stop()
            thread.join(LIMIT)
            executor.close()

    def push(self, letter: str, script: Any = None, **more: object) -> str:
        """Push an order as a backend does; returns the task's id."""
        task = f"{self.key}-{letter}"
        self.raw.lpush(self.queue, order(task, script=script or [], **more))
        return task

    # --- what can be seen -------------------------------------------------------------------------
    def fields(self, letter: str) -> dict[str, str]:
        """What the board says of an order."""
        found = self.raw.hgetall(names.task_hash(f"{self.key}-{letter}"))
        return {k.decode(): v.decode() for k, v in found.items()}  # type: ignore[union-attr]

    def name(self, letter: str) -> str:
        """The name of an order's objects."""
        return names.object_name(f"{self.key}-{letter}")

    def holding(self, letter: str) -> Holding | None:
        """What the executor holds of an order."""
        assert self.executor is not None
        return self.executor.holdings().get(self.name(letter))

    def objects(self, kinds: str) -> list[dict[str, Any]]:
        """The cluster's objects of this dispatcher, asked past everything that may be faulty."""
        selector = f"{names.LABEL_INSTANCE}={self.key}"
        text = kubectl("get", kinds, "-n", self.space, "-l", selector, "-o", "json")
        found: list[dict[str, Any]] = json.loads(text)["items"]
        return found

    def runs_made(self, letter: str) -> int:
        """How many Jobs there have ever been of an order."""
        return self._jobs_made(self.name(letter))

    def left(self) -> int:
        """How many orders are queued or claimed."""
        keys = (self.queue, names.claimed_list(self.queue, "d1"))
        return sum(int(self.raw.llen(key)) for key in keys)  # type: ignore[arg-type]

    def dead(self) -> list[dict[str, Any]]:
        """Letters of the dead list."""
        found = self.raw.lrange(names.dead_list(self.queue), 0, -1)
        return [json.loads(item) for item in found]  # type: ignore[union-attr]

    def ready(self) -> str:
        """What readiness says: "" when all is well."""
        assert self.loop is not None
        assert self.executor is not None
        return self.loop.pulse.trouble or self.executor.trouble()

    # --- waiting ----------------------------------------------------------------------------------
    def until(self, true: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        """Wait for a state; say the log when it does not come."""
        try:
            until(true, what, limit)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.lines.getvalue()[-6000:]}") from exc

    def until_status(self, letter: str, status: str, limit: float = LIMIT) -> None:
        """Wait for what the board says of an order."""
        what = f"{letter} is {status}"
        self.until(lambda: self.fields(letter).get("status") == status, what, limit)

    def assert_once(self, *letters: str, runs: int = 1) -> None:
        """One claim and one Job of each order, so many runs in all, nothing queued or claimed."""
        wanted = sorted(self.name(letter) for letter in letters)
        self.until(lambda: not self.left(), "nothing is left")
        for kind in ("pvc", "jobs"):
            assert sorted(found["metadata"]["name"] for found in self.objects(kind)) == wanted
        made = {letter: self.runs_made(letter) for letter in letters}
        assert made == dict.fromkeys(letters, runs), self.lines.getvalue()[-6000:]
