"""The announcement: delivered, tried again, or refused; and what the receiver sees of it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from contract.errors import NotDelivered, Stopped
from contract.outcome import ExitCode
from contract.webhook import Event
from job_image.webhook import WAIT_LIMIT, WebhookRefused, deliver, retry_after
from playground.receiver import Answer, Receiver
from tests.job_image.deliver.run import Runs, until
from tests.job_image.deliver.webhook_sender import EVENT, KEY, SECRET, sender
from tests.services import free_port


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that checks every proof."""
    with Receiver(secret=SECRET, signing_key=KEY) as running:
        yield running


# --- what is sent ---------------------------------------------------------------------------------
def test_the_receiver_finds_every_proof_good(runs: Runs, receiver: Receiver) -> None:
    run = sender(runs, receiver.url)
    deliver(run.context(), EVENT)
    (delivery,) = receiver.wait(1)
    assert delivery.genuine
    assert delivery.json == {
        "secret_key": SECRET,
        "task_id": 999,
        "folder_name": "test-course",
        "timestamp": 1768233600,
    }
    assert run.lines("WEBHOOK") == ["Try 1 of 3: delivered; answered 200."]


def test_every_try_sends_the_same_body_and_a_new_time(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(500))
    run = sender(runs, receiver.url, WEBHOOK_TRIES="0,1100ms")
    deliver(run.context(), EVENT)
    first, second = receiver.wait(2)
    assert first.body == second.body
    assert second.genuine
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == EVENT.id
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])


def test_the_body_secret_can_be_left_out(runs: Runs) -> None:
    with Receiver() as receiver:
        run = sender(runs, receiver.url, WEBHOOK_BODY_SECRET="false")
        receiver.answer_with(Answer(200))
        deliver(run.context(), EVENT)
        (delivery,) = receiver.wait(1)
    assert "secret_key" not in delivery.json


def test_the_signature_header_has_the_name_that_was_set(runs: Runs) -> None:
    with Receiver(secret=SECRET, signing_key=KEY, signature_header="X-Hub-256") as receiver:
        run = sender(runs, receiver.url, WEBHOOK_SIGNATURE_HEADER="X-Hub-256")
        deliver(run.context(), EVENT)
        assert receiver.wait(1)[0].genuine


@pytest.fixture
def legacy(node: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A Node.js controller that hashes `JSON.stringify(body)`; its URL and its process."""
    script = str(Path(__file__).with_name("legacy_controller.js"))
    with subprocess.Popen(
        [node, script], env={"SECRET": SECRET}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/hook", process
        process.terminate()


@pytest.mark.parametrize(
    "event",
    [
        EVENT,
        Event("a-1", "Kurs für Anfänger — 日本語 🎓", 1768233600),
        Event(2**53 - 1, 'quotes " and \\ and / and \u2028', 0),
        Event("0", "control \t\n\x01\x7f", 1),
        Event("1e3", "", 1),
    ],
)
def test_a_controller_that_hashes_the_parsed_body_agrees(
    runs: Runs, legacy: tuple[str, subprocess.Popen[str]], event: Event
) -> None:
    url, process = legacy
    run = runs(WEBHOOK_URL=url, API_SECRET_KEY=SECRET, WEBHOOK_TRIES="0")
    deliver(run.context(), event)
    assert process.stdout
    status, _, text = process.stdout.readline().partition(" ")
    assert status == "200"
    assert json.loads(text) == {
        "id": event.task_id,
        "folder": event.folder_name,
        "keys": ["secret_key", "task_id", "folder_name", "timestamp"],
    }


# --- tried again ----------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_answer_is_tried_again(runs: Runs, receiver: Receiver, status: int) -> None:
    receiver.answer_with(Answer(status, times=2))
    deliver(sender(runs, receiver.url).context(), EVENT)
    assert [delivery.status for delivery in receiver.wait(3)] == [status, status, 200]


def test_a_reset_connection_is_tried_again(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(drop=True))
    run = sender(runs, receiver.url)
    deliver(run.context(), EVENT)
    assert receiver.wait(2)[1].genuine
    assert "Try 1 of 3: not delivered; no answer: Connection reset by peer." in run.log


def test_an_answer_that_does_not_come_is_tried_again(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(200, hang=30))
    run = sender(runs, receiver.url, WEBHOOK_TIMEOUT="300ms")
    deliver(run.context(), EVENT)
    assert "no answer: nothing came within 0.3 s" in run.lines("WEBHOOK")[0]


def test_after_the_last_try_the_event_is_not_delivered(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503, "deploying", {"Retry-After": "1"}, times=9))
    run = sender(runs, receiver.url, WEBHOOK_TRIES="0,10ms")
    with pytest.raises(
        NotDelivered, match="in 2 tries; at last: answered 503: deploying"
    ) as caught:
        deliver(run.context(), EVENT)
    assert not isinstance(caught.value, WebhookRefused)
    assert caught.value.retry_after == 1
    assert caught.value.code is ExitCode.NOT_DELIVERED
    assert len(receiver.wait(2)) == 2


def test_nobody_listening_is_not_delivered(runs: Runs) -> None:
    run = sender(runs, f"http://127.0.0.1:{free_port()}/hook?token=in-the-query")
    with pytest.raises(NotDelivered, match="no answer: Connection refused") as caught:
        deliver(run.context(), EVENT)
    assert "in-the-query" not in run.log + caught.value.summary


def test_an_unknown_host_is_not_delivered(runs: Runs) -> None:
    with pytest.raises(NotDelivered, match=r"http://nowhere.invalid/hook"):
        deliver(sender(runs, "http://nowhere.invalid/hook").context(), EVENT)


def test_retry_after_is_waited_for(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(429, headers={"Retry-After": "1"}))
    deliver(sender(runs, receiver.url).context(), EVENT)
    first, second = receiver.wait(2)
    assert second.at - first.at >= 1


def test_a_long_retry_after_is_left_to_the_dispatcher(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503, headers={"Retry-After": "3600"}, times=9))
    with pytest.raises(NotDelivered, match="asks to wait 3600 s") as caught:
        deliver(sender(runs, receiver.url).context(), EVENT)
    assert caught.value.retry_after == 3600
    assert len(receiver.wait(1)) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), ("120", 120), (formatdate(1060, usegmt=True), 60), (formatdate(900), 0)],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, expected: float) -> None:
    assert retry_after(value, 1000) == expected
    assert expected <= WAIT_LIMIT


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "²", "Mon, 99 Foo 2026"])
def test_any_other_retry_after_is_ignored(value: str | None) -> None:
    assert retry_after(value, 1000) is None


def test_being_told_to_stop_ends_the_waiting(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503, times=9))
    run = sender(runs, receiver.url, WEBHOOK_TRIES="0,1h")
    context = run.context()

    def stop_after_first_try() -> None:
        receiver.wait(1)
        run.stop.request()

    threading.Thread(target=stop_after_first_try, daemon=True).start()
    with pytest.raises(Stopped):
        deliver(context, EVENT)


# --- refused --------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 301, 302, 307, 308])
def test_a_refusal_is_not_hammered(runs: Runs, receiver: Receiver, status: int) -> None:
    receiver.answer_with(Answer(status, "no", times=9))
    with pytest.raises(WebhookRefused, match=f"refused event {EVENT.id}: answered {status}"):
        deliver(sender(runs, receiver.url).context(), EVENT)
    assert len(receiver.wait(1)) == 1


def test_a_refusal_repeats_the_answer_and_no_secret(runs: Runs, receiver: Receiver) -> None:
    receiver.answer_with(Answer(400, f"got {SECRET}, " + "ü" * 2000))
    with pytest.raises(WebhookRefused) as caught:
        deliver(sender(runs, receiver.url).context(), EVENT)
    error = caught.value
    assert "got ****, üüü" in error.summary
    assert 400 < len(error.summary) < 700
    assert "retry the task" in error.advice
    assert error.outcome().exit == 76


def test_a_wrong_secret_is_refused_with_the_receivers_words(runs: Runs) -> None:
    with (
        Receiver(secret="another-secret") as receiver,
        pytest.raises(WebhookRefused, match=r"answered 401: .*secret_key"),
    ):
        deliver(sender(runs, receiver.url).context(), EVENT)


def test_a_redirect_is_named_without_its_query(runs: Runs, receiver: Receiver) -> None:
    place = {"Location": "https://u:pw@new.example/hook?sig=abc"}
    receiver.answer_with(Answer(308, headers=place))
    with pytest.raises(WebhookRefused, match=r"it points to https://new.example/hook$"):
        deliver(sender(runs, receiver.url).context(), EVENT)


def test_a_header_that_cannot_be_sent_is_refused_at_once(runs: Runs, receiver: Receiver) -> None:
    run = sender(runs, receiver.url)
    usual = run.context()
    webhook = replace(usual.settings.webhook, header="X Bad\x0bName:")  # settings refuse it
    context = replace(usual, settings=replace(usual.settings, webhook=webhook))
    with pytest.raises(WebhookRefused, match="WEBHOOK_SIGNATURE_HEADER cannot be used"):
        deliver(context, EVENT)
    assert len(run.lines("WEBHOOK")) == 1


def test_progress_says_that_it_announces(runs: Runs, receiver: Receiver) -> None:
    run = sender(runs, receiver.url)
    deliver(run.context(), EVENT)
    until(lambda: run.seen.updates, "progress was published")
    assert run.seen.updates[0]["phase"] == "announce"
