"""Acting through the API: what the command line's verbs do, and a line that says who did it."""

from __future__ import annotations

import base64
import json

import pytest

from contract import names
from dispatcher.record import Stand
from tests.dispatcher.tasks import URL
from tests.dispatcher.town import QUEUE, Town
from tests.dispatcher.web.page_process import Page


def test_an_order_is_pushed_as_it_was_sent(town: Town, page: Page) -> None:
    answer = page.act("/tasks", json={"taskId": 31, "courseUrl": URL, "own": "field"})
    assert answer.json() == {"done": True, "text": "Task 31 is in the queue; 1 waiting."}
    town.until_stand(31, Stand.DONE)
    assert town.journal("start", 31)[0]["message"]["own"] == "field"
    assert "The operator (API, 127.0.0.1) ordered task 31." in page.lines()


def test_what_is_no_order_is_refused_and_not_pushed(town: Town, page: Page) -> None:
    answer = page.act("/tasks", json={"taskId": 31})
    assert answer.status_code == 400
    assert "courseUrl" in answer.json()["error"]
    assert town.queued() == 0


def test_of_many_dead_letters_the_newest_are_shown_and_said_to_be(town: Town, page: Page) -> None:
    """However many there are, a look reads two hundred."""
    dead = names.dead_list(QUEUE)
    town.raw.rpush(dead, *(f"no order {number}" for number in range(205)))
    try:
        letters = page.get("/api/v1/dead").json()
        assert (len(letters), letters[0]["number"], letters[-1]["number"]) == (200, 205, 6)
        assert "205 letters; the newest 200 are shown" in page.get("/dead").text
    finally:
        town.raw.delete(dead)


def test_requests_are_carried_out_by_the_dispatcher(town: Town, page: Page) -> None:
    town.push(32, {"1": "exit 65"})
    town.until_stand(32, Stand.FAILED)
    assert page.act("/tasks/32/pin").json()["text"].startswith("Task 32 is pinned")
    assert page.act("/tasks/32/forget").status_code == 409
    assert page.act("/tasks/32/unpin").status_code == 200
    assert page.act("/tasks/32/retry").status_code == 200
    town.until_stand(32, Stand.DONE)
    assert page.act("/tasks/32/forget").status_code == 200
    assert "asks to retry task 32." in page.lines()


def test_a_running_task_is_cancelled(town: Town, page: Page) -> None:
    town.push(33, {"1": "hold"})
    town.until(lambda: town.starts(33), "it runs")
    assert page.act("/tasks/33/cancel").json()["text"] == "Task 33 is cancelled."
    town.until_ended(33, "cancelled")


def test_an_id_with_every_odd_letter_can_be_acted_on(town: Town, page: Page) -> None:
    answer = page.act("/tasks/a%2Fb%20%3F%23%C3%BC%0A/pin")
    assert answer.status_code == 409
    assert "a/b ?#ü" in answer.json()["text"]


@pytest.mark.parametrize("raw", [b"no order", b"\xff\xfe\x00"])
def test_dead_letters_go_back_byte_for_byte_or_away(town: Town, page: Page, raw: bytes) -> None:
    town.raw.lpush(QUEUE, raw)
    town.until(lambda: town.store.dead_count() == 1, "it is dead")
    (letter,) = page.get("/api/v1/dead").json()
    wrong = page.act("/dead/1/drop", json={"mark": "0" * 16})
    assert wrong.status_code == 409
    town.store.pause()
    town.turns()
    assert page.act("/dead/1/requeue", json={"mark": letter["mark"]}).status_code == 200
    assert town.raw.lrange(QUEUE, 0, -1) == [raw]
    town.store.resume()
    town.until(lambda: town.store.dead_count() == 1, "it is dead again")
    assert page.act("/dead/1/drop").status_code == 200
    assert town.store.dead_count() == 0
    assert base64.b64encode(raw).decode() not in page.lines()


def test_intake_is_paused_with_a_reason_and_resumed(town: Town, page: Page) -> None:
    assert page.act("/pause", json={"why": "the disk is changed"}).status_code == 200
    assert town.store.paused()["why"] == "the disk is changed"
    assert page.act("/resume").status_code == 200
    assert page.act("/resume").status_code == 409
    assert "paused intake: the disk is changed." in page.lines()


@pytest.mark.parametrize("body", ["[]", "{", "1", '"why"', json.dumps([1])])
def test_a_body_that_is_no_object_changes_nothing(town: Town, page: Page, body: str) -> None:
    assert page.act("/pause", data=body).status_code == 400
    assert town.store.paused() == {}
