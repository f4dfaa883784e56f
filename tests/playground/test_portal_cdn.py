"""The CDN: ranges, conditions, signatures, and a nose for tokens."""

import http.client
import shutil
import subprocess
from email.utils import formatdate
from urllib.parse import urlsplit

import pytest
import requests

from playground.content import File, Synthetic, sha256
from playground.portal import TOKEN, Place, Portal
from playground.portal import courses as c
from playground.portal.signing import Form
from tests.playground.playground_course import SIZE, VIDEO

WHOLE = Synthetic("welcome", SIZE).read(0, SIZE)


def test_an_object_comes_whole_with_its_length_and_validators(fetch):
    answer = fetch()
    assert answer.status_code == 200
    assert answer.content == WHOLE
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"')
    assert "Last-Modified" in answer.headers


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=10-19", 10, 20),
        (f"bytes=10-{SIZE + 5}", 10, SIZE),
        ("bytes=-100", SIZE - 100, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
    ],
)
def test_a_range_gives_exactly_these_bytes_and_says_so(fetch, asked, start, stop):
    answer = fetch(Range=asked)
    assert answer.status_code == 206
    assert answer.content == WHOLE[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"


def test_a_range_behind_the_end_is_416_with_the_total(fetch):
    answer = fetch(Range=f"bytes={SIZE}-")
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("asked", ["bytes=5-4", "bytes=-", "items=0-5", "bytes=0-1,5-6"])
def test_a_range_that_makes_no_sense_gives_the_whole(fetch, asked):
    assert fetch(Range=asked).content == WHOLE


def test_if_range_with_the_current_etag_or_date_resumes_and_with_another_starts_anew(portal, fetch):
    now = fetch().headers
    for validator in (now["ETag"], now["Last-Modified"]):
        assert fetch(Range="bytes=7-", If_Range=validator).status_code == 206
    for validator in ('"other"', f"W/{now['ETag']}", formatdate(0, usegmt=True)):
        assert fetch(Range="bytes=7-", If_Range=validator).status_code == 200


def test_a_replaced_object_has_other_bytes_another_etag_and_a_newer_date(portal, fetch):
    before = fetch()
    portal.replace(VIDEO, Synthetic("new", 500))
    after = fetch(Range="bytes=100-", If_Range=before.headers["ETag"])
    assert (after.status_code, len(after.content)) == (200, 500)
    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.headers["Last-Modified"] != before.headers["Last-Modified"]


def test_a_removed_object_is_404(portal, fetch):
    portal.catalogue.objects.remove(VIDEO)
    assert fetch().status_code == 404


def test_head_tells_the_length_and_sends_nothing(portal):
    answer = requests.head(portal.signed_url(VIDEO), timeout=10)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(SIZE))


@pytest.mark.parametrize("form", list(Form))
def test_a_link_of_any_form_opens_its_path_until_it_expires(portal, form):
    url = portal.signed_url(VIDEO, form)
    assert requests.get(url, timeout=10).status_code == 200
    portal.expire_links()
    assert requests.get(url, timeout=10).status_code == 403
    assert requests.get(portal.signed_url(VIDEO, form), timeout=10).status_code == 200


@pytest.mark.parametrize("form", list(Form))
def test_a_link_does_not_open_another_path(portal, form):
    query = urlsplit(portal.signed_url(VIDEO, form)).query
    other = f"{portal.cdn_url}/test-course/welcome/Auto.mp4?{query}"
    assert requests.get(other, timeout=10).status_code == 403


@pytest.mark.parametrize(
    "query",
    ["", "Expires=99999999999&Signature=x", "secure=x,99999999999", "token=a.b.c", "token=x"],
)
def test_a_link_with_a_made_up_signature_is_403(portal, query):
    assert requests.get(f"{portal.cdn_url}/{VIDEO}?{query}", timeout=10).status_code == 403


def test_a_link_cannot_be_given_more_time(portal):
    url = portal.signed_url(VIDEO)
    longer = url.replace("Expires=", "Expires=9")
    assert requests.get(longer, timeout=10).status_code == 403


@pytest.mark.parametrize("name", ["Authorization", "X-Udemy-Authorization", "Cookie"])
def test_a_credential_shown_to_the_cdn_is_noted_without_its_value(portal, fetch, name):
    fetch(Range="bytes=0-5")
    assert portal.ledger.credentials_at_cdn == []
    fetch(**{name: f"Bearer {TOKEN}"})
    assert portal.ledger.credentials_at_cdn == [f"GET {VIDEO}: {name.lower()}"]


def test_a_token_in_any_other_header_or_in_the_url_is_noted_too(portal, fetch):
    fetch(X_Anything=f"see {TOKEN}")
    requests.get(f"{portal.signed_url(VIDEO)}&access={TOKEN}", timeout=10)
    assert portal.ledger.credentials_at_cdn == [f"GET {VIDEO}: x-anything", f"GET {VIDEO}: the URL"]


def test_the_token_does_not_open_the_cdn(portal):
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Udemy-Authorization": f"Bearer {TOKEN}"}
    answer = requests.get(f"{portal.cdn_url}/{VIDEO}", headers=headers, timeout=10)
    assert answer.status_code == 403


def test_many_requests_go_over_one_connection(portal):
    connection = http.client.HTTPConnection("127.0.0.1", portal.cdn_server.port, timeout=10)
    parts = urlsplit(portal.signed_url(VIDEO))
    for _ in range(20):
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Range": "bytes=0-9"})
        assert connection.getresponse().read() == WHOLE[:10]
    connection.close()
    assert portal.ledger.meters["cdn"].total == 1
    assert portal.ledger.of(f"cdn:{VIDEO}").requests == 20


def test_a_file_is_sent_whole_and_in_part_as_it_is_on_disk(tmp_path):
    path = tmp_path / "lecture.mp4"
    path.write_bytes(Synthetic("file", 6_000_000).read(0, 6_000_000))
    video = c.Video("V", {720: File(path)})
    with Portal([c.Course("s", items=(video,))]) as portal:
        url = portal.signed_url("s/001/720.mp4")
        assert requests.get(url, timeout=10).content == path.read_bytes()
        part = requests.get(url, headers={"Range": "bytes=5000000-"}, timeout=10)
    assert part.content == path.read_bytes()[5_000_000:]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_resumes_a_half_file(portal, tmp_path):
    half = tmp_path / "half.mp4"
    half.write_bytes(WHOLE[:123_456])
    subprocess.run(
        ["curl", "-s", "-f", "-C", "-", "-o", str(half), portal.signed_url(VIDEO)],
        check=True,
        timeout=30,
    )
    assert half.read_bytes() == WHOLE
    assert portal.ledger.of(f"cdn:{VIDEO}").ranges == ["bytes=123456-"]


def test_links_name_the_host_the_client_used_for_the_api(portal):
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Udemy-Authorization": f"Bearer {TOKEN}"}
    number = portal.catalogue.listings[0].id
    url = f"http://localhost:{portal.api_server.port}/api-2.0/courses/{number}"
    url = f"{url}/subscriber-curriculum-items/?page_size=3"
    page = requests.get(url, headers=headers, timeout=10).json()
    video = page["results"][2]["asset"]["media_sources"][0]["src"]
    assert urlsplit(page["next"]).netloc == f"localhost:{portal.api_server.port}"
    assert urlsplit(video).netloc == f"localhost:{portal.cdn_server.port}"


def test_links_name_the_public_address_of_the_cdn_when_there_is_one():
    place = Place(public_cdn="http://cdn.example.test")
    with Portal(
        [c.Course("s", items=(c.Video("V", {360: Synthetic("v", 9)}),))], place=place
    ) as portal:
        assert portal.signed_url("s/001/360.mp4").startswith(
            "http://cdn.example.test/s/001/360.mp4?"
        )


def test_the_digest_of_the_stored_object_is_that_of_the_download(portal):
    assert sha256(portal.stored(VIDEO).content) == sha256(Synthetic("welcome", SIZE))
    with pytest.raises(KeyError, match="no object 'nothing'"):
        portal.stored("nothing")
