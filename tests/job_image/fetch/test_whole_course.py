"""A course of every kind of item, end to end on a day without faults."""

from __future__ import annotations

import json
from collections.abc import Callable

from playground.content import Synthetic, chunks, text
from playground.portal.courses import (
    Article,
    Attachment,
    Caption,
    Chapter,
    Course,
    Document,
    Link,
    Practice,
    Protected,
    Quiz,
    RolePlay,
    Video,
)
from tests.job_image.fetch.order import Order

VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\nHello <c.loud>there</c>\n"
SRT = b"1\r\n00:00:01,000 --> 00:00:02,500\r\nHello there\r\n"
BIG, SMALL = Synthetic("big", 3_000_000), Synthetic("small", 100_000)

COURSE = Course(
    "every-kind",
    "Every kind",
    items=(Video("Before", {360: SMALL}),),
    chapters=(
        Chapter(
            "First: steps",
            (
                Video(
                    "Welcome / hello",
                    {"Auto": SMALL, 360: SMALL, 720: BIG},
                    captions=(Caption("en_GB", text(VTT)), Caption("de_DE", text(VTT))),
                    supplements=(
                        Attachment("notes.pdf", Synthetic("notes", 5000)),
                        Link("More", "https://example.com/a?b=c"),
                    ),
                ),
                Article("Read me", "<p>Grüße</p>"),
                Quiz("Test yourself"),
                Document("Slides", "deck.final.PDF", Synthetic("deck", 70_000), "Presentation"),
            ),
        ),
        Chapter("Second", (Protected("Secret"), Practice("Work"), RolePlay("Talk"))),
    ),
)

FILES = [
    "00 - Lectures/001 Before.mp4",
    "01 - First steps/001 More.url",
    "01 - First steps/001 Welcome - hello.mp4",
    "01 - First steps/001 Welcome - hello_de_DE.srt",
    "01 - First steps/001 Welcome - hello_en_GB.srt",
    "01 - First steps/001 notes.pdf",
    "01 - First steps/002 Read me.html",
    "01 - First steps/004 Slides.PDF",
    "SKIPPED.txt",
    "external-links.txt",
]


def whole(content: Synthetic) -> bytes:
    return b"".join(chunks(content))


def test_every_file_lies_where_users_expect_it(ordering: Callable[..., Order]) -> None:
    """Every kind of file has its place and its bytes; numbers restart, skipped items count."""
    order = ordering(COURSE)
    fetched = order.fetch()
    assert order.files() == FILES
    assert fetched.folder == "every-kind" and fetched.files == 9
    assert order.read(FILES[0]) == whole(SMALL)
    assert order.read(FILES[2]) == whole(BIG)
    assert order.read(FILES[3]) == order.read(FILES[4]) == SRT
    assert order.read(FILES[5]) == whole(Synthetic("notes", 5000))
    assert order.read(FILES[1]) == b"[InternetShortcut]\r\nURL=https://example.com/a?b=c\r\n"
    assert "<p>Grüße</p>" in order.read(FILES[6]).decode()
    assert order.read(FILES[7]) == whole(Synthetic("deck", 70_000))


def test_what_cannot_be_had_is_told(ordering: Callable[..., Order]) -> None:
    """Skipped items are in the result, in the manifest and in SKIPPED.txt, each with a reason."""
    order = ordering(COURSE)
    fetched = order.fetch()
    told = [f"{one.title}: {one.reason}" for one in fetched.skipped]
    assert told == [
        "01 - First steps/003 Test yourself: kind: quiz without questions",
        "02 - Second/001 Secret: drm",
        "02 - Second/002 Work: kind: practice",
        "02 - Second/003 Talk: kind: role-play",
    ]
    assert order.read("SKIPPED.txt").decode().splitlines() == told
    manifest = json.loads((order.root / ".state/manifest.json").read_text())
    assert [f"{one['title']}: {one['reason']}" for one in manifest["skipped"]] == told
    states = {one["path"]: one["state"] for one in manifest["files"]}
    quiz = "every-kind/01 - First steps/003 Test yourself"
    assert {states.pop(f"{quiz}.html"), states.pop(f"{quiz}.json")} == {"skipped"}
    assert set(states.values()) == {"complete"}


def test_a_complete_course_is_not_fetched_again(ordering: Callable[..., Order]) -> None:
    """A second run asks for the course and its curriculum and for nothing else."""
    order = ordering(COURSE)
    first = order.fetch()
    order.portal.ledger.reset()
    second = order.fetch()
    asked = [visit.target for visit in order.portal.ledger.visits()]
    assert asked == ["api:subscribed-courses", "api:curriculum/every-kind"]
    assert second.bytes_fetched == 0
    assert second.bytes_reused == sum(
        order.path(name).stat().st_size for name in FILES if name != "SKIPPED.txt"
    )
    assert first.bytes_fetched > BIG.size and first.bytes_reused == 0
    assert "9 of 9 files are complete" in order.log


def test_a_damaged_file_is_fetched_again(ordering: Callable[..., Order]) -> None:
    """A file on the volume whose size is not the manifest's is fetched again, it alone."""
    order = ordering(COURSE)
    order.fetch()
    with order.path(FILES[2]).open("r+b") as file:
        file.truncate(1000)
    order.path(FILES[3]).unlink()
    order.portal.ledger.reset()
    order.fetch()
    assert order.read(FILES[2]) == whole(BIG) and order.read(FILES[3]) == SRT
    assert len(order.portal.ledger.visits("cdn:")) == 2


def test_the_token_stays_with_the_platform(ordering: Callable[..., Order]) -> None:
    """No credential reaches the CDN, the volume or the log, and no signed address the log."""
    order = ordering(COURSE)
    order.fetch()
    assert order.portal.ledger.credentials_at_cdn == []
    states = [one.read_bytes() for one in (order.root / ".state").rglob("*") if one.is_file()]
    for secret in (b"playground-token", b"Signature="):
        assert not any(secret in one for one in states)
        assert secret.decode() not in order.log


def test_nothing_unfinished_is_left(ordering: Callable[..., Order]) -> None:
    """After success the folder of unfinished files is empty."""
    order = ordering(COURSE)
    order.fetch()
    assert list((order.root / ".state/parts").iterdir()) == []
