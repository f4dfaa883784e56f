"""The receiver: every proof is checked, every delivery kept, every script followed."""

import base64
import hashlib
import hmac
import json
import threading
import time

import pytest
import requests

from playground.receiver import Answer, Receiver
from playground.receiver.verify import Secrets, check, signing_key

SECRET, KEY = "s3cret", "whsec_" + base64.b64encode(b"k" * 32).decode()
EVENT = {
    "secret_key": SECRET,
    "task_id": 999,
    "folder_name": "test-course",
    "timestamp": 1768233600,
}


def dumped(event):
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def signed(body, key=b"k" * 32, stamp=None, number="999:completed"):
    stamp = str(int(time.time()) if stamp is None else stamp)
    standard = hmac.new(key, f"{number}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "X-Signature": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
        "webhook-id": number,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(standard).decode(),
    }


@pytest.fixture
def receiver():
    """A receiver that asks for all three proofs."""
    with Receiver(secret=SECRET, signing_key=KEY) as running:
        yield running


def post(receiver, event=EVENT, headers=None, body=None):
    body = dumped(event) if body is None else body
    headers = signed(body) if headers is None else headers
    return requests.post(
        receiver.url, data=body, headers=headers, timeout=10, allow_redirects=False
    )


def test_a_genuine_delivery_is_200_and_kept_as_it_came(receiver):
    answer = post(receiver)
    assert (answer.status_code, answer.text) == (200, "ok")
    delivery = receiver.wait(1)[0]
    assert delivery.genuine
    assert delivery.body == dumped(EVENT)
    assert delivery.json == EVENT
    assert delivery.headers["webhook-id"] == "999:completed"
    assert (delivery.number, delivery.status, delivery.path) == (1, 200, "/webhook")
    verdicts = delivery.verdicts
    assert verdicts.body == verdicts.secret_key == verdicts.signature == verdicts.standard == "ok"


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"secret_key": None}, 400, "missing secret_key"),
        ({"secret_key": "other"}, 401, "wrong secret_key"),
        ({"secret_key": 7}, 401, "wrong secret_key"),
        ({"task_id": None}, 400, "missing task_id"),
        ({"task_id": 1.5}, 400, "task_id has the wrong type"),
        ({"task_id": True}, 400, "task_id has the wrong type"),
        ({"folder_name": None}, 400, "missing folder_name"),
        ({"timestamp": "1768233600"}, 400, "timestamp has the wrong type"),
    ],
)
def test_a_body_that_lacks_something_is_refused_by_name(receiver, change, status, reason):
    event = {name: value for name, value in (EVENT | change).items() if value is not None}
    answer = post(receiver, event)
    assert (answer.status_code, answer.text) == (status, reason)
    assert not receiver.wait(1)[0].genuine


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"X-Signature": None}, "missing X-Signature"),
        ({"X-Signature": "sha256=00"}, "wrong X-Signature"),
        ({"X-Signature": "00"}, "wrong X-Signature"),
        ({"webhook-id": None}, "missing webhook-id"),
        ({"webhook-id": "other"}, "wrong webhook-signature"),
        ({"webhook-signature": "v1,AAAA"}, "wrong webhook-signature"),
        ({"webhook-timestamp": "soon"}, "webhook-timestamp is not within 300 s of now"),
        ({"webhook-timestamp": "1768233600"}, "webhook-timestamp is not within 300 s of now"),
    ],
)
def test_a_header_that_lacks_or_fails_is_401_by_name(receiver, change, reason):
    headers = {key: value for key, value in (signed(dumped(EVENT)) | change).items() if value}
    answer = post(receiver, headers=headers)
    assert (answer.status_code, answer.text) == (401, reason)


def test_a_body_changed_after_signing_fails_both_signatures(receiver):
    headers = signed(dumped(EVENT))
    post(receiver, EVENT | {"task_id": 1000}, headers)
    verdicts = receiver.wait(1)[0].verdicts
    assert verdicts.signature == "wrong X-Signature"
    assert verdicts.standard == "wrong webhook-signature"


def test_a_signature_by_another_key_fails(receiver):
    assert post(receiver, headers=signed(dumped(EVENT), key=b"other")).status_code == 401


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{", "application/json"), (b"[]", "application/json")]
)
def test_a_body_that_is_no_json_object_is_400(receiver, body, kind):
    answer = post(receiver, body=body)
    assert (answer.status_code, answer.text) == (400, "body is not a JSON object in UTF-8")


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=utf-8"])
def test_another_content_type_is_400(receiver, kind):
    answer = post(receiver, headers=signed(dumped(EVENT)) | {"Content-Type": kind})
    assert (answer.status_code, answer.text) == (400, "Content-Type is not application/json")


def test_one_right_signature_of_several_is_enough_so_keys_can_change(receiver):
    headers = signed(dumped(EVENT))
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert post(receiver, headers=headers).status_code == 200


def test_a_failure_event_may_carry_more_fields(receiver):
    assert post(receiver, EVENT | {"status": "failed", "error": "Not found."}).status_code == 200


def test_the_published_example_of_standard_webhooks_is_accepted():
    """Example of the specification's reference libraries, not made by anything here."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secrets = Secrets(signing_key=signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    body = b'{"test": 2432232314}'
    assert check(headers, body, secrets, 1614265330).standard == "ok"
    assert check(headers, body, secrets, 1614265330 + 301).standard != "ok"
    assert check(headers, body + b" ", secrets, 1614265330).standard == "wrong webhook-signature"


def test_a_plain_text_key_is_its_bytes_and_a_bad_base64_key_is_refused():
    assert signing_key("größer") == "größer".encode()
    with pytest.raises(ValueError, match="no base64"):
        signing_key("whsec_???")


def test_without_a_signing_key_the_secret_is_the_key():
    with Receiver(secret=SECRET) as receiver:
        headers = signed(dumped(EVENT), key=SECRET.encode())
        assert post(receiver, headers=headers).status_code == 200
        assert post(receiver).status_code == 401


def test_without_secrets_only_the_fields_are_checked():
    with Receiver() as receiver:
        event = {name: value for name, value in EVENT.items() if name != "secret_key"}
        answer = post(receiver, event, {"Content-Type": "application/json"})
        assert answer.status_code == 200
        assert receiver.wait(1)[0].verdicts.standard == "not checked"


def test_the_signature_header_may_have_another_name():
    with Receiver(secret=SECRET, signing_key=KEY, signature_header="X-Course-Hmac") as receiver:
        headers = signed(dumped(EVENT))
        assert post(receiver, headers=headers).text == "missing X-Course-Hmac"
        headers["X-Course-Hmac"] = headers.pop("X-Signature")
        assert post(receiver, headers=headers).status_code == 200


def test_a_script_decides_the_next_answers_then_judgement_again(receiver):
    receiver.answer_with(
        Answer(500, times=2),
        Answer(429, headers={"Retry-After": "3"}),
        Answer(302, headers={"Location": "/elsewhere"}),
        Answer(400, "missing secret_key"),
    )
    answers = [post(receiver) for _ in range(6)]
    assert [one.status_code for one in answers] == [500, 500, 429, 302, 400, 200]
    assert answers[2].headers["Retry-After"] == "3"
    assert answers[3].headers["Location"] == "/elsewhere"
    assert answers[4].text == "missing secret_key"
    deliveries = receiver.wait(6)
    assert [one.status for one in deliveries] == [500, 500, 429, 302, 400, 200]
    assert all(one.genuine for one in deliveries)


def test_an_answer_without_content_has_no_body_and_the_connection_lives_on(receiver):
    receiver.answer_with(Answer(204))
    with requests.Session() as session:
        codes = [
            session.post(
                receiver.url, data=dumped(EVENT), headers=signed(dumped(EVENT)), timeout=10
            )
            for _ in range(2)
        ]
    assert [one.status_code for one in codes] == [204, 200]
    assert (codes[0].content, codes[1].text) == (b"", "ok")


def test_a_hanging_answer_keeps_the_sender_waiting_until_it_gives_up(receiver):
    receiver.answer_with(Answer(200, hang=3600))
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(receiver.url, data=dumped(EVENT), headers=signed(dumped(EVENT)), timeout=0.2)
    assert receiver.wait(1)[0].genuine


def test_a_dropped_delivery_is_kept_but_not_answered(receiver):
    receiver.answer_with(Answer(drop=True))
    with pytest.raises(requests.exceptions.ConnectionError):
        post(receiver)
    assert receiver.wait(1)[0].status == 0


def test_waiting_returns_with_the_delivery_or_says_how_many_came(receiver):
    sender = threading.Thread(target=post, args=(receiver,))
    sender.start()
    assert len(receiver.wait(1)) == 1
    sender.join(10)
    with pytest.raises(TimeoutError, match="1 of 2"):
        receiver.wait(2, timeout=0.05)


def test_webhooks_come_by_post_only(receiver):
    assert requests.get(receiver.url, timeout=10).status_code == 405


def test_other_processes_read_deliveries_and_set_the_script(receiver):
    control = f"{receiver.base}/_control"
    assert requests.get(f"{control}/health", timeout=10).json() == {"ok": True}
    script = [{"status": 503, "body": "later", "times": 2}]
    assert requests.post(f"{control}/script", json=script, timeout=10).status_code == 200
    assert [post(receiver).status_code for _ in range(3)] == [503, 503, 200]
    kept = requests.get(f"{control}/deliveries", timeout=10).json()
    assert [one["status"] for one in kept] == [503, 503, 200]
    assert kept[0]["genuine"] is True
    assert kept[0]["body"] == dumped(EVENT).decode()
    assert kept[0]["verdicts"]["standard"] == "ok"
    requests.delete(f"{control}/deliveries", timeout=10)
    assert receiver.deliveries == []


@pytest.mark.parametrize("script", [{}, [5], [{"stats": 500}], "x"])
def test_a_script_that_cannot_be_understood_is_400(receiver, script):
    answer = requests.post(f"{receiver.base}/_control/script", json=script, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["detail"]
