"""WebVTT to SubRip, by a small reader that forgives. Pure.

Goes in: the bytes of a caption file. Comes out: SubRip as UTF-8 with Windows line ends, which is
what players expect. Players of SubRip know only times and text, so styles, positions and notes are
left out; a cue whose time cannot be read is left out too, the others stay.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_TAG = re.compile(r"</?(?:(?:[bicuv]|rt|ruby|lang)(?=[.\s>])|\d)[^<>]*>", re.IGNORECASE)
_KEPT = re.compile(r"</?[biu]>", re.IGNORECASE)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_STYLED_TAG = re.compile(r"<(/?)([biu])[.\s][^<>]*>", re.IGNORECASE)


def to_srt(raw: bytes) -> bytes:
    """Return the cues of a WebVTT (or SubRip) file as SubRip; empty when there are none."""
    cues = (
        f"{number}\r\n{times}\r\n{text}\r\n"
        for number, (times, text) in enumerate(_cues(_decoded(raw)), 1)
    )
    return "\r\n".join(cues).encode("utf-8", "replace")


def _decoded(raw: bytes) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8-sig", "replace")


def _cues(text: str) -> Iterator[tuple[str, str]]:
    lines = [line.replace("\0", "") for line in _NEWLINE.split(text)]
    position = 0
    while position < len(lines):
        times = _CUE.fullmatch(lines[position])
        position += 1
        if times:
            said, position = _block(lines, position)
            if said:
                yield _times(times), said


def _block(lines: list[str], position: int) -> tuple[str, int]:
    """Return the text from `position` to the next empty line or cue, and where that is."""
    said = []
    while position < len(lines) and lines[position].strip():
        if _CUE.fullmatch(lines[position]):
            break
        said.append(_plain(lines[position]))
        position += 1
    return "\r\n".join(line for line in said if line), position


def _times(found: re.Match[str]) -> str:
    groups = found.groups()
    return f"{_time(groups[:4])} --> {_time(groups[4:])}"


def _time(parts: tuple[str | None, ...]) -> str:
    hours, minutes, seconds, fraction = parts
    return f"{int(hours or 0):02d}:{minutes:0>2}:{seconds:0>2},{fraction:0<3}"


def _plain(line: str) -> str:
    """Return a line without the tags that SubRip does not know."""
    line = _STYLED_TAG.sub(r"<\1\2>", line)
    line = _TAG.sub(lambda tag: tag[0] if _KEPT.fullmatch(tag[0]) else "", line)
    return " ".join(html.unescape(line).replace("-->", "->").split())
