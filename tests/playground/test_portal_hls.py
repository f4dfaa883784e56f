"""HLS items: playlists with signed links that lead to every segment."""

import re
from urllib.parse import urljoin

import pytest
import requests

from playground.content import Bytes, Synthetic
from playground.portal import TOKEN, Portal
from playground.portal import courses as c

SEGMENTS = tuple(c.Segment(Synthetic(f"s{number}", 1000 + number), 2.0) for number in range(3))
KEY = c.Key(Bytes(b"0123456789abcdef"), "0x" + "0" * 32)
BEARER = {"Authorization": f"Bearer {TOKEN}", "X-Udemy-Authorization": f"Bearer {TOKEN}"}


def streaming(**rendition):
    renditions = {360: c.Rendition(SEGMENTS, 500_000, **rendition)}
    return c.Course("s", items=(c.Hls("Stream", renditions, ref="h"),))


def get(url):
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200, url
    return answer


def links(url):
    return [urljoin(url, line) for line in get(url).text.splitlines() if line[0] != "#"]


def master(portal):
    number = portal.catalogue.listings[0].id
    url = f"{portal.url}/api-2.0/courses/{number}/subscriber-curriculum-items/"
    asset = requests.get(url, headers=BEARER, timeout=10).json()["results"][0]["asset"]
    source = asset["stream_urls"]["Video"][0]
    assert source["type"] == "application/x-mpegURL"
    assert source["label"] == "Auto"
    return source["file"]


def test_the_master_leads_to_the_rendition_and_that_to_every_segment():
    with Portal([streaming()]) as portal:
        (index,) = links(master(portal))
        bodies = [get(url).content for url in links(index)]
    assert bodies == [one.content.read(0, 5000) for one in SEGMENTS]


def test_a_rendition_is_a_complete_playlist():
    with Portal([streaming()]) as portal:
        lines = get(links(master(portal))[0]).text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert "#EXT-X-TARGETDURATION:2" in lines
    assert lines.count("#EXTINF:2.000000,") == 3
    assert lines[-1] == "#EXT-X-ENDLIST"
    assert not any(line.startswith("#EXT-X-KEY") for line in lines)


def test_the_links_of_a_playlist_expire_and_a_new_playlist_has_good_ones():
    with Portal([streaming()]) as portal:
        index = links(master(portal))[0]
        segment = links(index)[0]
        portal.expire_links()
        assert requests.get(index, timeout=10).status_code == 403
        assert requests.get(segment, timeout=10).status_code == 403
        get(links(links(master(portal))[0])[0])


def test_an_encrypted_rendition_names_its_key_and_the_key_can_be_had():
    with Portal([streaming(key=KEY)]) as portal:
        index = links(master(portal))[0]
        found = re.search(r'#EXT-X-KEY:METHOD=(.+),URI="(.+)",IV=(0x0+)', get(index).text)
        assert found
        assert found[1] == "AES-128"
        assert get(urljoin(index, found[2])).content == b"0123456789abcdef"


def test_a_protected_rendition_names_a_licence_and_no_key():
    with Portal([streaming(method="SAMPLE-AES")]) as portal:
        text = get(links(master(portal))[0]).text
    assert 'METHOD=SAMPLE-AES,URI="skd://' in text
    assert 'KEYFORMAT="com.apple.streamingkeydelivery"' in text


@pytest.mark.parametrize(
    "key", ["s/x/master.m3u8", "s/h/hls/720/index.m3u8", "s/h/hls/x/index.m3u8", "s/h/hls/360/9.ts"]
)
def test_a_playlist_that_does_not_exist_is_404(key):
    with Portal([streaming()]) as portal:
        assert requests.get(portal.signed_url(key), timeout=10).status_code == 404
