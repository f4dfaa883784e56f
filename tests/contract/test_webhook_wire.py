"""The webhook's bytes: exactly what legacy controllers can check, signed as sent."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import webhook
from contract.webhook import Event

EVENT = Event(999, "test-course", 1768233600)
SECRET = "s3cret"
ids = st.integers(-(2**53) + 1, 2**53 - 1) | st.text(min_size=1, max_size=40)
events = st.builds(
    Event,
    task_id=ids,
    folder_name=st.text(max_size=40),
    timestamp=st.integers(0, 2**40),
    status=st.sampled_from(["completed", "failed", "cancelled"]),
    error=st.text(max_size=40),
)


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC as RFC 2104 writes it down, so that the product's own is not checked by itself."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + data).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()


# --- the body -------------------------------------------------------------------------------------
def test_the_body_is_the_one_the_legacy_controller_knows_byte_for_byte() -> None:
    assert webhook.body(EVENT, SECRET) == (
        b'{"secret_key":"s3cret","task_id":999,"folder_name":"test-course","timestamp":1768233600}'
    )


def test_an_id_that_was_a_text_stays_a_text() -> None:
    body = webhook.body(Event("999", "f", 1), SECRET)
    assert b'"task_id":"999"' in body


def test_letters_are_sent_as_they_are() -> None:
    body = webhook.body(Event(1, 'Café – 漢字 😀 / \\ " \u2028', 1), SECRET)
    assert 'Café – 漢字 😀 / \\\\ \\" \u2028'.encode() in body


def test_without_a_secret_there_is_no_such_field() -> None:
    assert b"secret_key" not in webhook.body(EVENT, None)


def test_a_failure_says_so_after_the_fields_of_success() -> None:
    body = webhook.body(Event(999, "", 1, "failed", "The volume is full."), SECRET)
    assert body.endswith(b'"timestamp":1,"status":"failed","error":"The volume is full."}')


ECHO = (
    "let s='';process.stdin.setEncoding('utf8');process.stdin.on('data',d=>s+=d);"
    "process.stdin.on('end',()=>{for(const b of JSON.parse(s))"
    "console.log(JSON.stringify(JSON.stringify(JSON.parse(b))))})"
)


def through_node(node: str, bodies: list[bytes]) -> list[bytes]:
    """What an Express controller hashes: JSON.stringify(req.body)."""
    given_ = json.dumps([body.decode() for body in bodies])
    done = subprocess.run(
        [node, "-e", ECHO], input=given_.encode(), capture_output=True, check=True
    )
    return [json.loads(line).encode() for line in done.stdout.splitlines()]


@settings(max_examples=8, deadline=None)
@given(st.lists(events, min_size=20, max_size=60))
def test_express_that_hashes_the_parsed_body_gets_the_same_bytes(
    node: str, many: list[Event]
) -> None:
    bodies = [webhook.body(event, SECRET) for event in many]
    assert through_node(node, bodies) == bodies


@given(events)
def test_the_body_says_what_the_event_says(event: Event) -> None:
    data = json.loads(webhook.body(event, SECRET))
    assert data["task_id"] == event.task_id
    assert type(data["task_id"]) is type(event.task_id)
    assert (data["folder_name"], data["timestamp"]) == (event.folder_name, event.timestamp)
    assert set(data) == {"secret_key", "task_id", "folder_name", "timestamp"} | (
        set() if event.status == "completed" else {"status", "error"}
    )


# --- signatures -----------------------------------------------------------------------------------
@given(events, st.binary(min_size=1, max_size=100))
def test_both_signatures_are_right_when_computed_by_other_means(event: Event, key: bytes) -> None:
    body = webhook.body(event, SECRET)
    headers = webhook.headers(event, body, key, now=1768233601)
    assert headers["X-Signature"] == "sha256=" + hmac_sha256(key, body).hex()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac_sha256(key, signed)).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert headers["webhook-timestamp"] == "1768233601"
    assert headers["Content-Type"] == "application/json"


def test_a_standard_webhooks_key_is_the_base64_behind_its_prefix() -> None:
    key = webhook.signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert key == base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert len(key) == 24


def test_the_hmac_header_can_have_another_name() -> None:
    headers = webhook.headers(EVENT, b"{}", b"k", now=1, signature_header="X-Hub-Signature-256")
    assert "X-Hub-Signature-256" in headers
    assert "X-Signature" not in headers


def test_a_plain_key_is_its_utf_8_bytes() -> None:
    assert webhook.signing_key("pässword") == "pässword".encode()


@pytest.mark.parametrize("key", ["whsec_", "whsec_!!!", "whsec_abc", "whsec_ä", "whsec_YQ==\n"])
def test_what_follows_whsec_must_be_base64_of_something(key: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        webhook.signing_key(key)


# --- the id ---------------------------------------------------------------------------------------
def test_the_id_of_an_event_is_the_same_in_every_try_and_another_for_other_events() -> None:
    again = Event(999, "test-course", 1768233600)
    others = [
        Event(998, "test-course", 1768233600),
        Event(999, "test-course", 1768233600, "failed"),
        Event(999, "test-course", 1768233601),
    ]
    assert EVENT.id == again.id == "999:completed:1768233600"
    assert len({EVENT.id, *(other.id for other in others)}) == 4


@given(events)
def test_an_id_is_safe_in_a_header_and_in_front_of_a_full_stop(event: Event) -> None:
    assert event.id.isascii()
    assert event.id.replace(":", "").replace("-", "").replace("_", "").isalnum()
    assert len(event.id) <= 300


@given(events, events)
def test_events_of_two_tasks_or_times_have_two_ids(one: Event, other: Event) -> None:
    def what(event: Event) -> tuple[str, str, int]:
        return str(event.task_id), event.status, event.timestamp

    assert (one.id == other.id) == (what(one) == what(other))
