"""A dispatcher at work on one machine: real Redis, real loop, real processes, a movable clock."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from contract import names
from contract.env import Secret
from contract.log import Log, Redactor, set_up
from dispatcher.executors import Holding
from dispatcher.executors.local import LocalExecutor
from dispatcher.loop import Loop, Pace
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from dispatcher.views import view
from tests.dispatcher.tasks import order
from tests.services import until

QUEUE = "q:orders"
PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("tiny_job.py")))
LIMIT = 20.0
"""Seconds until a wait is a failure; what is waited for takes a fraction of one."""


class Clock:
    """The time, and how much later the dispatcher thinks it is."""

    def __init__(self) -> None:
        self.shift = 0.0

    def __call__(self) -> float:
        return time.time() + self.shift


class Town:
    """One queue, one folder, and a dispatcher that can be started and stopped."""

    def __init__(self, url: str, folder: Path, limits: Limits, identity: str = "d1") -> None:
        self.url = url
        self.staging = folder / "Staging"
        self.limits = limits
        self.clock = Clock()
        self.lines = io.StringIO()
        self.raw = redis.Redis.from_url(url)
        self.store = Store(connect(Secret(url)), QUEUE, identity)
        self.pace = Pace(block=0.05, beat=0.5, adopt=0.2, reap=0.05)
        self._identity = identity
        self._stop: Callable[[], None] | None = None
        self.loop: Loop | None = None
        self.executor: LocalExecutor | None = None

    def start(self, **limits: Any) -> None:
        """Start the dispatcher, as a restarted process would be: nothing is remembered."""
        set_up("text", Redactor(), self.lines)
        self.limits = replace(self.limits, **limits)
        executor = LocalExecutor(self.staging, {}, PROGRAM, grace=2.0, interval=0.05)
        executor.start()
        client = connect(Secret(self.url))
        store = Store(client, QUEUE, self._identity)
        loop = Loop(store, executor, self.limits, Log.for_task(), self.clock, self.pace)
        thread = threading.Thread(target=loop.run, name="loop")
        thread.start()

        def stop() -> None:
            loop.stop()
            thread.join(LIMIT)
            executor.close()
            client.close()
            assert not thread.is_alive()

        self.loop, self.executor, self._stop = loop, executor, stop

    def stop(self) -> None:
        """Stop the dispatcher; runs go on."""
        if self._stop is not None:
            self._stop()
        self._stop = None

    def leave(self) -> None:
        """Stop everything: every run is let go and ends."""
        self.stop()
        for entry in self.journal("start"):
            self.open(entry["task"])
        held = LocalExecutor(self.staging, {}, PROGRAM, interval=0.05)
        held.start()
        until(lambda: not [h for h in held.holdings().values() if alive(h)], "runs end", LIMIT)
        held.close()
        self.raw.close()

    # --- orders -----------------------------------------------------------------------------------
    def push(
        self, task_id: int | str, do: Mapping[str, str] | None = None, **more: object
    ) -> bytes:
        """Push an order as a backend does; returns its bytes."""
        message = order(task_id, **({"do": do} if do else {}), **more)
        self.raw.lpush(QUEUE, message)
        return message

    def open(self, task_id: int | str) -> None:
        """Let a run go that holds."""
        (self.staging / f"journal.open-{str(task_id).encode().hex()}").touch()

    # --- what can be seen -------------------------------------------------------------------------
    def journal(self, event: str = "", task_id: int | str | None = None) -> list[dict[str, Any]]:
        """What the runs noted, oldest first."""
        path = self.staging / "journal"
        text = path.read_text() if path.exists() else ""
        entries = [json.loads(line) for line in text.splitlines()]
        return [
            entry
            for entry in entries
            if entry["event"].startswith(event) and task_id in (None, entry["task"], as_int(entry))
        ]

    def starts(self, task_id: int | str) -> list[tuple[str, int]]:
        """Kind and number of each run of a task that has started."""
        return [(e["kind"], e["attempt"]) for e in self.journal("start", task_id)]

    def holding(self, task_id: int | str) -> Holding | None:
        """What the executor holds of a task."""
        assert self.executor is not None
        return self.executor.holdings().get(names.object_name(str(task_id)))

    def stand(self, task_id: int | str) -> Stand | None:
        """Where a task stands."""
        holding = self.holding(task_id)
        return view(holding).stand if holding else None

    def status(self, task_id: int | str) -> str:
        """What the board says of a task."""
        return self.store.show(str(task_id)).get("status", "")

    def claimed(self) -> int:
        """How many orders are claimed by this dispatcher."""
        return int(self.raw.llen(names.claimed_list(QUEUE, self._identity)))  # type: ignore[arg-type]

    def queued(self) -> int:
        """How many orders wait in the queue."""
        return int(self.raw.llen(QUEUE))  # type: ignore[arg-type]

    def log(self, needle: str) -> int:
        """How many lines of the log hold `needle`."""
        return sum(needle in line for line in self.lines.getvalue().splitlines())

    # --- waiting ----------------------------------------------------------------------------------
    def until(self, true: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        """Wait for a state; say the log when it does not come."""
        try:
            until(true, what, limit)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.lines.getvalue()}") from exc

    def until_stand(self, task_id: int | str, wanted: Stand | None) -> None:
        """Wait until a task stands somewhere and the board says so too."""
        self.until(lambda: self.stand(task_id) is wanted, f"task {task_id} is {wanted}")

    def until_ended(self, task_id: int | str, status: str) -> None:
        """Wait until the board says that a task ended so."""
        self.until(lambda: self.status(task_id) == status, f"task {task_id} is {status}")

    def turns(self, count: int = 3) -> None:
        """Wait until the dispatcher has taken whole turns: what it would do, it has done."""
        assert self.loop is not None
        for _ in range(count):
            last = self.loop.pulse.last
            self.until(lambda last=last: self.loop.pulse.last > last, "a turn ends")

    # --- the law ----------------------------------------------------------------------------------
    def assert_lawful(self) -> None:
        """Nothing is claimed, no two runs of a task were alive at once, no run began twice."""
        assert self.claimed() == 0
        assert self.journal("clash") == []
        begun = Counter((e["task"], e["attempt"], e["kind"]) for e in self.journal("start"))
        assert [run for run, times in begun.items() if times > 1] == []


def as_int(entry: Mapping[str, Any]) -> int | None:
    """The id of a journal's entry as a number, where it is one."""
    return int(entry["task"]) if entry["task"].isdigit() else None


def alive(holding: Holding) -> bool:
    """Whether a run of it is alive."""
    return holding.run is not None and holding.run.ended is None
