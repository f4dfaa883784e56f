"""WebVTT to SubRip: what players show stays, nothing makes the reader fail."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.sources.captions import to_srt

SRT = re.compile(
    r"(\d+\r\n\d\d+:\d\d:\d\d,\d\d\d --> \d\d+:\d\d:\d\d,\d\d\d\r\n([^\r\n]+\r\n)+(\r\n|$))*"
)


def convert(text: str) -> str:
    return to_srt(text.encode()).decode()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Hello", "Hello"),
        ("<c.yellow.bg_blue>Hello</c>", "Hello"),
        ("<v Roger Bingham>We are", "We are"),
        ("<b>bold</b> <i.loud>and</i> <u>so</u>", "<b>bold</b> <i>and</i> <u>so</u>"),
        ("<00:00:01.500>word by <00:00:02.000>word", "word by word"),
        ("<lang en>Hi</lang> <ruby>a<rt>b</rt></ruby>", "Hi ab"),
        ("a &lt; b &amp;&amp; c &gt; d&nbsp;!", "a < b && c > d !"),
        ("if (a<b) { <br> <img> }", "if (a<b) { <br> <img> }"),
        ("arrow --&gt; here", "arrow -> here"),
        ("two&#10;lines", "two lines"),
    ],
)
def test_text_without_what_subrip_does_not_know(said: str, shown: str) -> None:
    """Styles, voices and times inside the text go; letters and simple styles stay."""
    expected = f"1\r\n00:00:01,000 --> 00:00:02,000\r\n{shown}\r\n"
    assert convert(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{said}\n") == expected


def test_a_whole_file() -> None:
    """Header, styles, notes, cue names and positions go; cues are numbered anew."""
    vtt = (
        "\ufeffWEBVTT - Title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a note\n\n"
        "intro\n00:00:01.000 --> 00:00:02.500 align:start position:0%\nOne\nTwo\n\n"
        "01:02:03.004 --> 01:02:04.5\nThree\n\n00:05.000 --> 00:06.000\n\n"
        "00:07,000 --> 00:08,000\r\nFour"
    )
    assert convert(vtt) == (
        "1\r\n00:00:01,000 --> 00:00:02,500\r\nOne\r\nTwo\r\n\r\n"
        "2\r\n01:02:03,004 --> 01:02:04,500\r\nThree\r\n\r\n"
        "3\r\n00:00:07,000 --> 00:00:08,000\r\nFour\r\n"
    )


def test_subrip_stays_subrip() -> None:
    """A file that is SubRip already comes out as it is."""
    text = "1\r\n00:00:01,000 --> 00:00:02,000\r\nHello\r\n\r\n"
    text += "2\r\n00:00:03,000 --> 00:00:04,000\r\nWorld\r\n"
    assert convert(text) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_are_recognised(encoding: str) -> None:
    """UTF-16 announces itself; all else is UTF-8."""
    raw = "WEBVTT\n\n00:01.000 --> 00:02.000\nGrüße\n".encode(encoding)
    assert "Grüße" in to_srt(raw).decode()


LINES = st.sampled_from(
    ["WEBVTT", "", "00:01.000 --> 00:02.000", "9999:99:99.9 --> 0:0:0,1", "-->", "x", "1", "NOTE"]
)


@given(st.binary() | st.lists(LINES | st.text(), max_size=12).map("\n".join).map(str.encode))
def test_any_bytes_become_well_formed_subrip(raw: bytes) -> None:
    """Whatever comes, the result is SubRip or empty."""
    assert SRT.fullmatch(to_srt(raw).decode())
