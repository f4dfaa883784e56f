"""The whole map in two tables: each answer and what becomes of it, each kind and what it gives.

The single rows have tests of their own (`test_error_map`, `test_items` and others), which look
closer; here is where a row would be missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate

import pytest

from contract.errors import CourseRunnerError
from contract.outcome import ExitCode
from playground.content import Bytes, Synthetic, text
from playground.portal import actions
from playground.portal.courses import (
    Article,
    Attachment,
    Caption,
    Chapter,
    Coding,
    Course,
    Document,
    Hls,
    Item,
    Link,
    Practice,
    Protected,
    Question,
    Quiz,
    RolePlay,
    Video,
)
from playground.wire import Reply, Request
from tests.job_image.fetch.film import COURSE, FILM, NAME, ON, SLUG, whole
from tests.job_image.fetch.footage import Footage, rendition
from tests.job_image.fetch.order import QUICK, Order

Ordering = Callable[..., Order]
LIST = "api:subscribed-courses"
CURRICULUM = f"api:curriculum/{SLUG}"
LECTURE = f"api:lecture/{SLUG}/001"


class Guarded(actions.Action):
    """A guard that tells of itself by its header alone."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return actions.Status(403).on_reply(request, reply).with_header("cf-mitigated", "challenge")


class LaterByDate(actions.Action):
    """429 until a date a second or two away."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        date = formatdate(time.time() + 2, usegmt=True)
        return actions.Status(429, retry_after=date).on_reply(request, reply)


@dataclass(frozen=True)
class Row:
    """One line: what answers how, how the run ends, and how often that was asked."""

    seen: str
    on: str
    answer: actions.Action
    end: ExitCode
    asked: int
    times: int | None = None


DONE, LATER = ExitCode.DONE, ExitCode.TEMPORARY
TOKEN, NOT_OURS, BLOCKED = ExitCode.AUTH_EXPIRED, ExitCode.NOT_ENTITLED, ExitCode.BLOCKED

MAP = (
    Row("401 of the list", LIST, actions.Status(401), TOKEN, 1),
    Row("401 of the curriculum", CURRICULUM, actions.Status(401), TOKEN, 1),
    Row("403 as JSON of the list", LIST, actions.Status(403), TOKEN, 1),
    Row("403 as JSON of the curriculum", CURRICULUM, actions.Status(403), NOT_OURS, 1),
    Row("403 as a page", CURRICULUM, actions.Html(403), BLOCKED, 1),
    Row("a challenge under 403", CURRICULUM, actions.Challenge(403), BLOCKED, 1),
    Row("a challenge under 503", CURRICULUM, actions.Challenge(503), BLOCKED, 1),
    Row("a challenge under 200", CURRICULUM, actions.Challenge(200), BLOCKED, 1),
    Row("a guard's header and no page", CURRICULUM, Guarded(), BLOCKED, 1),
    Row("a challenge of the CDN", ON, actions.Challenge(), BLOCKED, 1),
    Row("404 of the list", LIST, actions.Status(404), ExitCode.BAD_INPUT, 1),
    Row("404 of the curriculum", CURRICULUM, actions.Status(404), NOT_OURS, 1),
    Row("429 with seconds", CURRICULUM, actions.Status(429, retry_after=1), DONE, 2, 1),
    Row("429 with a date", CURRICULUM, LaterByDate(), DONE, 2, 1),
    Row("429 without a word", CURRICULUM, actions.Status(429), DONE, 3, 2),
    Row("429 for longer than a run waits", LIST, actions.Status(429, retry_after=900), LATER, 1),
    Row("429 of the CDN", ON, actions.Status(429), DONE, 3, 2),
    Row("500 once", CURRICULUM, actions.Status(500), DONE, 2, 1),
    Row("502 once", CURRICULUM, actions.Status(502), DONE, 2, 1),
    Row("503 once", CURRICULUM, actions.Status(503), DONE, 2, 1),
    Row("503 with a plain page, once", CURRICULUM, actions.Html(503), DONE, 2, 1),
    Row("504 once", CURRICULUM, actions.Status(504), DONE, 2, 1),
    Row("503 of the CDN, once", ON, actions.Status(503), DONE, 2, 1),
    Row("500 for ever, of the list", LIST, actions.Status(500), LATER, QUICK.tries),
    Row("a reset, once", CURRICULUM, actions.Drop(), DONE, 2, 1),
    Row("a reset in an answer, once", CURRICULUM, actions.CutBody(50), DONE, 2, 1),
    Row("an answer that ends early, once", LIST, actions.CutBody(50, "close"), DONE, 2, 1),
    Row("silence, once", CURRICULUM, actions.Delay(20), DONE, 2, 1),
    Row("silence in an answer, once", CURRICULUM, actions.StallBody(50, 20), DONE, 2, 1),
    Row("silence of the CDN, once", ON, actions.StallBody(70_000, 20), DONE, 2, 1),
    Row("JSON that breaks off, once", CURRICULUM, actions.Garbage(), DONE, 2, 1),
    Row("a page under 200 instead of JSON, once", CURRICULUM, actions.Html(), DONE, 2, 1),
    Row("a page under 200 instead of a film, once", ON, actions.Html(), DONE, 2, 1),
    Row("403 of the CDN, once", ON, actions.Expired(403), DONE, 2, 1),
    Row("410 of the CDN, once", ON, actions.Expired(410), DONE, 2, 1),
    Row("401 of the CDN, once", ON, actions.Status(401), DONE, 2, 1),
    Row("404 of the CDN, once", ON, actions.Status(404), DONE, 2, 1),
    Row("403 of the CDN to every address", ON, actions.Expired(), LATER, 6),
    Row("404 of the CDN to every address", ON, actions.Status(404), LATER, 6),
)


@pytest.mark.parametrize("row", MAP, ids=lambda row: row.seen)
def test_each_answer_has_one_meaning(ordering: Ordering, row: Row) -> None:
    """What is for good ends the run at the first answer; what passes is asked again, within
    bounds, and ends in the whole file.
    """
    alone = {"DOWNLOAD_CONCURRENCY": "1"}
    order = ordering(COURSE, pace=replace(QUICK, read=1.0), environ=alone)
    order.portal.faults.add(row.on, row.answer, times=row.times)
    code = ExitCode.DONE
    try:
        order.fetch()
    except CourseRunnerError as error:
        code = error.code
        assert error.summary.strip() and (error.advice or code is LATER)
    assert code is row.end
    assert order.portal.ledger.of(row.on).requests == row.asked
    assert order.files() == ([NAME] if row.end is DONE else [])
    if row.end is DONE:
        assert order.read(NAME) == whole(FILM)


RENEWALS = (
    ("401", actions.Status(401), TOKEN),
    ("403 as JSON", actions.Status(403), LATER),
    ("403 as a page", actions.Html(403), BLOCKED),
    ("a challenge", actions.Challenge(), BLOCKED),
    ("404", actions.Status(404), LATER),
    ("503 once", actions.Status(503), DONE),
    ("429 once", actions.Status(429), DONE),
)


@pytest.mark.parametrize(("seen", "answer", "end"), RENEWALS, ids=[one[0] for one in RENEWALS])
def test_each_answer_to_a_renewal_has_one_meaning(
    ordering: Ordering, seen: str, answer: actions.Action, end: ExitCode
) -> None:
    """A lecture that is asked for a fresh link: the token and the guard are everybody's trouble, a
    lecture that is gone or refused is its own.
    """
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Expired(), times=1 if end is DONE else None)
    order.portal.faults.add(LECTURE, answer, times=1 if "once" in seen else None)
    code = ExitCode.DONE
    try:
        order.fetch()
    except CourseRunnerError as error:
        code = error.code
    assert code is end


FILE = Synthetic("a file", 3000)
VTT = text("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n")
ASKED = (Question("Which?", ("a", "b"), ("a",)),)
PNG = Bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
SHOWN = '<img src="{image:a.png}">'
CODE = (Coding("Write it.", {"test.py": "1"}, {"main.py": "2"}),)

KINDS: Sequence[tuple[str, Item, Sequence[str], str]] = (
    ("video", Video("T", {720: FILE}), ["001 T.mp4"], ""),
    ("video with captions", Video("T", {720: FILE}, (Caption("en_GB", VTT),)),
     ["001 T.mp4", "001 T_en_GB.srt"], ""),
    ("article", Article("T", "<p>x</p>"), ["001 T.html"], ""),
    ("article with an image", Article("T", SHOWN, {"a.png": PNG}),
     ["001 T.html", "001 T_files/01 a.png"], ""),
    ("file", Document("T", "t.csv", FILE, "File"), ["001 T.csv"], ""),
    ("e-book", Document("T", "t.epub", FILE, "E-Book"), ["001 T.epub"], ""),
    ("presentation", Document("T", "t.pptx", FILE, "Presentation"), ["001 T.pptx"], ""),
    ("sound", Document("T", "t.mp3", FILE, "Audio"), ["001 T.mp3"], ""),
    ("file beside", Article("T", "x", supplements=(Attachment("n.pdf", FILE),)),
     ["001 T.html", "001 n.pdf"], ""),
    ("source code beside", Article("T", "x", supplements=(Attachment("n.py", FILE, "SourceCode"),)),
     ["001 T.html", "001 n.py"], ""),
    ("link beside", Article("T", "x", supplements=(Link("L", "https://example.com/"),)),
     ["001 L.url", "001 T.html"], ""),
    ("quiz", Quiz("T", ASKED), ["001 T.html", "001 T.json"], ""),
    ("practice test", Quiz("T", ASKED, "practice-test"), ["001 T.html", "001 T.json"], ""),
    ("coding exercise", Quiz("T", CODE, "coding-exercise"), ["001 T.html", "001 T.json"], ""),
    ("quiz without questions", Quiz("T"), [], "kind: quiz without questions"),
    ("video under DRM", Protected("T"), [], "drm"),
    ("assignment", Practice("T"), [], "kind: practice"),
    ("role-play", RolePlay("T"), [], "kind: role-play"),
)  # fmt: skip


def _course(item: Item) -> Course:
    return Course("c", chapters=(Chapter("A", (item, Article("Z", "z"))),))


@pytest.mark.parametrize(("kind", "item", "files", "reason"), KINDS, ids=[one[0] for one in KINDS])
def test_each_kind_gives_its_files_or_its_reason(
    ordering: Ordering, kind: str, item: Item, files: Sequence[str], reason: str
) -> None:
    """An item alone with a neighbour: its files lie beside each other, or a reason is told."""
    order = ordering(_course(item))
    fetched = order.fetch()
    lists = {"SKIPPED.txt", "external-links.txt"}
    found = [one.removeprefix("01 - A/") for one in order.files() if one not in lists]
    assert found == [*files, "002 Z.html"]
    assert [one.reason for one in fetched.skipped] == ([reason] if reason else [])
    assert order.portal.ledger.credentials_at_cdn == []


def test_a_film_in_pieces_is_a_kind_too(ordering: Ordering, footage: Footage) -> None:
    """The same for a film in pieces, with captions beside it."""
    film = Hls("T", {144: rendition(footage.plain)}, (Caption("en_GB", VTT),))
    order = ordering(_course(film))
    order.fetch()
    assert order.files() == [f"01 - A/{n}" for n in ("001 T.mp4", "001 T_en_GB.srt", "002 Z.html")]


def test_the_table_of_kinds_leaves_none_out() -> None:
    """Every class of item that a course can have stands in a table above."""
    tried = {type(item) for _, item, _, _ in KINDS} | {Hls}
    assert tried == set(Item.__args__)  # type: ignore[attr-defined]
