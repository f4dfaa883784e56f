"""The control API: what other processes can do to a portal."""

import hashlib
import threading

import pytest
import requests

from playground.content import Synthetic
from playground.portal import TOKEN
from tests.playground.playground_course import SIZE, VIDEO

TARGET = f"cdn:{VIDEO}"


@pytest.fixture
def control(portal):
    """Call a door of the control API; gives the JSON of an answer that must be 200."""

    def call(method, door, value=None, status=200):
        url = f"{portal.url}/_control/{door}"
        answer = requests.request(method, url, json=value, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json()

    return call


def test_health_answers_without_a_token_and_is_not_counted(portal, control):
    assert control("GET", "health") == {"ok": True}
    assert portal.ledger.visits() == []


def test_faults_are_added_one_or_many_read_and_cleared(control, fetch):
    control("POST", "faults", {"on": TARGET, "do": "status", "code": 500})
    control("POST", "faults", [{"on": TARGET, "do": "status", "code": 502, "skip": 1}])
    assert [fetch().status_code for _ in range(3)] == [500, 502, 200]
    assert [rule["met"] for rule in control("GET", "faults")] == [3, 3]
    control("DELETE", "faults")
    assert control("GET", "faults") == []


def test_a_list_with_one_bad_fault_adds_none(control):
    rules = [{"on": "*", "do": "drop"}, {"on": "*", "do": "nonsense"}]
    assert "must be one of" in control("POST", "faults", rules, status=400)["detail"]
    assert control("GET", "faults") == []


def test_the_ledger_is_read_with_or_without_visits_and_reset(portal, control, fetch):
    fetch(Range="bytes=0-9")
    portal.ledger.settle()
    ledger = control("GET", "ledger")
    assert ledger["targets"][TARGET]["ranges"] == ["bytes=0-9"]
    assert ledger["targets"][TARGET]["statuses"] == {"206": 1}
    assert len(ledger["visits"]) == 1
    assert control("GET", "ledger?visits=0")["visits"] == []
    control("DELETE", "ledger")
    assert control("GET", "ledger")["targets"] == {}


def test_objects_are_listed_with_their_digest_replaced_and_removed(control, fetch):
    assert control("GET", "objects")[VIDEO]["size"] == SIZE
    control("POST", "objects", {"key": VIDEO, "content": {"seed": "n", "size": "1KiB"}})
    listed = control("GET", "objects?sha256=1")[VIDEO]
    assert fetch().content == Synthetic("n", 1024).read(0, 1024)
    assert listed["sha256"] == hashlib.sha256(fetch().content).hexdigest()
    assert listed["etag"] == fetch().headers["ETag"]
    control("DELETE", "objects", {"key": VIDEO})
    assert fetch().status_code == 404


def test_an_object_may_be_replaced_under_its_old_etag(control, fetch):
    before = fetch().headers["ETag"]
    control("POST", "objects", {"key": VIDEO, "content": {"text": "x"}, "keep_etag": True})
    assert (fetch().content, fetch().headers["ETag"]) == (b"x", before)


def test_the_clock_is_moved_and_links_expire(portal, control, fetch):
    url = portal.signed_url(VIDEO)
    control("POST", "clock", {"shift": 3000})
    assert requests.get(url, timeout=10).status_code == 200
    assert control("POST", "clock", {"shift": 601})["shift"] == 3601
    assert requests.get(url, timeout=10).status_code == 403
    assert control("POST", "clock", {"ttl": 5})["ttl"] == 5
    url = portal.signed_url(VIDEO)
    control("POST", "expire")
    assert requests.get(url, timeout=10).status_code == 403
    assert fetch().status_code == 200


def test_stalled_answers_are_released(portal, control, fetch):
    control("POST", "faults", {"on": TARGET, "do": "stall", "after": 5})
    answers = []
    client = threading.Thread(target=lambda: answers.append(fetch()))
    client.start()
    portal.ledger.wait(lambda ledger: ledger.of(TARGET).stalled == 1)
    control("POST", "release")
    client.join(10)
    assert len(answers[0].content) == SIZE


def test_tokens_are_granted_and_revoked(control, ask):
    control("POST", "tokens", {"grant": "new", "courses": ["test-course"], "revoke": TOKEN})
    assert ask("users/me/subscribed-courses").status_code == 401
    assert ask("users/me/subscribed-courses", token="new").json()["count"] == 1


@pytest.mark.parametrize(
    ("method", "door", "value", "status"),
    [
        ("GET", "nothing", None, 404),
        ("PUT", "faults", None, 404),
        ("POST", "objects", {"key": "none", "content": "x"}, 400),
        ("POST", "objects", {"content": "x"}, 400),
        ("POST", "objects", {"key": VIDEO, "content": {"size": "5 miles"}}, 400),
        ("POST", "clock", {"ttl": "soon"}, 400),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(control, method, door, value, status):
    assert control(method, door, value, status)["detail"]
