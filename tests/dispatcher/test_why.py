"""`why` says one true sentence, whatever a task's place; Redis alone is enough for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.errors import BadMessage
from dispatcher.executors import Obstacle
from dispatcher.executors.local import LocalExecutor
from dispatcher.inquiry import inquire
from dispatcher.notices import Notices
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from dispatcher.views import Views
from dispatcher.why import Facts, why
from tests.dispatcher.tasks import NOW, order
from tests.dispatcher.town import PROGRAM, QUEUE, Town
from tests.services import until

STATE = {"active": 3, "max_active": 5, "per_account": 0, "full_accounts": [], "trouble": ""}
FULL = {**STATE, "active": 5}


def say(**facts: Any) -> str:
    """The sentence on task 999."""
    return why(Facts("999", **{"state": STATE, **facts}), NOW)


def on_board(status: str, **fields: str) -> str:
    """The sentence on a task that the board knows."""
    return say(fields={"status": status, "updated": str(NOW - 60), **fields})


def queued(**facts: Any) -> str:
    """The sentence on a queued task."""
    return say(place=14, queued=30, **facts)


# --- the sentence ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sentence", "needle"),
    [
        (queued(), "position 14 of 30: it goes when its turn comes, 3 of 5 runs are active."),
        (queued(state=FULL), "position 14 of 30: slot limit, 5 of 5 runs are active."),
        (
            queued(account="a@b.c", state={**STATE, "per_account": 2, "full_accounts": ["a@b.c"]}),
            "account limit, 2 runs of its account are active.",
        ),
        (queued(account="x@b.c", state={**STATE, "full_accounts": ["a@b.c"]}), "its turn comes"),
        (queued(pause={"at": NOW - 3600, "why": "upgrade"}, state=FULL), "paused since 15:00 UTC"),
        (queued(pause={"at": NOW, "why": "upgrade"}), '("upgrade").'),
        (queued(state={}), "no dispatcher is at work"),
        (queued(state={**STATE, "trouble": "It is away."}), "in trouble: It is away."),
        (say(claimed_by="d1"), "claimed by dispatcher d1 and being handed over."),
        (
            say(claimed_by="d1", fields={"obstacle": "Quota compute: 10 of 10."}),
            "claimed by dispatcher d1 and waits: Quota compute: 10 of 10.",
        ),
        (say(claimed_by="d1", silent=True), "silent: the order goes back to the queue within 90 s"),
        (on_board("running", attempt="2"), "Task 999 is running (run 2)."),
        (on_board("running", attempt="2", phase="fetch", percent="40.0"), "run 2, fetch, 40.0 %"),
        (
            on_board("running", attempt="1", obstacle="claim course-999 is unbound."),
            "has run 1, which has not started: claim course-999 is unbound.",
        ),
        (
            on_board("waiting", retry_at=str(NOW + 300), category="webhook", message="503"),
            'waits until 16:05 UTC for its next run, after webhook, "503".',
        ),
        (on_board("waiting", retry_at=str(NOW + 86400)), "until 2026-01-13 16:00 UTC"),
        (on_board("waiting", retry_at=str(NOW - 1)), "is due for its next run: it goes when"),
        (on_board("start"), "is due for its next run: it goes when its turn comes"),
        (on_board("start", obstacle="Quota pods."), "is due for its next run: Quota pods."),
        (on_board("reporting", message="No."), "has failed (No); a closing run is passing that on"),
        (
            on_board("reporting", message="No.", retry_at=str(NOW + 7200)),
            "has failed (No); that could not be passed on yet, a closing run tries it again at "
            "18:00 UTC.",
        ),
        (on_board("failed", message="Token."), "has failed, 15:59 UTC: Token; mend the cause"),
        (on_board("completed"), "Task 999 was completed, 15:59 UTC."),
        (on_board("cancelled"), "Task 999 was cancelled, 15:59 UTC."),
        (say(dead=(3, "no JSON")), "dead letter 3 (no JSON); `course-runner dead show 3`."),
    ],
)
def test_each_place_has_its_sentence(sentence: str, needle: str) -> None:
    assert needle in sentence
    assert sentence.startswith("Task 999 ")
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0


def test_of_a_task_that_nobody_knows_nothing_is_said() -> None:
    assert say() == ""


def test_a_pause_keeps_no_retry_waiting_and_is_not_blamed() -> None:
    sentence = say(fields={"status": "start"}, pause={"at": NOW, "why": ""})
    assert "paused" not in sentence


def test_a_repeat_in_the_queue_is_told_of_unless_the_task_runs() -> None:
    assert "position 1 of 1" in say(fields={"status": "completed"}, place=1, queued=1)
    assert "is running" in say(fields={"status": "running"}, place=1, queued=1)


# --- the facts ------------------------------------------------------------------------------------
@pytest.fixture
def store(redis7: str) -> Iterator[Store]:
    """An empty queue."""
    with redis.Redis.from_url(redis7) as raw:
        raw.flushall()
    client = connect(Secret(redis7))
    yield Store(client, QUEUE, "d1")
    client.close()


def test_the_place_is_counted_from_the_oldest_order(store: Store) -> None:
    for number in (1, 2, 3, 2):
        store.push(order(number, email="A@b.c"))
    facts = inquire(store, "2")
    assert (facts.place, facts.queued, facts.account) == (2, 4, "a@b.c")
    assert inquire(store, "9").place == 0


def test_an_id_is_found_however_json_spells_it(store: Store) -> None:
    store.push(b'{"taskId":"\\u0061b","courseUrl":"https://h/c/"}')
    assert inquire(store, "ab").place == 1


def test_a_claim_is_found_and_whether_its_dispatcher_lives(store: Store) -> None:
    store.push(order(1))
    store.claim(1)
    assert (inquire(store, "1").claimed_by, inquire(store, "1").silent) == ("d1", True)
    store.beat()
    assert not inquire(store, "1").silent


def test_a_dead_letter_that_names_the_task_is_found(store: Store) -> None:
    raw = b'{"taskId":"x1"}'
    store.push(b"no json")
    store.push(raw)
    store.claim(2)
    store.bury(BadMessage("No JSON.", b"no json"))
    store.bury(BadMessage("No address.", raw))
    assert inquire(store, "x1").dead == (2, "No address.")


# --- what the dispatcher tells --------------------------------------------------------------------
@pytest.fixture
def town(redis7: str, tmp_path: Path) -> Iterator[Town]:
    """A town that has not started."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    made = Town(redis7, tmp_path, Limits(max_active=1))
    yield made
    made.leave()


def cli(town: Town, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line of a machine that reaches Redis alone."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    environment |= {"REDIS_URL": town.url, "QUEUE": QUEUE}
    command = [sys.executable, "-m", "dispatcher.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_whole_of_a_task_s_life_is_told_from_redis(town: Town) -> None:
    town.push(1, {"1": "hold"})
    town.push(2, {"1": "exit 75", "2": "told 65"})
    assert "position 1 of 2: no dispatcher is at work" in cli(town, "why", "1").stdout
    town.start()
    town.until(lambda: town.starts(1), "the house is full")
    town.until(lambda: town.store.state().get("active") == 1, "and that is told")
    assert cli(town, "why", "1").stdout == "Task 1 is running (run 1).\n"
    assert cli(town, "why", "2").stdout == (
        "Task 2 is in the queue, position 1 of 1: slot limit, 1 of 1 runs are active.\n"
    )
    town.open(1)
    town.until_stand(2, Stand.WAITING)
    assert 'for its next run, after temporary, "It was temporary."' in cli(town, "why", "2").stdout
    town.clock.shift = 301
    town.until_ended(2, "failed")
    assert "has failed" in cli(town, "why", "2").stdout
    assert "Task 1 was completed" in cli(town, "why", "1").stdout
    unknown = cli(town, "why", "3")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "task 3 is not known" in unknown.stderr


class Held(LocalExecutor):
    """An executor whose runs do not begin, as a cluster's may; says why."""

    words = ""

    def obstacle(self, name: str) -> Obstacle | None:  # type: ignore[override]
        """Return what is in the way."""
        return Obstacle("volume_unbound", self.words) if self.words else None


def test_what_keeps_a_run_from_beginning_is_told_and_taken_back(town: Town, store: Store) -> None:
    town.push(1, {"1": "hold"})
    town.start()
    town.until_ended(1, "running")
    town.stop()
    executor = Held(town.staging, {}, PROGRAM, interval=0.05)
    executor.start()
    views, shift = Views(), {"now": 0.0}
    clock = lambda: town.clock() + shift["now"]  # noqa: E731 - the time, and how much later it is

    def told(after: float, words: str) -> Mapping[str, str]:
        """What the board says when a dispatcher has just looked, `after` seconds on."""
        executor.words, shift["now"] = words, after
        Notices(store, executor, Limits(), clock).tell(views.look(executor.holdings()))
        return store.show("1")

    assert not told(0, "claim course-1 is unbound.").get("obstacle")  # too early to say
    assert told(11, "claim course-1 is unbound.")["obstacle"] == "claim course-1 is unbound."
    assert "which has not started: claim course-1 is unbound." in cli(town, "why", "1").stdout
    assert told(12, "image is missing.")["obstacle"] == "image is missing."
    assert told(13, "")["obstacle"] == ""
    executor.close()


def test_what_keeps_a_claimed_order_waiting_is_told(town: Town) -> None:
    """Its old volume is going away, or cannot be read; the order waits in the claimed list."""
    town.start()
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)
    assert town.executor is not None
    town.executor.mark(names.object_name("1"), {names.MESSAGE: "?"})
    town.push(1)
    town.until(lambda: town.store.show("1").get("obstacle"), "the obstacle is told")
    assert "claimed by dispatcher d1 and waits: " in why(inquire(town.store, "1"), NOW)


def test_an_obstacle_alone_leaves_no_hash_for_ever(store: Store) -> None:
    store.set_obstacle("1", "Quota.")
    raw: Any = store
    until(lambda: 0 < raw._redis.ttl(names.task_hash("1")) <= 86400, "it will be forgotten")
    store.write("1", {"status": "running"})
    store.set_obstacle("1", "Still.")
    assert raw._redis.ttl(names.task_hash("1")) == -1
