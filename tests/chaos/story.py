"""One chaos from its first order to its report: orders and faults in their time, then the law.

Goes in: a schedule, a ground (`machine` or `cluster`), how many dispatchers. Comes out: a `Report`.
The dispatchers see Redis through the weather; whoever pushes and judges does not. A real receiver
takes the events that runs send, and now and then says that it cannot.
"""

from __future__ import annotations

import heapq
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import redis

from contract import names
from playground.receiver import Receiver
from tests.chaos import judge, webhooks
from tests.chaos.dispatchers import Dispatchers
from tests.chaos.redis_server import RedisServer
from tests.chaos.schedule import Fault, Kind, Order, Schedule

QUEUE = names.DEFAULT_QUEUE
PATIENCE = 150.0
"""Seconds after the last fault, and then after any order's step, in which the next must be made: a
heartbeat of 60 s, a look for dead dispatchers every 20 s, the longest retry, and a slow machine."""
AUDIT_AFTER = 5.0
"""Seconds of quiet after which one dispatcher is started anew, and with it an audit, which is due
every five minutes: it mends a board that a late word has put behind its volume."""
STEP = 0.05
ANSWERS = 4
"""Answers of the receiver that are drawn for each order; after them it takes whatever comes."""
SCHEDULES = {
    "RETRY_SCHEDULE": ",".join(["100ms"] * 12),
    "CRASH_SCHEDULE": ",".join(["100ms"] * 12),
    "WEBHOOK_SCHEDULE": ",".join(["100ms"] * 12),
    "KEEP_COMPLETED": "12h",  # the judge reads every volume at the end, however long it all takes
}


class Ground(Protocol):
    """Where the runs are."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes dispatchers work here."""

    @property
    def host(self) -> str:
        """The address of this machine at which its runs reach the receiver."""

    def journal(self) -> Sequence[Mapping[str, Any]]:
        """What the runs noted, oldest first; see `judge`."""

    def kill_run(self, whom: float) -> bool:
        """Kill a run that is alive; false when there is none."""

    def categories(self) -> Mapping[str, str]:
        """The category of the verdict on each volume, by task."""


class Story:
    """Lives through one schedule."""

    def __init__(
        self, schedule: Schedule, ground: Ground, folder: Path, dispatchers: int, most: int
    ) -> None:
        self._schedule = schedule
        self._ground = ground
        self._redis = RedisServer(folder / "redis")
        self._receiver = Receiver(host=ground.host)
        self._receiver.answer_with(*webhooks.weather(schedule.seed, ANSWERS * len(schedule.orders)))
        settings = {"REDIS_URL": self._redis.url, "MAX_ACTIVE": str(most), **SCHEDULES}
        settings |= {"WEBHOOK_URL": self._receiver.url, "WEBHOOK_FAILURE_EVENTS": "true"}
        settings["WEBHOOK_BODY_SECRET"] = "false"
        self.dispatchers = Dispatchers(dispatchers, folder, {**settings, **ground.settings})
        self._count = dispatchers
        self._faults: Counter[str] = Counter()
        self._absent: set[int] = set()
        """Dispatchers that are away for a minute or more: nothing else happens to them."""
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def live(self) -> judge.Report:
        """Do it all; return what came of it."""
        self._redis.start()
        self._redis.proxy.start()
        self._receiver.start()
        try:
            self.dispatchers.start_all()
            self._go_through()
            self._settle()
            return self._report()
        finally:
            self._redis.proxy.thaw()
            self.dispatchers.close()
            self._receiver.stop()
            self._redis.proxy.stop()
            self._redis.kill()

    # --- the time of troubles ---------------------------------------------------------------------
    def _go_through(self) -> None:
        for order in self._schedule.orders:
            self._at(order.at, partial(self._push, order))
        for fault in self._schedule.faults:
            self._at(fault.at, partial(self._do, fault))
        began = time.monotonic()
        while self._later:
            while self._later and self._later[0][0] <= time.monotonic() - began:
                heapq.heappop(self._later)[2]()
            self.dispatchers.start_all()  # whoever has died at a point
            time.sleep(STEP)

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._later, (seconds, next(self._order), act))

    def _push(self, order: Order) -> None:
        self._redis.client.lpush(QUEUE, order.raw)

    def _do(self, fault: Fault) -> None:
        number = int(fault.whom * self._count)
        over = fault.at + fault.seconds
        if self._is_spared(fault, number) or not self._begin(fault, number):
            return
        self._faults[fault.name] += 1
        if fault.absence:
            self._absent.add(number)
        self._at(over, lambda: self._finish(fault, number))

    def _is_spared(self, fault: Fault, number: int) -> bool:
        """Whether the victim is away; and one dispatcher at least never is."""
        if fault.kind not in (Kind.KILL, Kind.DIE, Kind.STOP, Kind.PAUSE):
            return False
        return number in self._absent or (fault.absence and len(self._absent) + 1 >= self._count)

    def _begin(self, fault: Fault, number: int) -> bool:
        weather = self._redis.proxy
        match fault.kind:
            case Kind.KILL | Kind.DIE:
                self.dispatchers.end(number, signal.SIGKILL)
            case Kind.STOP:
                self.dispatchers.end(number, signal.SIGTERM)
            case Kind.PAUSE:
                return self.dispatchers.pause(number)
            case Kind.RUN:
                return self._ground.kill_run(fault.whom)
            case Kind.RESTART:
                self._redis.kill()
                self._redis.start()
            case Kind.FREEZE:
                weather.freeze()
            case Kind.CUT:
                weather.cut()
            case Kind.REFUSE:
                weather.refuse()
                weather.cut()
        return True

    def _finish(self, fault: Fault, number: int) -> None:
        if fault.absence:
            self._absent.discard(number)
        match fault.kind:
            case Kind.KILL | Kind.STOP:
                self.dispatchers.start(number)
            case Kind.DIE:
                self.dispatchers.start(number, fault.point)
            case Kind.PAUSE:
                self.dispatchers.wake(number)
            case Kind.FREEZE:
                self._redis.proxy.thaw()
            case Kind.REFUSE:
                self._redis.proxy.refuse(False)

    # --- afterwards -------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Wait until every order has ended as it must; what makes no step any more is a loss."""
        began, renewed = time.monotonic(), False
        moved, ends = began, self._ends()
        while time.monotonic() - moved < PATIENCE and self._is_open():
            if ends != self._ends():
                moved, ends = time.monotonic(), self._ends()
            self.dispatchers.start_all()
            if not renewed and time.monotonic() - began > AUDIT_AFTER and not self._left():
                self.dispatchers.end(0, signal.SIGTERM)
                self.dispatchers.start(0)
                renewed = True
            time.sleep(0.2)

    def _is_open(self) -> bool:
        """Whether something has yet to come; a verdict is on the board before its volume has it."""
        return bool(self._losses() or self._left() or self._unjudged(self._ends()))

    def _ends(self) -> dict[str, str]:
        client, tasks = self._redis.client, list(self._schedule.ends)
        pipe = client.pipeline(transaction=False)
        for task in tasks:
            pipe.hget(names.task_hash(task), "status")
        return {t: (s or b"").decode() for t, s in zip(tasks, pipe.execute(), strict=True)}

    def _left(self) -> int:
        client: redis.Redis = self._redis.client
        lists = [QUEUE, *client.scan_iter(match=f"{QUEUE}:claimed:*")]
        return sum(int(client.llen(key)) for key in lists)

    def _losses(self) -> list[str]:
        return judge.losses(self._schedule.ends, self._ends())

    def _report(self) -> judge.Report:
        journal, ends = self._ground.journal(), self._ends()
        losses = judge.losses(self._schedule.ends, ends)
        losses += self._unsettled() + self._unjudged(ends)
        losses += [
            f"task {life.task}: run {life.attempt} was never seen to end"
            for life in judge.lives(journal)
            if life.ended is None
        ]
        return judge.Report(
            orders=len(self._schedule.orders),
            ends=dict(Counter(ends.values())) | {"dead": self._dead()},
            faults=dict(self._faults),
            losses=losses,
            duplicates=judge.duplicates(journal),
            runs=len(judge.lives(journal)),
            peak=judge.peak(journal),
            webhooks=webhooks.account(self._schedule.ends, self._receiver.deliveries),
        )

    def _dead(self) -> int:
        return int(self._redis.client.llen(names.dead_list(QUEUE)))

    def _unsettled(self) -> list[str]:
        left, dead = self._left(), self._dead()
        found = [f"{left} messages are still queued or claimed"] if left else []
        if dead != self._schedule.malformed:
            found.append(f"{dead} dead letters instead of {self._schedule.malformed}")
        return found

    def _unjudged(self, ends: Mapping[str, str]) -> list[str]:
        """Board and volume must tell the same end, and each task has exactly one volume."""
        categories = self._ground.categories()
        return [
            f"task {task}: the board says {end}, its volume {categories.get(task, 'is not there')}"
            for task, end in ends.items()
            if (categories.get(task) == "done") is not (end == "completed")
        ]
