"""Whatever Redis does: nothing is lost, nothing is done twice, and readiness tells."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from contract import names
from contract.env import Secret
from dispatcher.loop import Pace
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import HEARTBEAT, Store, StoreUnavailable, connect
from playground.proxy import Proxy
from tests.dispatcher.own_redis import OwnRedis
from tests.dispatcher.tasks import order
from tests.dispatcher.town import QUEUE, Town
from tests.services import until

FAR = Path(__file__).with_name("far_dispatcher.py")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnRedis]:
    """A server of this test's own."""
    made = OwnRedis(tmp_path / "redis")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def town(own: OwnRedis, tmp_path: Path) -> Iterator[Town]:
    """A town on that server, not started."""
    made = Town(own.url, tmp_path, Limits(max_active=3))
    made.pace = replace(made.pace, recheck=0.3)
    yield made
    if not own.answers():
        own.start()
    made.leave()


def trouble(town: Town) -> str:
    """What readiness would say."""
    assert town.loop is not None
    return town.loop.pulse.trouble


# --- connections that are cut ---------------------------------------------------------------------
def test_connections_cut_at_random_lose_nothing_and_double_nothing(
    own: OwnRedis, town: Town
) -> None:
    """Cut while orders are claimed, handed over and settled: between a command and its answer."""
    chance = random.Random(5)
    with Proxy(("127.0.0.1", own.port)) as proxy:
        town.url = f"redis://{proxy.host}:{proxy.port}/0"
        town.start(max_active=8)
        for number in range(40):
            town.push(number, {"1": "exit 75"} if number % 10 == 0 else None)
        ended = time.monotonic() + 3.0
        while time.monotonic() < ended:
            until_later(chance.uniform(0.02, 0.2))
            proxy.cut()
        town.until(lambda: town.queued() == 0, "all are claimed")
        for number in range(0, 40, 10):
            town.until_stand(number, Stand.WAITING)
        town.clock.shift = 301
        for number in range(40):
            town.until_ended(number, "completed")
        town.until(lambda: town.claimed() == 0, "all are settled")
        town.assert_lawful()
        assert len(town.journal("end 0")) == 40
        town.stop()


def until_later(seconds: float) -> None:
    """Let some time pass: what is cut is chosen by it."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, "time passes")


def test_a_redis_that_hangs_is_told_of_and_gone_on_with(own: OwnRedis, town: Town) -> None:
    """Nothing gets through and nobody is told, as behind a firewall that drops."""
    with Proxy(("127.0.0.1", own.port)) as proxy:
        town.url = f"redis://{proxy.host}:{proxy.port}/0?socket_timeout=1"
        town.start()
        town.turns(1)
        proxy.freeze()
        town.push(1)
        town.until(lambda: "Redis cannot be used" in trouble(town), "readiness tells")
        proxy.thaw()
        town.until_ended(1, "completed")
        town.until(lambda: trouble(town) == "", "it is well again")
        assert town.starts(1) == [("run", 1)]
        town.stop()


# --- a failover that forgets ----------------------------------------------------------------------
def test_a_failover_that_forgets_the_last_writes_does_nothing_twice(
    own: OwnRedis, town: Town
) -> None:
    """The replica that takes over knows the orders as queued; their runs have ended by now."""
    for number in range(6):
        town.push(number, {"1": "told 65"} if number == 5 else None)
    before = own.remember()
    town.start()
    for number in range(5):
        town.until_ended(number, "completed")
        town.until_stand(number, Stand.DONE)
    town.until_stand(5, Stand.FAILED)
    own.fail_over(before)
    assert town.queued() == 6
    town.until(lambda: town.queued() + town.claimed() == 0, "the repeats are settled")
    assert len(town.journal("start")) == 6
    for number in range(5):  # the board had forgotten: the audit tells it again
        town.until_ended(number, "completed")
    town.until_ended(5, "failed")
    town.assert_lawful()


def test_a_failover_that_forgets_a_claim_and_its_dispatcher_runs_the_order_once(
    own: OwnRedis, town: Town
) -> None:
    before = own.remember()
    town.push(1, {"1": "hold"})
    town.start()
    town.until(lambda: town.starts(1), "it runs")
    own.fail_over(before)  # neither the order, nor the dispatcher, nor the task is known to it
    assert town.store.listed() == set()
    town.until(lambda: town.store.listed() == {"d1"}, "the dispatcher is listed again")
    town.until_ended(1, "running")
    town.open(1)
    town.until_ended(1, "completed")
    assert town.starts(1) == [("run", 1)]


def test_a_claimed_list_whose_dispatcher_was_forgotten_is_found(town: Town) -> None:
    """The dispatcher died, and the failover forgot that it had ever been."""
    town.raw.lpush(names.claimed_list(QUEUE, "gone"), order(1))
    town.start()
    town.until_ended(1, "completed")
    assert town.log("which is not listed") == 1


# --- refusals -------------------------------------------------------------------------------------
def test_a_full_memory_stops_intake_and_loses_nothing(own: OwnRedis, town: Town) -> None:
    for number in (1, 2, 3, 4):
        town.push(number, {"1": "hold"} if number == 1 else None)
    town.start(max_active=1)
    town.until(lambda: town.starts(1), "it runs")
    town.turns(1)
    town.raw.config_set("maxmemory", "1")
    town.until(lambda: "command not allowed" in trouble(town), "readiness tells why")
    town.open(1)
    town.until(lambda: town.journal("end 0", 1), "the run ends meanwhile")
    assert town.queued() + town.claimed() >= 3
    town.raw.config_set("maxmemory", "0")
    for number in (1, 2, 3, 4):
        town.until_ended(number, "completed")
    assert all(town.starts(number) == [("run", 1)] for number in (1, 2, 3, 4))
    town.assert_lawful()


def test_a_choice_under_full_memory_leaves_the_order_in_the_queue(
    own: OwnRedis, town: Town
) -> None:
    """The script pushes before it takes away: a push that is refused loses nothing."""
    town.push(1, priority=1)
    town.raw.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="command not allowed"):
        town.store.claim_these([order(1, priority=1)])
    town.raw.config_set("maxmemory", "0")
    assert (town.queued(), town.claimed()) == (1, 0)


def test_a_changed_password_is_told_of_and_intake_goes_on_when_it_fits(
    own: OwnRedis, town: Town
) -> None:
    town.start()
    town.turns(1)
    own.password = "another"
    town.raw.config_set("requirepass", own.password)
    with own.client() as operator:
        operator.client_kill_filter(skipme=True)
        town.until(
            lambda: "refuses the user or the password" in trouble(town), "readiness tells why"
        )
        operator.lpush(QUEUE, order(1))
        operator.config_set("requirepass", "")
    own.password = ""
    town.until_ended(1, "completed")
    assert "another" not in town.lines.getvalue()


def test_a_password_that_changes_in_a_mounted_secret_is_taken_up_without_a_restart(
    own: OwnRedis, tmp_path: Path
) -> None:
    secret = tmp_path / "REDIS_URL"
    with own.client() as operator:
        operator.config_set("requirepass", "the first")
        secret.write_text(f"redis://:the%20first@127.0.0.1:{own.port}/0")
        client = connect(Secret(secret.read_text()), secret.read_text)
        store = Store(client, QUEUE, "d1")
        store.ping()
        operator.config_set("requirepass", "the second")
        operator.client_kill_filter(skipme=True)
        with pytest.raises(StoreUnavailable):  # the connection that was cut
            store.ping()
        with pytest.raises(StoreUnavailable, match="refuses the user or the password"):
            store.ping()
        secret.write_text(f"redis://:the%20second@127.0.0.1:{own.port}/0")
        store.ping()
    client.close()


# --- dead and paused dispatchers ------------------------------------------------------------------
@contextmanager
def far(
    own: OwnRedis, folder: Path, identity: str, slots: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A dispatcher in a process of its own, whose heart may be silent for 2 s."""
    words = [sys.executable, str(FAR), own.url, str(folder), identity, str(slots)]
    with (folder / f"{identity}.log").open("wb") as log:
        process = subprocess.Popen(
            words, env={**os.environ, "PYTHONPATH": str(FAR.parents[2])}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(30)


def put_to_sleep(process: subprocess.Popen[bytes], town: Town) -> bool:
    """Stop a dispatcher while it has claimed orders; not while it has the folder's lock.

    With that, it would keep every other dispatcher of this one machine waiting until it wakes.
    """
    process.send_signal(signal.SIGSTOP)
    until(lambda: is_stopped(process.pid), "it is stopped")
    with (town.staging / ".lock").open("a") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if town.raw.llen(names.claimed_list(QUEUE, "paused")):
            return True
    process.send_signal(signal.SIGCONT)
    return False


def is_stopped(pid: int) -> bool:
    """Whether all of a process is stopped (proc(5): state T of each thread)."""
    states = [task.read_text().rpartition(")")[2].split()[0] for task in stats(pid)]
    return all(state == "T" for state in states)


def stats(pid: int) -> list[Path]:
    """The stat files of a process's threads."""
    return list(Path(f"/proc/{pid}/task").glob("*/stat"))


def test_usual_times_bring_a_dead_dispatcher_s_orders_back_within_90_s() -> None:
    """Its heartbeat lasts 60 s from the last beat; others look every 20 s."""
    assert HEARTBEAT + Pace().adopt <= 90
    assert Pace().beat * 3 <= HEARTBEAT


def test_a_paused_dispatcher_s_orders_are_run_by_others_and_once_when_it_wakes(
    own: OwnRedis, town: Town, tmp_path: Path
) -> None:
    """It is stopped with claimed orders on its hands, and woken after others have run them.

    What it had started itself is its own child: how that ended is known when it wakes.
    """
    pushed: list[int] = []

    def push() -> None:
        town.push(len(pushed))
        pushed.append(len(pushed))

    def sleeps() -> bool:
        """Whether it could be stopped with orders on its hands; it never runs out of them."""
        if not town.queued():
            push()
        return put_to_sleep(process, town)

    for _ in range(16):
        push()
    with far(own, tmp_path, "paused", 8) as process:
        claimed = names.claimed_list(QUEUE, "paused")
        until(lambda: town.raw.llen(claimed), "it has claimed")
        until(sleeps, "it sleeps")
        left: list[bytes] = town.raw.lrange(claimed, 0, -1)  # type: ignore[assignment]
        town.start(max_active=60)
        town.until(lambda: town.raw.llen(claimed) + town.queued() == 0, "all are taken over")
        for task_id in (json.loads(raw)["taskId"] for raw in left):
            town.until(lambda task_id=task_id: town.starts(task_id), f"{task_id} is run")
        assert town.log("a dead dispatcher had claimed") == 1
        process.send_signal(signal.SIGCONT)
        until(lambda: "paused" in town.store.alive(), "its heart beats again")
        for number in pushed:
            town.until_ended(number, "completed")
        town.push(-1)
        town.until_ended(-1, "completed")
        until(lambda: town.raw.llen(claimed) == 0, "nothing is left claimed by it")
    town.assert_lawful()
    assert len(town.journal("end 0")) == len(pushed) + 1
