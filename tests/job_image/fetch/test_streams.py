"""Films in pieces: every feature of HLS, judged by decoding what has come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from playground.content import Bytes, File
from tests.job_image.fetch.footage import (
    BOTH,
    FOLDER,
    NAME,
    Footage,
    Says,
    course,
    even,
    listing,
    look,
    read,
    rendition,
    say,
    sealed,
)
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]
KEY, OTHER_KEY = b"sixteen byte key", b"another 16 bytes"
IV = bytes(range(16))
END = "#EXT-X-ENDLIST"


def test_a_film_in_pieces_becomes_one_mp4(ordering: Ordering, footage: Footage) -> None:
    """Every picture and all sound, in order and on time, and nothing encoded anew."""
    order = ordering(course(footage.plain))
    fetched = order.fetch()
    assert order.files() == [NAME] and fetched.files == 1
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures and len(seen.pictures) == 150
    assert even(seen) and seen.sound == pytest.approx(footage.seen.sound, abs=0.05)
    assert list((order.root / ".state/parts").iterdir()) == []


def test_its_index_stands_in_front(ordering: Ordering, footage: Footage) -> None:
    """The film plays from where it lies: no player must read its end first."""
    order = ordering(course(footage.plain))
    order.fetch()
    film = order.read(NAME)
    assert 0 < film.index(b"moov") < film.index(b"mdat")


@pytest.mark.parametrize(("quality", "taken"), [(None, 480), ("250", 240), ("144p", 144)])
def test_the_nearest_rendition_is_taken(
    ordering: Ordering, footage: Footage, quality: str | None, taken: int
) -> None:
    """Quality chooses among renditions as among files; nothing of the others is fetched."""
    order = ordering(course({tall: rendition(footage.plain) for tall in (240, 480, 144)}))
    order.wishes = {"quality": quality} if quality else {}
    order.fetch()
    asked = [one.target for one in order.portal.ledger.visits("cdn:") if "hls" in one.target]
    assert len(asked) == 4 and all(f"/{taken}/" in one for one in asked)


def test_a_playlist_without_renditions_will_do(ordering: Ordering, footage: Footage) -> None:
    """The address of a lecture may be that of a media playlist."""
    order = ordering(course(footage.plain))
    said = "\n".join(["#EXTM3U", *listing(3), END])
    order.portal.faults.add("cdn:s/001/master.m3u8", Says(order, said), times=None)
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_aes_with_a_vector_of_its_own(ordering: Ordering, footage: Footage) -> None:
    """AES-128 with key and IV as the playlist says gives the very pictures of the plain film."""
    parts = [*(sealed(one, KEY, IV) for one in footage.plain), Bytes(KEY)]
    order = ordering(course(parts))
    say(order, f'#EXT-X-KEY:METHOD=AES-128,URI="{{00003.ts}}",IV=0x{IV.hex()}', *listing(3), END)
    order.fetch()
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures and even(seen)
    state = [one.read_bytes() for one in (order.root / ".state").rglob("*") if one.is_file()]
    assert not any(KEY in one for one in state)


def test_aes_by_numbers_with_keys_that_change(ordering: Ordering, footage: Footage) -> None:
    """Without an IV the piece's number serves; keys change in the middle, and end."""
    first, second, third = footage.plain
    number = (7).to_bytes(16, "big"), (8).to_bytes(16, "big")
    parts = [sealed(first, KEY, number[0]), sealed(second, OTHER_KEY, number[1]), third]
    order = ordering(course([*parts, Bytes(KEY), Bytes(OTHER_KEY)]))
    say(
        order,
        "#EXT-X-MEDIA-SEQUENCE:7",
        '#EXT-X-KEY:METHOD=AES-128,URI="{00003.ts}"',
        *listing(1),
        '#EXT-X-KEY:METHOD=AES-128,URI="{00004.ts}",KEYFORMAT="identity"',
        *listing(1, 1),
        "#EXT-X-KEY:METHOD=NONE",
        *listing(1, 2),
        END,
    )
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_ranges_of_one_object(ordering: Ordering, footage: Footage) -> None:
    """Pieces that are ranges of one object: it is fetched once and cut, with and without offset."""
    one, two, three = (read(each) for each in footage.plain)
    order = ordering(course([Bytes(b"skip" + one + two + three + b"tail")]))
    say(
        order,
        "#EXTINF:2,",
        f"#EXT-X-BYTERANGE:{len(one)}@4",
        "{00000.ts}",
        *("#EXTINF:2,", f"#EXT-X-BYTERANGE:{len(two)}", "{00000.ts}"),
        *("#EXTINF:2,", f"#EXT-X-BYTERANGE:{len(three)}", "{00000.ts}"),
        END,
    )
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert order.portal.ledger.of(f"{FOLDER}/144/00000.ts").requests == 1


def fragments(footage: Footage, name: str, **more: str) -> tuple[str, list[Path]]:
    """The plain film as fragmented MP4: its playlist and its files."""
    options = {"hls_segment_type": "fmp4", **more}
    playlist = footage.wrapped(name, BOTH, options)
    lines = playlist.read_text()
    names = dict.fromkeys(re.findall(r'URI="([^"]+)"', lines))
    names.update(dict.fromkeys(one for one in lines.splitlines() if one and one[0] != "#"))
    for number, each in enumerate(names):
        lines = lines.replace(each, f"{{{number:05}.ts}}")
    return lines.removeprefix("#EXTM3U\n"), [playlist.parent / each for each in names]


def test_fragmented_mp4_with_its_header(ordering: Ordering, footage: Footage) -> None:
    """EXT-X-MAP and fragments instead of transport streams."""
    lines, files = fragments(footage, "fragments")
    assert "#EXT-X-MAP" in lines and len(files) == 4
    order = ordering(course([File(one) for one in files]))
    say(order, lines)
    order.fetch()
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures and even(seen)
    assert seen.sound == pytest.approx(footage.seen.sound, abs=0.05)


def test_fragmented_mp4_in_one_object(ordering: Ordering, footage: Footage) -> None:
    """Header and fragments as ranges of one object."""
    lines, files = fragments(footage, "single", hls_flags="single_file")
    assert "BYTERANGE" in lines and len(files) == 1
    order = ordering(course([File(files[0])]))
    say(order, lines)
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures
    assert order.portal.ledger.of(f"{FOLDER}/144/00000.ts").requests == 1


def test_fragmented_mp4_encrypted(ordering: Ordering, footage: Footage) -> None:
    """Header and fragments under AES-128."""
    lines, files = fragments(footage, "fragments")
    parts = [sealed(one.read_bytes(), KEY, IV) for one in files]
    order = ordering(course([*parts, Bytes(KEY)]))
    say(order, f'#EXT-X-KEY:METHOD=AES-128,URI="{{00004.ts}}",IV=0x{IV.hex()}', lines)
    order.fetch()
    assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_a_break_of_the_clock(ordering: Ordering, footage: Footage) -> None:
    """After EXT-X-DISCONTINUITY another film's clock begins; the pictures go on at the seam."""
    order = ordering(course([*footage.plain, *footage.other]))
    say(order, *listing(3), "#EXT-X-DISCONTINUITY", *listing(2, 3), END)
    order.fetch()
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures + footage.seen_other.pictures
    assert seen.times == tuple(sorted(set(seen.times)))
    assert seen.times[-1] == pytest.approx(10.0, abs=0.15)
    assert seen.sound == pytest.approx(footage.seen.sound + footage.seen_other.sound, abs=0.1)


def test_a_break_of_the_clock_that_nobody_announced(ordering: Ordering, footage: Footage) -> None:
    """A clock that leaps back or ahead without a word in the playlist is bridged."""
    order = ordering(course([*footage.plain, *footage.other, *footage.plain]))
    say(order, *listing(8), END)
    order.fetch()
    seen = look(order.path(NAME))
    wanted = footage.seen.pictures + footage.seen_other.pictures + footage.seen.pictures
    assert seen.pictures == wanted
    assert seen.times == tuple(sorted(set(seen.times)))
    assert seen.times[-1] == pytest.approx(16.0, abs=0.2)


def test_fragments_with_another_header_in_the_middle(ordering: Ordering, footage: Footage) -> None:
    """A new EXT-X-MAP begins a run of its own, and the clock goes on."""
    lines, files = fragments(footage, "fragments")
    body = [one for one in lines.splitlines() if one.startswith(("#EXTINF", "{"))]
    order = ordering(course([File(one) for one in [*files, files[0]]]))
    header = '#EXT-X-MAP:URI="{%s}"'
    say(order, header % "00000.ts", *body[:2], header % "00004.ts", *body[2:], END)
    order.fetch()
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures and len(set(seen.times)) == 150


def test_a_clock_that_ticks_otherwise_after_a_break(ordering: Ordering, footage: Footage) -> None:
    """Runs may count their time in other fractions of a second; each is read in its own."""
    fine, many = fragments(footage, "fragments")
    coarse, few = fragments(footage, "coarse", hls_segment_options="video_track_timescale=12800")
    for number in range(len(few) - 1, -1, -1):
        coarse = coarse.replace(f"{{{number:05}.ts}}", f"{{{number + len(many):05}.ts}}")
    order = ordering(course([File(one) for one in [*many, *few]]))
    first = [one for one in fine.splitlines() if one != END]
    second = [one for one in coarse.splitlines() if one.startswith(("#EXTINF", "#EXT-X-MAP", "{"))]
    say(order, *first, "#EXT-X-DISCONTINUITY", *second, END)
    order.fetch()
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures * 2
    assert seen.times[-1] == pytest.approx(12.0, abs=0.15)


@pytest.mark.parametrize("form", ["ts", "fmp4"])
def test_sound_with_a_playlist_of_its_own(ordering: Ordering, footage: Footage, form: str) -> None:
    """EXT-X-MEDIA: picture and sound come apart and end up in one film."""
    options = {"hls_segment_type": "fmp4"} if form == "fmp4" else {}
    found = {}
    for kind, tall in (("video", 144), ("audio", 1)):
        playlist = footage.wrapped(f"{kind}-{form}", (kind,), options)
        lines = playlist.read_text().splitlines()[1:]
        names = list(dict.fromkeys(re.findall(r"[\w-]+\.(?:ts|mp4|m4s)", str(lines))))
        said = "\n".join(lines)
        for number, each in enumerate(names):
            said = said.replace(each, f"{{{number:05}.ts}}")
        found[tall] = (said, rendition(File(playlist.parent / one) for one in names))
    order = ordering(course({tall: one for tall, (_, one) in found.items()}))
    master = (
        '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=YES,URI="{1/index.m3u8}"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=256x144,AUDIO="a"\n{144/index.m3u8}\n'
    )
    order.portal.faults.add("cdn:s/001/master.m3u8", Says(order, master, "hls"), times=None)
    for tall, (said, _) in found.items():
        order.portal.faults.add(
            f"{FOLDER}/{tall}/index.m3u8",
            Says(order, f"#EXTM3U\n{said}", f"hls/{tall}"),
            times=None,
        )
    order.fetch()
    seen = look(order.path(NAME))
    assert seen.pictures == footage.seen.pictures
    assert seen.sound == pytest.approx(footage.seen.sound, abs=0.05)


@pytest.mark.parametrize(
    "line",
    [
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"',
        '#EXT-X-KEY:METHOD=AES-128,URI="{k}",KEYFORMAT="com.microsoft.playready"',
        '#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="{k}",'
        'KEYFORMAT="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"',
        '#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://x"',
        "#EXT-X-KEY:METHOD=SOMETHING-NEW",
    ],
)
def test_what_needs_a_licence_is_left_out(ordering: Ordering, footage: Footage, line: str) -> None:
    """DRM is seen in the playlist: skipped, told, no key and no piece asked for, now or later."""
    order = ordering(course(footage.plain))
    say(order, *listing(1), line, *listing(2, 1), END)
    fetched = order.fetch()
    assert [(one.title, one.reason) for one in fetched.skipped] == [("01 - A/001 Film", "drm")]
    assert order.files() == ["SKIPPED.txt"]
    assert order.read("SKIPPED.txt") == b"01 - A/001 Film: drm\n"
    asked = [one.target.rpartition("/")[2] for one in order.portal.ledger.visits("cdn:")]
    assert asked == ["master.m3u8", "index.m3u8"]
    order.portal.ledger.reset()
    assert order.fetch().skipped == fetched.skipped
    assert order.portal.ledger.visits("cdn:") == []
