"""A course of one video, the subject of the tests that trouble a single file."""

from __future__ import annotations

from playground.content import Content, Synthetic, chunks
from playground.portal.courses import Chapter, Course, Video

SIZE = 3_000_000
FILM = Synthetic("film", SIZE)
OTHER = Synthetic("other", SIZE)
SLUG = "one-film"
KEY = f"{SLUG}/001/720.mp4"
ON = f"cdn:{KEY}"
NAME = "01 - Only/001 Film.mp4"
COURSE = Course(SLUG, "One film", chapters=(Chapter("Only", (Video("Film", {720: FILM}),)),))
CUT = 1_500_000
"""Where the first answer ends in most tests: in the middle of a 64 KiB block, past 1 MiB."""


def whole(content: Content) -> bytes:
    """All bytes of a content."""
    return b"".join(chunks(content))
