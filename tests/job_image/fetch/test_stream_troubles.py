"""Films in pieces on bad days: links that end, pieces that fail, changes, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import Temporary
from playground.content import Bytes, Content, Synthetic
from playground.portal import TOKEN, actions
from playground.portal.catalogue import Stored
from playground.portal.courses import Article, Chapter, Course, Hls
from tests.job_image.fetch.footage import (
    FOLDER,
    NAME,
    Footage,
    Says,
    course,
    listing,
    look,
    read,
    rendition,
    say,
    sealed,
    seems_to_fit,
)
from tests.job_image.fetch.order import Order, run_child

Ordering = Callable[..., Order]
END = "#EXT-X-ENDLIST"
PIECES = [f"{FOLDER}/144/{number:05}.ts" for number in range(3)]


def requests(order: Order) -> list[int]:
    """How often each piece was asked for."""
    return [order.portal.ledger.of(one).requests for one in PIECES]


def stored(order: Order) -> list[str]:
    """The finished pieces on the volume."""
    return sorted(one.name for one in (order.root / ".state/parts").rglob("*.seg"))


def fails(order: Order) -> str:
    """Run the fetch step, which must fail for a passing reason; return its words."""
    with pytest.raises(Temporary) as caught:
        order.fetch()
    return caught.value.summary


def test_pieces_come_side_by_side(ordering: Ordering, footage: Footage) -> None:
    """One film alone uses the lines that the order has."""
    order = ordering(course(footage.plain), environ={"DOWNLOAD_CONCURRENCY": "3"})
    for each in PIECES[:2]:
        order.portal.faults.add(each, actions.StallBody(100))

    class Release(actions.Action):
        """Lets the others go on once the last piece is asked for."""

        def on_request(self, request):  # type: ignore[no-untyped-def]
            order.portal.ledger.wait(
                lambda ledger: all(ledger.of(one).stalled for one in PIECES[:2])
            )
            order.portal.release()
            return request

    order.portal.faults.add(PIECES[2], Release())
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_tokens_that_end_in_the_middle_are_renewed(ordering: Ordering, footage: Footage) -> None:
    """The playlists are read again for all pieces at once; what is here is not fetched again."""
    order = ordering(course(footage.plain), environ={"DOWNLOAD_CONCURRENCY": "1"})
    order.portal.faults.add(PIECES[1], actions.Expired())
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert requests(order) == [1, 2, 1]
    assert order.portal.ledger.of(f"{FOLDER}/144/index.m3u8").requests == 2


def test_an_ended_playlist_address_is_renewed(ordering: Ordering, footage: Footage) -> None:
    """A 403 for the first playlist leads through the lecture to a fresh address."""
    order = ordering(course(footage.plain))
    order.portal.faults.add("cdn:s/001/master.m3u8", actions.Expired())
    order.fetch()
    assert order.portal.ledger.of("api:lecture/s/001").requests == 1
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_a_redirected_playlist_has_its_links_there(ordering: Ordering, footage: Footage) -> None:
    """Links are relative to where the playlist came from in the end."""
    order = ordering(course(footage.plain))
    order.portal.faults.add("cdn:s/001/master.m3u8", actions.Redirect())
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert order.portal.ledger.credentials_at_cdn == []


def test_a_cut_piece_goes_on(ordering: Ordering, footage: Footage) -> None:
    """A connection that breaks in a piece, a playlist or a key costs a try."""
    order = ordering(course(footage.plain))
    for each in (*PIECES, f"{FOLDER}/144/index.m3u8", "cdn:s/001/master.m3u8"):
        order.portal.faults.add(each, actions.CutBody(30))
    order.portal.faults.add(PIECES[0], actions.Status(503))
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_a_piece_that_cannot_be_had_is_named(ordering: Ordering, footage: Footage) -> None:
    """What has come is kept, durable each on its own; the next run asks for the rest alone."""
    order = ordering(course(footage.plain), environ={"DOWNLOAD_CONCURRENCY": "1"})
    order.portal.faults.add(PIECES[1], actions.Status(404), times=None)
    summary = fails(order)
    assert "1 of 1 files could not be fetched: s/01 - A/001 Film.mp4: " in summary
    assert "answers 404 even to a fresh address" in summary
    assert "s/01 - A/001 Film.mp4, piece 2: " in order.log
    assert [one[:5] for one in stored(order)] == ["00000"]
    order.portal.faults.clear()
    order.portal.ledger.reset()
    fetched = order.fetch()
    assert requests(order) == [0, 1, 1]
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert fetched.bytes_reused == footage.plain[0].size
    assert "1 goes on at" in order.log


def test_a_damaged_piece_is_fetched_again(ordering: Ordering, footage: Footage) -> None:
    """A piece on the volume that has lost bytes counts as none."""
    order = ordering(course(footage.plain), environ={"DOWNLOAD_CONCURRENCY": "1"})
    order.portal.faults.add(PIECES[2], actions.Status(404), times=None)
    fails(order)
    with next((order.root / ".state/parts").rglob("00000.*.seg")).open("r+b") as file:
        file.truncate(500)
    order.portal.faults.clear()
    order.portal.ledger.reset()
    order.fetch()
    assert requests(order) == [1, 0, 1]
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_another_film_between_two_runs_is_taken_whole(ordering: Ordering, footage: Footage) -> None:
    """A playlist with other pieces begins anew: nothing of two films is mixed."""
    order = ordering(course([*footage.plain, *footage.other]))
    say(order, *listing(3), END)
    order.portal.faults.add(PIECES[1], actions.Status(404), times=None)
    fails(order)
    order.portal.faults.clear()
    say(order, *listing(2, 3), END)
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen_other.pictures


def test_another_film_in_the_middle_of_a_run(ordering: Ordering, footage: Footage) -> None:
    """A playlist that is another one when it is read for fresh tokens: the film begins anew."""
    order = ordering(course([*footage.plain, *footage.other]))
    say(order, *listing(3), END, times=1)
    order.portal.faults.add(PIECES[1], actions.Expired(), times=None)
    order.portal.faults.add(
        f"{FOLDER}/144/index.m3u8",
        Says(order, "\n".join(["#EXTM3U", *listing(2, 3), END])),
        skip=1,
        times=None,
    )
    order.fetch()
    assert "The film has changed on the server" in order.log
    assert look(order.path(NAME)).pictures == footage.seen_other.pictures


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (listing(3), "it has no end"),
        ([END], "it names no pieces"),
        (["#EXTINF:2,", "#EXT-X-BYTERANGE:5", "{00000.ts}", END], "begins nowhere"),
        (["#EXTINF:2,", "http://[/x", END], "what is no address"),
        (['#EXT-X-KEY:METHOD=AES-128,URI="{00000.ts}",IV=7', *listing(3), END], "vector is none"),
        (['#EXT-X-KEY:METHOD=AES-128,URI="{00000.ts}"', *listing(3), END], "instead of 16"),
        (["#EXT-X-STREAM-INF:BANDWIDTH=1", "{00000.ts}"], "names renditions again"),
    ],
)
def test_a_playlist_that_cannot_be_relied_on(
    ordering: Ordering, footage: Footage, lines: list[str], words: str
) -> None:
    """Whatever is wrong with a playlist is said, and costs its film alone."""
    film = Hls("Film", {144: rendition(footage.plain)})
    order = ordering(Course("s", chapters=(Chapter("A", (film, Article("Text", "x"))),)))
    say(order, *lines)
    assert words in fails(order)
    assert order.files() == ["01 - A/002 Text.html"]


@pytest.mark.parametrize("body", ["", "<html>Sorry</html>", "\x00\xff", "#EXTM3U"])
def test_what_is_no_playlist(ordering: Ordering, footage: Footage, body: str) -> None:
    """A page, noise or nothing where a playlist should be."""
    order = ordering(course(footage.plain))
    order.portal.faults.add("cdn:s/001/master.m3u8", Says(order, body), times=None)
    assert "The playlist cannot be used: it " in fails(order)


def test_a_key_that_does_not_fit(ordering: Ordering, footage: Footage) -> None:
    """Pieces that the key does not open are fetched anew once, and then the film is named."""
    parts = [sealed(one, b"sixteen byte key", bytes(16)) for one in footage.plain]
    order = ordering(course([*parts, Bytes(b"the wrong 16 key")]))
    line = f'#EXT-X-KEY:METHOD=AES-128,URI="{{00003.ts}}",IV=0x{bytes(16).hex()}'
    say(order, line, *listing(3), END)
    words = fails(order)
    assert "its key does not fit" in words or "in no format that HLS knows" in words
    assert requests(order) == [2, 2, 2]
    assert order.files() == []


KEYS = [number.to_bytes(16, "big") for number in range(1, 5000)]
KEY_LINE = f'#EXT-X-KEY:METHOD=AES-128,URI="{{00003.ts}}",IV=0x{bytes(16).hex()}'


def under(key: bytes, footage: Footage) -> list[Bytes]:
    """The pieces encrypted with a key, and the key."""
    return [*(sealed(one, key, bytes(16)) for one in footage.plain), Bytes(key)]


def test_another_key_between_two_runs(ordering: Ordering, footage: Footage) -> None:
    """Pieces under an old key are not used, even where the new one seems to fit them."""
    old = under(KEYS[0], footage)
    order = ordering(course(old), environ={"DOWNLOAD_CONCURRENCY": "1"})
    say(order, KEY_LINE, *listing(3), END)
    order.portal.faults.add(PIECES[2], actions.Status(404), times=None)
    fails(order)
    next((order.root / ".state/parts").rglob("00000.*.seg")).unlink()
    assert [one[:5] for one in stored(order)] == ["00001"]
    other = next(key for key in KEYS[1:] if seems_to_fit(key, old[1], bytes(16)))
    order.portal.faults.clear()
    say(order, KEY_LINE, *listing(3), END)
    for number, content in enumerate(under(other, footage)):
        order.portal.replace(f"s/001/hls/144/{number:05}.ts", content)
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_a_piece_under_another_key_in_the_middle(ordering: Ordering, footage: Footage) -> None:
    """Noise that ends as a piece should is no piece: it is fetched again."""
    key = KEYS[0]
    order = ordering(course(under(key, footage)), environ={"DOWNLOAD_CONCURRENCY": "1"})
    say(order, KEY_LINE, *listing(3), END)
    odd = (sealed(footage.plain[1], other, bytes(16)) for other in KEYS[1:])
    noise = next(one for one in odd if seems_to_fit(key, one, bytes(16)))

    class Serves(actions.Action):
        """The piece as nobody can use it."""

        def on_object(self, stored: Stored) -> Stored:
            return stored.replaced(noise, keep_etag=True)

    order.portal.faults.add(PIECES[1], Serves())
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert requests(order) == [2, 2, 2]


@pytest.mark.parametrize("content", [Bytes(b'{"error": "busy"}'), Synthetic("noise", 9000)])
def test_a_piece_that_is_none_in_the_middle(
    ordering: Ordering, footage: Footage, content: Content
) -> None:
    """What comes under 200 and is no piece of the film is fetched again, and leaves no hole."""
    order = ordering(course(footage.plain))

    class Serves(actions.Action):
        """The piece as something else."""

        def on_object(self, stored: Stored) -> Stored:
            return stored.replaced(content, keep_etag=True)

    order.portal.faults.add(PIECES[1], Serves())
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert requests(order) == [2, 2, 2]


@pytest.mark.parametrize("content", [Synthetic("noise", 9000), Bytes(b"\x47" * 5000)])
def test_pieces_that_are_no_film(ordering: Ordering, content: object) -> None:
    """Noise instead of pieces: an error that says so, and no file that looks finished."""
    order = ordering(course([content] * 3))  # type: ignore[list-item]
    assert "ieces" in fails(order)
    assert order.files() == []


def test_a_piece_that_is_a_playlist_of_local_files_is_no_film(
    ordering: Ordering, footage: Footage, tmp_path: Path
) -> None:
    """A server cannot make the job read its own files into a film."""
    secret = tmp_path / "secret.ts"
    secret.write_bytes(read(footage.plain[0]))
    trap = f"#EXTM3U\n#EXTINF:2,\nfile://{secret}\n{END}\n".encode()
    order = ordering(course([Bytes(trap)]))
    assert "in no format that HLS knows" in fails(order)


def test_a_damaged_film_on_the_volume_is_fetched_again(
    ordering: Ordering, footage: Footage
) -> None:
    """A finished film whose size is not the manifest's is made again."""
    order = ordering(course(footage.plain))
    order.fetch()
    order.path(NAME).write_bytes(b"half")
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert requests(order) == [2, 2, 2]


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the fetch step as a process; whatever is left of it ends with the test."""
    children: list[subprocess.Popen[bytes]] = []

    def run(order: Order, **more: str) -> subprocess.Popen[bytes]:
        message = {"taskId": 7, "courseUrl": order.portal.course_url(order.slug)}
        values = {"TASK": json.dumps(message), "SANDBOX": str(order.root), "PLATFORM_TOKEN": TOKEN}
        command = [sys.executable, "-m", "tests.job_image.fetch.child"]
        children.append(subprocess.Popen(command, env={**os.environ, **values, **more}))
        return children[-1]

    yield run
    for child in children:
        child.kill()
        child.wait()


def test_killed_in_the_middle_of_pieces(
    ordering: Ordering, footage: Footage, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """SIGKILL while a piece comes: the next run fetches no finished piece again."""
    order = ordering(course([*footage.plain, *footage.other]))
    say(order, *listing(3), "#EXT-X-DISCONTINUITY", *listing(2, 3), END)
    last = f"{FOLDER}/144/00004.ts"
    order.portal.faults.add(last, actions.StallBody(2000))
    child = start(order)
    deadline = time.monotonic() + 20
    while not (len(stored(order)) == 4 and order.portal.ledger.of(last).stalled):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    order.portal.ledger.reset()
    order.fetch()
    asked = [one.target for one in order.portal.ledger.visits("cdn:") if one.target.endswith("ts")]
    assert asked == [last]
    assert look(order.path(NAME)).pictures == footage.seen.pictures + footage.seen_other.pictures


def test_killed_before_the_film_has_its_name(ordering: Ordering, footage: Footage) -> None:
    """The film is put together again from its pieces; none is fetched again."""
    order = ordering(course(footage.plain))
    assert run_child(order, COURSE_RUNNER_FAULT="fetch:joined").returncode == -9
    assert order.root.joinpath("s").exists() is False or order.files() == []
    order.portal.ledger.reset()
    order.fetch()
    assert requests(order) == [0, 0, 0]
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_the_other_films_go_on(ordering: Ordering, footage: Footage) -> None:
    """A film with a bad piece does not cost the others, however many pieces it has."""
    bad = Hls("Bad", {144: rendition([Bytes(b"x")] * 60)})
    good = Hls("Good", {144: rendition(footage.plain)})
    order = ordering(Course("s", chapters=(Chapter("A", (bad, good)),)))
    order.pace = replace(order.pace, tries=2)
    order.portal.faults.add("cdn:s/001/hls/144/*.ts", actions.Status(500), times=None)
    assert "1 of 2 files could not be fetched: s/01 - A/001 Bad.mp4" in fails(order)
    assert order.files() == ["01 - A/002 Good.mp4"]
    assert order.portal.ledger.total("cdn:s/001/hls").requests < 60
