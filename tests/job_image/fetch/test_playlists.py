"""Playlists as text: what is read, what is refused, and that nothing is an accident."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_image.sources import layout, m3u8, remux
from job_image.sources.m3u8 import Media
from job_image.sources.pieces import Reader, Slice, Unplayable
from job_image.stop import Stop

BASE = "https://cdn/film/index.m3u8?token=a"

ODD = st.sampled_from(
    ["", "0", "-1", "1e9", "nan", "9" * 40, "²", "x", '"', ",", "=", "12@3", "@", "0@0", "\0"]
)
LINES = st.one_of(
    st.sampled_from(
        ["#EXTINF:2,", "a.ts", "a.ts?t=1", "b.ts", "http://[", "ftp://x/y", "#EXT-X-ENDLIST",
         "#EXT-X-DISCONTINUITY", "#EXT-X-KEY:METHOD=NONE", "", "  ", "#", "#EXTM3U",
         '#EXT-X-KEY:METHOD=AES-128,URI="k"', '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1',
         '#EXT-X-MAP:URI="i.mp4"', '#EXT-X-MAP:URI="i.mp4",BYTERANGE="5"', "#EXT-X-BYTERANGE:4",
         "#EXT-X-BYTERANGE:4@9", "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=1x2,AUDIO=g",
         '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=g,URI="s"']
    ),
    st.builds(
        "#EXT{}:{}{}".format,
        st.sampled_from(["INF", "-X-KEY", "-X-MAP", "-X-BYTERANGE", "-X-MEDIA-SEQUENCE",
                         "-X-STREAM-INF", "-X-MEDIA", "-X-SESSION-KEY"]),
        st.sampled_from(["", "METHOD=", "METHOD=AES-128,IV=", "URI=", "BANDWIDTH=", "RESOLUTION=",
                         'URI="a",BYTERANGE=', "TYPE=AUDIO,URI="]),
        ODD,
    ),
    st.text(max_size=12),
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(LINES, max_size=14), st.sampled_from([BASE, "", "http://[", "x"]))
def test_any_text_is_a_playlist_or_refused(lines: list[str], base: str) -> None:
    """Every text is read, or refused in words; what is read can be laid out."""
    try:
        found = m3u8.read("\n".join(["#EXTM3U", *lines]), base)
    except m3u8.Unreadable as exc:
        assert str(exc)
        return
    except m3u8.Protected:
        return
    if isinstance(found, Media):
        made = layout.make([found])
        assert found.seconds >= 0 and all(url.startswith("http") for url in made.urls)
        assert all(0 <= cut.number < len(made.urls) for track in made.tracks for cut in track)
        assert all(len(one.iv) == 16 for one in found.segments)
    else:
        assert found.variants and all(one.url.startswith("http") for one in found.variants)


@given(st.text())
def test_what_does_not_begin_as_one_is_none(text: str) -> None:
    """A page or noise is refused, whatever it is."""
    try:
        m3u8.read(text, BASE)
    except (m3u8.Unreadable, m3u8.Protected):
        return
    assert text.lstrip("\ufeff").startswith("#EXTM3U")


def media(*lines: str, base: str = BASE) -> Media:
    """A media playlist of these lines."""
    found = m3u8.read("\n".join(["#EXTM3U", *lines, "#EXT-X-ENDLIST"]), base)
    assert isinstance(found, Media)
    return found


def test_fresh_tokens_make_no_other_film() -> None:
    """The fingerprint sees paths, lengths, ranges and keys, and no query."""
    key = '#EXT-X-KEY:METHOD=AES-128,URI="{}"'
    first = media(key.format("k?t=1"), "#EXTINF:2,", "a.ts?t=1", "#EXTINF:3,", "b.ts?t=1")
    again = media(key.format("k?t=2"), "#EXTINF:2,", "a.ts?t=2", "#EXTINF:3,", "b.ts?t=2")
    assert first.fingerprint() == again.fingerprint()
    assert layout.make([first]).fingerprint == layout.make([again]).fingerprint


@pytest.mark.parametrize(
    "lines",
    [
        ("#EXTINF:2,", "a.ts"),
        ("#EXTINF:3,", "b.ts", "#EXTINF:2,", "a.ts"),
        ("#EXTINF:2,", "a.ts", "#EXTINF:2,", "b.ts"),
        ("#EXTINF:2,", "a.ts", "#EXTINF:3,", "#EXT-X-BYTERANGE:5@1", "b.ts"),
        ("#EXTINF:2,", "a.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:3,", "b.ts"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:2,", "a.ts", "#EXTINF:3,", "b.ts"),
        ('#EXT-X-MAP:URI="i"', "#EXTINF:2,", "a.ts", "#EXTINF:3,", "b.ts"),
    ],
)
def test_whatever_changes_a_film_changes_its_fingerprint(lines: tuple[str, ...]) -> None:
    """Fewer pieces, another order, length, range, clock, key or header: another film."""
    plain = media("#EXTINF:2,", "a.ts", "#EXTINF:3,", "b.ts")
    assert media(*lines).fingerprint() != plain.fingerprint()


def test_a_range_goes_on_after_the_last_one_of_its_object() -> None:
    """Ranges without a beginning follow the one before them in the same object."""
    found = media(
        *("#EXT-X-BYTERANGE:10@5", "#EXTINF:1,", "a.ts?t=1"),
        *("#EXT-X-BYTERANGE:7@0", "#EXTINF:1,", "b.ts"),
        *("#EXT-X-BYTERANGE:20", "#EXTINF:1,", "a.ts?t=2"),
    )
    assert [(one.span.start, one.span.length) for one in found.segments] == [
        (5, 10),
        (0, 7),
        (15, 20),
    ]
    assert layout.make([found]).urls == ("https://cdn/film/a.ts?t=1", "https://cdn/film/b.ts")


def test_pieces_under_one_path_are_different_pieces() -> None:
    """Pieces that only their query tells apart are all fetched."""
    found = media("#EXTINF:1,", "piece?n=1", "#EXTINF:1,", "piece?n=2")
    assert layout.make([found]).urls == ("https://cdn/film/piece?n=1", "https://cdn/film/piece?n=2")


STARTS = [
    b"\x47",
    b"\0\0\0\x18ftypmp42",
    b"\0\0\0\x08moof",
    b"\xff\xf1",
    b"ID3\x04",
    b"\xff\xfb",
    b"",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=600), st.sampled_from([None, bytes(16)]))
def test_any_bytes_are_a_film_or_unplayable(start: bytes, rest: bytes, key: bytes | None) -> None:
    """Noise of any format's look ends in an error in words, never in an accident."""
    with tempfile.TemporaryDirectory() as folder:
        piece = Path(folder, "piece")
        piece.write_bytes(start + rest)
        try:
            seconds = remux.write(
                [[[Slice(piece, key=key, iv=bytes(16))]]], Path(folder, "film.mp4"), Stop()
            )
        except Unplayable as exc:
            assert exc.summary
        else:
            assert seconds > 0


def test_a_piece_shorter_than_its_range_is_no_piece(tmp_path: Path) -> None:
    """A range that reaches past the end of its object is an error, not a shorter film."""
    (tmp_path / "piece").write_bytes(b"12345")
    assert Reader([Slice(tmp_path / "piece", 1, 3)]).read(9) == b"234"
    reader = Reader([Slice(tmp_path / "piece", 1, 5)])
    assert reader.read(9) == b"2345"
    with pytest.raises(Unplayable, match="shorter than its playlist says"):
        reader.read(9)
