"""What operators do with one hand: pause, pin, forget, and what to do with dead letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contract import names
from dispatcher.health import Health
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import Answer
from tests.dispatcher.tasks import order
from tests.dispatcher.town import QUEUE, Town

LIMITS = Limits(max_active=2, keep_completed=300, min_age=60)


@pytest.fixture
def place(redis7: str, tmp_path: Path) -> Iterator[Town]:
    """A town whose dispatcher has not started."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    made = Town(redis7, tmp_path, LIMITS)
    yield made
    made.leave()


@pytest.fixture
def town(place: Town) -> Town:
    """A town whose dispatcher is at work."""
    place.start()
    return place


def asked(town: Town, action: str, task_id: int) -> Answer:
    """What the dispatcher answers to a request."""
    ask_id = town.store.ask(action, str(task_id))
    town.until(lambda: town.store.answer(ask_id), f"{action} is answered")
    answer = town.store.answer(ask_id)
    assert answer is not None
    assert town.store.asks() == []
    return answer


def cli(town: Town, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator's machine that reaches Redis alone has it."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    environment |= {"REDIS_URL": town.url, "QUEUE": QUEUE}
    return subprocess.run(
        [sys.executable, "-m", "dispatcher.cli", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- pause ----------------------------------------------------------------------------------------
def test_while_intake_is_paused_nothing_is_claimed_and_everybody_is_told(town: Town) -> None:
    town.push(1, {"1": "hold", "2": "hold"})
    town.until(lambda: town.starts(1), "one runs")
    said = cli(town, "pause", "upgrade of the database")
    assert said.stdout == "Intake is paused; 0 waiting. What was handed over goes on.\n"
    assert town.loop is not None
    town.until(lambda: town.loop and town.loop.pulse.note, "the dispatcher has heard")
    town.push(2)
    town.turns(5)
    assert (town.queued(), town.claimed(), town.starts(2)) == (1, 0, [])
    assert "upgrade of the database" in cli(town, "list").stderr
    assert "intake is paused since" in cli(town, "why", "2").stdout
    health = Health("127.0.0.1", 0, {"/readyz": lambda: ""}, lambda: town.loop.pulse.note)  # type: ignore[union-attr]
    health.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{health.port}/readyz", timeout=5) as answer:
        assert b"Intake is paused. upgrade of the database" in answer.read()
    health.close()
    town.open(1)
    town.until_ended(1, "completed")  # what was handed over goes on
    assert cli(town, "resume").stdout == "Intake goes on. 1 waiting.\n"
    town.until_ended(2, "completed")
    assert town.log("Intake is paused.") == town.log("Intake goes on.") == 1


def test_retries_go_on_while_intake_is_paused(town: Town) -> None:
    town.push(1, {"1": "exit 75"})
    town.until_stand(1, Stand.WAITING)
    town.store.pause()
    town.clock.shift = 301
    town.until_ended(1, "completed")


def test_a_dispatcher_that_starts_paused_gives_back_what_it_had_claimed(place: Town) -> None:
    """All but what has begun: its order must not be in the queue when it is over."""
    place.push(1, {"1": "hold"})
    place.start()
    place.until(lambda: place.starts(1), "it runs")
    place.stop()
    place.raw.lpush(names.claimed_list(QUEUE, "d1"), order(2), order(1, do={"1": "hold"}))
    place.store.pause()
    place.start()
    place.until(lambda: place.claimed() == 0, "nothing is claimed")
    assert place.raw.lrange(QUEUE, 0, -1) == [order(2)]
    assert place.starts(2) == []


def test_a_pause_is_no_busy_loop(town: Town) -> None:
    town.store.pause()
    town.stop()
    town.pace = type(town.pace)()
    town.push(1)
    town.start()
    town.turns(2)
    before = town.raw.info("stats")["total_commands_processed"]  # type: ignore[index]
    town.turns(2)
    after = town.raw.info("stats")["total_commands_processed"]  # type: ignore[index]
    assert after - before < 60


def test_what_was_never_paused_is_said_to_be_so(place: Town) -> None:
    assert cli(place, "resume").stdout == "Intake was not paused. 0 waiting.\n"


# --- pin ------------------------------------------------------------------------------------------
def test_a_pinned_volume_stays_until_it_is_unpinned(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    assert asked(town, "pin", 1) == Answer(True, "Task 1 is pinned: its volume stays.")
    town.clock.shift = 1e6
    town.turns(5)
    assert town.stand(1) is Stand.DONE
    assert asked(town, "unpin", 1).done
    town.until_stand(1, None)


def test_what_has_no_volume_cannot_be_pinned(town: Town) -> None:
    answer = asked(town, "pin", 7)
    assert answer == Answer(False, "Task 7 has no volume (any more) to be kept.")


# --- forget ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["completed", "failed"])
def test_the_volume_of_an_ended_task_is_removed_by_hand(town: Town, how: str) -> None:
    town.push(1, {"1": "told 65"} if how == "failed" else None)
    town.until_ended(1, how)
    town.until_stand(1, Stand.DONE if how == "completed" else Stand.FAILED)
    town.push(2)
    town.until_stand(2, Stand.DONE)
    assert asked(town, "forget", 1) == Answer(True, "Volume of task 1 is removed by hand.")
    assert town.stand(1) is None
    assert not (town.staging / "Task_1").exists()
    assert town.stand(2) is Stand.DONE
    assert town.store.show("1")["message"] == "Its volume was removed by an operator."
    assert town.status(1) == how
    assert town.raw.ttl(names.task_hash("1")) > 0  # type: ignore[operator]


def test_the_volume_of_a_running_task_is_not_removed(town: Town) -> None:
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    answer = asked(town, "forget", 1)
    assert answer == Answer(False, "Task 1 is running; `cancel` it first, or use --force.")
    assert town.stand(1) is Stand.ACTIVE


def test_by_force_a_running_task_is_cancelled_told_and_then_removed(town: Town) -> None:
    town.push(1, {"1": "hold"})
    town.until(lambda: town.starts(1), "it runs")
    assert asked(town, "forget-forced", 1).done
    assert town.stand(1) is None
    assert [kind for kind, _ in town.starts(1)] == ["run", "report"]
    (report,) = [e for e in town.journal("start") if e["kind"] == "report"]
    assert report["report"]["category"] == "cancelled"
    assert town.status(1) == "cancelled"


def test_a_pinned_volume_is_not_removed_by_force_either(town: Town) -> None:
    town.push(1)
    town.until_stand(1, Stand.DONE)
    asked(town, "pin", 1)
    answer = asked(town, "forget-forced", 1)
    assert answer == Answer(False, "Task 1 is pinned; `unpin` it first.")
    assert town.stand(1) is Stand.DONE


def test_a_volume_that_the_queue_speaks_of_is_not_removed(town: Town) -> None:
    town.push(1, {"1": "told 65"})
    town.until_stand(1, Stand.FAILED)
    town.store.pause()
    town.until(lambda: town.loop and town.loop.pulse.note, "the dispatcher has heard")
    town.push(1, force=True)
    answer = asked(town, "forget", 1)
    assert not answer.done
    assert "is waited for by an order in the queue; `cancel` it first" in answer.text
    assert asked(town, "forget-forced", 1).done
    assert (town.stand(1), town.queued()) == (None, 0)


def test_what_has_no_volume_cannot_be_forgotten(town: Town) -> None:
    assert not asked(town, "forget", 7).done


# --- dead letters ---------------------------------------------------------------------------------
@pytest.fixture
def letters(place: Town) -> Town:
    """Three dead letters: bytes of no encoding, no JSON, an order without an address."""
    place.raw.lpush(QUEUE, b"\xff\x00bytes", "no jsön", b'{"taskId":3}')
    place.start()
    place.until(lambda: place.store.dead_count() == 3, "all are dead letters")
    place.stop()
    return place


def test_dead_letters_are_listed_newest_first_with_numbers_that_stay(letters: Town) -> None:
    rows = json.loads(cli(letters, "dead", "--json").stdout)
    assert [row["number"] for row in rows] == [3, 2, 1]
    number = {row.get("message", row.get("message_base64")): row["number"] for row in rows}
    letters.raw.lpush(QUEUE, b"another")
    letters.start()
    letters.until(lambda: letters.store.dead_count() == 4, "another one")
    rows = json.loads(cli(letters, "dead", "--json").stdout)
    later = {row.get("message", row.get("message_base64")): row["number"] for row in rows}
    assert later == {**number, "another": 4}


def test_a_dead_letter_is_shown_with_reason_and_message(letters: Town) -> None:
    number = next(x.number for x in letters.store.letters() if x.message == "no jsön".encode())
    shown = cli(letters, "dead", "show", str(number))
    assert shown.returncode == 0
    assert "The message is no JSON" in shown.stdout
    assert shown.stdout.endswith("\nno jsön\n")


@pytest.mark.parametrize("message", [b"\xff\x00bytes", "no jsön".encode(), b'{"taskId":3}'])
def test_a_requeued_letter_is_in_the_queue_with_its_very_bytes(
    letters: Town, message: bytes
) -> None:
    number = next(x.number for x in letters.store.letters() if x.message == message)
    said = cli(letters, "dead", "requeue", str(number))
    assert said.stdout == f"Dead letter {number} is in the queue again.\n"
    assert letters.raw.lrange(QUEUE, 0, -1) == [message]
    assert message not in [letter.message for letter in letters.store.letters()]
    assert letters.store.dead_count() == 2


def test_a_letter_can_be_requeued_only_once(letters: Town) -> None:
    letter = letters.store.letters()[0]
    assert letters.store.requeue(letter)
    assert not letters.store.requeue(letter)
    assert letters.queued() == 1


def test_dead_letters_are_dropped_one_by_one_or_all(letters: Town) -> None:
    kept = letters.store.letters()[1].message
    assert cli(letters, "dead", "drop", "1").returncode == 0
    assert letters.store.letters()[0].message == kept
    assert cli(letters, "dead", "drop", "all").returncode == 0
    assert letters.store.dead_count() == 0
    assert letters.queued() == 0


def test_a_number_that_is_no_letter_s_is_a_no(letters: Town) -> None:
    done = cli(letters, "dead", "drop", "9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no dead letter 9" in done.stderr
    assert cli(letters, "dead", "requeue").returncode == 64
    assert letters.store.dead_count() == 3


def test_a_letter_that_somebody_else_wrote_is_requeued_as_it_is(place: Town) -> None:
    place.raw.lpush(names.dead_list(QUEUE), order(1))
    (letter,) = place.store.letters()
    assert letter.message == order(1)
    assert place.store.requeue(letter)
    assert place.raw.lrange(QUEUE, 0, -1) == [order(1)]
