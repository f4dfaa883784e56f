"""Every fault does exactly what its name says, seen by a client."""

import gzip
import http.client
import json
import socket
import threading
from urllib.parse import urlsplit

import pytest
import requests

from playground.content import Synthetic
from playground.portal import TOKEN, actions
from playground.portal.catalogue import course_id
from tests.playground.playground_course import SIZE, VIDEO

TARGET = f"cdn:{VIDEO}"
WHOLE = Synthetic("welcome", SIZE).read(0, SIZE)
CURRICULUM = f"courses/{course_id('test-course')}/subscriber-curriculum-items/"


@pytest.fixture
def spoil(portal):
    """Put a fault on the video's next request."""

    def put(action, **rule):
        portal.faults.add(TARGET, action, **rule)

    return put


@pytest.fixture
def raw(portal):
    """GET the video on a bare socket; gives everything that came, and the error that ended it."""

    def get(**headers):
        parts = urlsplit(portal.signed_url(VIDEO))
        lines = [f"GET {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
            sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            return receive(sock)

    return get


def receive(sock):
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError as error:
        return data, error
    return data, None


def body(data):
    return data.partition(b"\r\n\r\n")[2]


def test_cut_by_reset_sends_exactly_so_many_bytes_then_resets(spoil, raw):
    spoil(actions.CutBody(after=123_457, how="reset"))
    data, error = raw()
    assert body(data) == WHOLE[:123_457]
    assert isinstance(error, ConnectionResetError)


def test_cut_by_reset_loses_none_of_the_bytes_before_it_however_many(portal, spoil, raw):
    """A reset throws away what the kernel still holds: the portal waits until it holds nothing."""
    portal.replace(VIDEO, Synthetic("large", 12_000_000))
    spoil(actions.CutBody(after=10_000_000, how="reset"))
    data, error = raw()
    assert body(data) == Synthetic("large", 10_000_000).read(0, 10_000_000)
    assert isinstance(error, ConnectionResetError)


def test_cut_by_close_looks_like_an_orderly_end_of_a_short_body(spoil, raw):
    spoil(actions.CutBody(after=1000, how="close"))
    data, error = raw()
    assert body(data) == WHOLE[:1000]
    assert error is None
    assert f"Content-Length: {SIZE}".encode() in data


def test_cut_counts_from_the_beginning_of_the_range(spoil, raw):
    spoil(actions.CutBody(after=10, how="close"))
    data, _ = raw(Range="bytes=500-")
    assert body(data) == WHOLE[500:510]


def test_cut_behind_the_end_does_nothing(spoil, fetch):
    spoil(actions.CutBody(after=SIZE))
    assert fetch().content == WHOLE


def test_stall_holds_the_body_until_released(portal, spoil, fetch):
    spoil(actions.StallBody(after=100_000))
    answers = []
    client = threading.Thread(target=lambda: answers.append(fetch()))
    client.start()
    portal.ledger.wait(lambda ledger: ledger.of(TARGET).stalled == 1)
    assert portal.ledger.of(TARGET).sent == 100_000
    portal.release()
    client.join(10)
    assert answers[0].content == WHOLE
    assert portal.ledger.of(TARGET).stalled == 0


def test_stall_ends_by_itself_after_its_seconds(spoil, fetch):
    spoil(actions.StallBody(after=5, seconds=0.05))
    answer = fetch()
    assert answer.content == WHOLE


def test_stall_ends_when_the_client_leaves(portal, spoil):
    spoil(actions.StallBody(after=10))
    answer = requests.get(portal.signed_url(VIDEO), stream=True, timeout=10)
    portal.ledger.wait(lambda ledger: ledger.of(TARGET).stalled == 1)
    answer.close()
    portal.ledger.wait(lambda ledger: ledger.of(TARGET).running == 0)
    assert portal.ledger.visits(TARGET)[0].outcome == "gone"


def test_delay_answers_nothing_until_released(portal, spoil, fetch):
    spoil(actions.Delay(3600))
    answers = []
    client = threading.Thread(target=lambda: answers.append(fetch()))
    client.start()
    portal.ledger.wait(lambda ledger: ledger.of(TARGET).stalled == 1)
    assert not answers
    portal.release()
    client.join(10)
    assert answers[0].content == WHOLE


def test_drop_resets_without_a_byte(spoil, raw):
    spoil(actions.Drop())
    data, error = raw()
    assert data == b""
    assert isinstance(error, ConnectionResetError)


def test_rate_limits_one_connection(portal, spoil, fetch):
    spoil(actions.Rate(1_000_000))
    assert fetch().content == WHOLE
    portal.ledger.settle()
    assert 0.25 < portal.ledger.visits(TARGET)[0].seconds < 5  # 300 kB at 1 MB/s


@pytest.mark.parametrize("code", [401, 403, 404, 410, 429, 500, 502, 503, 504])
def test_status_answers_with_the_code_and_json(spoil, fetch, code):
    spoil(actions.Status(code, detail="why"))
    answer = fetch()
    assert (answer.status_code, answer.json()) == (code, {"detail": "why"})
    assert "Retry-After" not in answer.headers
    assert fetch().status_code == 200


@pytest.mark.parametrize("value", [7, "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_status_may_say_when_to_come_back(spoil, fetch, value):
    spoil(actions.Status(429, retry_after=value))
    assert fetch().headers["Retry-After"] == str(value)


@pytest.mark.parametrize("code", [403, 503])
def test_challenge_is_html_with_the_marks_of_a_bot_guard(spoil, fetch, code):
    spoil(actions.Challenge(code))
    answer = fetch()
    assert answer.status_code == code
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Just a moment" in answer.text
    assert "challenge-platform" in answer.text
    assert answer.headers["cf-mitigated"] == "challenge"


def test_html_puts_an_error_page_under_200(spoil, fetch):
    spoil(actions.Html())
    answer = fetch()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_expired_answers_like_the_cdn_does_for_an_old_link(portal, spoil, fetch):
    spoil(actions.Expired())
    fault = fetch()
    url = portal.signed_url(VIDEO)
    portal.expire_links()
    real = requests.get(url, timeout=10)
    assert (fault.status_code, fault.content) == (real.status_code, real.content)
    assert fault.status_code == 403


def test_ignore_range_sends_all_under_200(spoil, fetch):
    spoil(actions.IgnoreRange())
    answer = fetch(Range="bytes=100-")
    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert "Content-Range" not in answer.headers


def test_ignore_if_range_sends_a_part_of_another_object(portal, spoil, fetch):
    etag = fetch().headers["ETag"]
    portal.replace(VIDEO, Synthetic("new", SIZE))
    spoil(actions.IgnoreIfRange())
    answer = fetch(Range="bytes=100-", If_Range=etag)
    assert answer.status_code == 206
    assert answer.content == Synthetic("new", SIZE).read(100, SIZE)


def test_wrong_content_range_lies_about_start_and_total_but_sends_what_was_asked(spoil, fetch):
    spoil(actions.WrongContentRange(start_by=-10, total_by=5))
    answer = fetch(Range="bytes=100-199")
    assert answer.headers["Content-Range"] == f"bytes 90-189/{SIZE + 5}"
    assert answer.content == WHOLE[100:200]


def test_wrong_content_range_with_move_body_sends_the_range_it_names(spoil, fetch):
    spoil(actions.WrongContentRange(start_by=-10, move_body=True))
    answer = fetch(Range="bytes=100-199")
    assert answer.headers["Content-Range"] == f"bytes 90-189/{SIZE}"
    assert answer.content == WHOLE[90:190]


def test_range_with_200_sends_the_part_under_200(spoil, fetch):
    spoil(actions.RangeWith200())
    answer = fetch(Range="bytes=100-")
    assert (answer.status_code, answer.content) == (200, WHOLE[100:])
    assert answer.headers["Content-Range"] == f"bytes 100-{SIZE - 1}/{SIZE}"


def test_unsatisfiable_is_416_with_the_true_total(spoil, fetch):
    spoil(actions.Unsatisfiable())
    answer = fetch(Range="bytes=5-")
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def test_weak_etag_is_weak_and_does_not_satisfy_if_range(spoil, fetch):
    spoil(actions.WeakEtag(), times=2)
    etag = fetch().headers["ETag"]
    assert etag.startswith('W/"')
    assert fetch(Range="bytes=5-", If_Range=etag).status_code == 200


def test_no_etag_leaves_the_date_unless_told_otherwise(spoil, fetch):
    spoil(actions.NoEtag())
    answer = fetch()
    assert "ETag" not in answer.headers
    assert "Last-Modified" in answer.headers
    spoil(actions.NoEtag(also_date=True))
    assert not {"ETag", "Last-Modified"} & set(fetch().headers)


def test_replace_serves_other_bytes_of_the_same_size_under_a_new_etag_every_time(spoil, fetch):
    before = fetch()
    spoil(actions.ReplaceObject("other"), times=None)
    first, second = fetch(), fetch()
    assert first.content == Synthetic("other", SIZE).read(0, SIZE)
    assert first.headers["ETag"] == second.headers["ETag"] != before.headers["ETag"]
    assert first.headers["Last-Modified"] == second.headers["Last-Modified"]
    assert first.headers["Last-Modified"] != before.headers["Last-Modified"]


def test_replace_may_keep_the_etag_and_change_the_size(spoil, fetch):
    before = fetch()
    spoil(actions.ReplaceObject("other", size=10, keep_etag=True))
    after = fetch()
    assert (len(after.content), after.headers["ETag"]) == (10, before.headers["ETag"])


@pytest.mark.parametrize(("size", "kept"), [(SIZE - 5, SIZE - 5), (SIZE + 5, SIZE)])
def test_resize_shrinks_or_grows_by_zeros(spoil, fetch, size, kept):
    spoil(actions.ResizeObject(size))
    content = fetch().content
    assert content == WHOLE[:kept].ljust(size, b"\0")


def test_gzip_packs_the_body_although_nobody_asked(spoil, raw):
    spoil(actions.Gzip())
    data, _ = raw(Connection="close")
    assert b"Content-Encoding: gzip" in data
    assert gzip.decompress(body(data)) == WHOLE


def test_chunked_tells_no_length_and_gives_all_bytes(spoil, fetch):
    spoil(actions.Chunked())
    answer = fetch()
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert answer.content == WHOLE


def test_unframed_ends_with_the_connection(spoil, fetch):
    spoil(actions.Unframed())
    answer = fetch()
    assert not {"Content-Length", "Transfer-Encoding"} & set(answer.headers)
    assert answer.content == WHOLE


def test_a_cut_chunked_body_lacks_its_last_chunk(spoil, fetch):
    spoil(actions.Chunked())
    spoil(actions.CutBody(after=1000, how="close"))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        fetch()


def test_redirect_leads_to_another_host_where_the_object_is(portal, spoil, fetch):
    spoil(actions.Redirect(), times=None)
    answer = fetch()
    assert [one.status_code for one in answer.history] == [302]
    assert urlsplit(answer.url).hostname == "localhost"
    assert answer.content == WHOLE


def test_json_puts_or_removes_values_anywhere_in_an_answer(portal, ask):
    target = "api:curriculum/test-course"
    portal.faults.add(target, actions.Json("results/*/title", value=7))
    portal.faults.add(target, actions.Json("results/2/asset/captions", remove=True))
    portal.faults.add(target, actions.Json("count", value="many"))
    page = ask(CURRICULUM, page_size=200).json()
    assert {one["title"] for one in page["results"]} == {7}
    assert "captions" not in page["results"][2]["asset"]
    assert page["count"] == "many"


def test_json_may_remove_every_element_of_a_list(portal, ask):
    portal.faults.add("api:curriculum/*", actions.Json("results/*", remove=True))
    assert ask(CURRICULUM).json()["results"] == []


def test_endless_next_names_the_page_itself(portal, ask):
    portal.faults.add("api:curriculum/*", actions.EndlessNext(), times=None)
    url = ask(CURRICULUM, page_size=200).json()["next"]
    assert ask(url).json()["next"] == url


def test_garbage_is_json_that_breaks_off_with_a_fitting_length(portal, ask):
    portal.faults.add("api:curriculum/*", actions.Garbage())
    answer = ask(CURRICULUM)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


def test_a_status_fault_hits_the_api_before_the_token_is_looked_at(portal, ask):
    portal.faults.add("api:subscribed-courses", actions.Status(503), times=2)
    codes = [ask("users/me/subscribed-courses", token=TOKEN).status_code for _ in range(3)]
    assert codes == [503, 503, 200]


def test_faults_combine_in_the_order_of_the_script(spoil, fetch):
    spoil(actions.WeakEtag())
    spoil(actions.RangeWith200())
    spoil(actions.Chunked())
    answer = fetch(Range="bytes=9-")
    assert (answer.status_code, answer.content) == (200, WHOLE[9:])
    assert answer.headers["ETag"].startswith("W/")
    assert answer.headers["Transfer-Encoding"] == "chunked"


def test_a_cut_is_not_noticed_by_a_client_that_trusts_read(portal, spoil):
    """The standard library takes an orderly short body for whole; real clients must not."""
    spoil(actions.CutBody(after=1000, how="close"))
    parts = urlsplit(portal.signed_url(VIDEO))
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    first, rest = answer.read(600), answer.read(SIZE)
    connection.close()
    assert first + rest == WHOLE[:1000]
