"""Every kind of item that is no video: where it lies, and what it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import BlockedByPlatform
from job_image.sources import images, quiz, texts
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
    Item,
    Link,
    Question,
    Quiz,
    Video,
)
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]
PNG = Bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
JPEG = Bytes(b"\xff\xd8\xff\xe0" + bytes(300))


def course(*items: Item) -> Course:
    return Course("c", chapters=(Chapter("A", items),))


@pytest.mark.parametrize(
    ("kind", "filename"),
    [
        ("File", "data.csv"),
        ("E-Book", "book.epub"),
        ("Presentation", "deck.pptx"),
        ("Audio", "talk.mp3"),
    ],
)
def test_a_lecture_that_is_one_file(ordering: Ordering, kind: str, filename: str) -> None:
    """Files, e-books, presentations and sound get the lecture's name and their own extension."""
    content = Synthetic(kind, 5000)
    order = ordering(course(Document("Thing", filename, content, kind)))
    order.fetch()
    name = f"01 - A/001 Thing.{filename.partition('.')[2]}"
    assert order.files() == [name]
    assert order.read(name) == content.read(0, 5000)


def test_sound_that_is_only_streamed(ordering: Ordering) -> None:
    """Sound whose address stands under stream_urls, as older answers have it."""
    order = ordering(course(Document("Talk", "talk.mp3", Synthetic("a", 900), "Audio")))
    url = order.portal.signed_url("c/001/talk.mp3")
    for path, value in (("download_urls", None), ("stream_urls", {"Audio": [{"file": url}]})):
        rule = actions.Json(f"results/1/asset/{path}", value)
        order.portal.faults.add("api:curriculum/c", rule, times=None)
    order.fetch()
    assert order.files() == ["01 - A/001 Talk.mp3"]


def test_files_beside_a_lecture(ordering: Ordering) -> None:
    """Source code and files keep their own names; two of one name are two files."""
    beside = (
        Attachment("main.py", text("print(1)"), "SourceCode"),
        Attachment("main.py", text("print(2)"), "File"),
    )
    order = ordering(course(Article("Text", "x", supplements=beside)))
    order.fetch()
    assert order.read("01 - A/001 main.py") == b"print(1)"
    assert order.read("01 - A/001 main (2).py") == b"print(2)"


def test_links_have_a_file_each_and_one_list(ordering: Ordering) -> None:
    """External links are shortcuts beside their lecture, and lines of one list for the course."""
    first = Article("One", "x", supplements=(Link("Docs", "https://example.com/a?b=c"),))
    second = Article("Two", "x", supplements=(Link("More", "https://example.org/"),))
    order = ordering(Course("c", chapters=(Chapter("A", (first,)), Chapter("B", (second,)))))
    order.fetch()
    assert order.read("02 - B/001 More.url").decode().splitlines()[1] == "URL=https://example.org/"
    assert order.read("external-links.txt").decode().splitlines() == [
        "01 - A/001 Docs: https://example.com/a?b=c",
        "02 - B/001 More: https://example.org/",
    ]


def test_captions_in_every_language(ordering: Ordering) -> None:
    """All captions by default, each as SubRip under its lecture's name."""
    spoken = tuple(
        Caption(one, text(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{one}\n"), source)
        for one, source in (("en_GB", "manual"), ("de_DE", "auto"), ("ja_JP", "manual"))
    )
    order = ordering(course(Video("Film", {720: Synthetic("f", 900)}, captions=spoken)))
    order.wishes = {"captions": "all"}
    order.fetch()
    assert [one for one in order.files() if one.endswith(".srt")] == [
        f"01 - A/001 Film_{one}.srt" for one in ("de_DE", "en_GB", "ja_JP")
    ]


QUESTIONS = (
    Question("What is <b>1 + 1</b>?", ("1", "2"), ("b",), "Count."),
    Question("Which are even?", ("1", "2", "4"), ("b", "c")),
)
CODING = Coding("<p>Write it.</p>", {"test.py": "assert f(1) < 2"}, {"f.py": "def f(x): ..."})


@pytest.mark.parametrize("sort", ["simple-quiz", "practice-test"])
def test_a_quiz_is_a_page_and_its_data(ordering: Ordering, sort: str) -> None:
    """Quizzes and practice tests: readable with all answers, raw as the platform gave it."""
    order = ordering(course(Quiz("Test", QUESTIONS, sort)))
    order.fetch()
    assert order.files() == ["01 - A/001 Test.html", "01 - A/001 Test.json"]
    page = order.read("01 - A/001 Test.html").decode()
    for each in ("<h1>001 Test</h1>", "What is <b>1 + 1</b>?", "Count.", "<p>b, c</p>", "<p>4</p>"):
        assert each in page
    data = json.loads(order.read("01 - A/001 Test.json"))
    assert [one["correct_response"] for one in data] == [["b"], ["b", "c"]]
    assert order.portal.ledger.of("api:assessments/c/001").requests == 1
    order.portal.ledger.reset()
    order.fetch()
    assert len(order.portal.ledger.visits()) == 2


def test_a_coding_exercise_shows_its_files(ordering: Ordering) -> None:
    """Instructions, tests and solution, with code as code."""
    order = ordering(course(Quiz("Code", (CODING,), "coding-exercise")))
    order.fetch()
    page = order.read("01 - A/001 Code.html").decode()
    for each in ("<p>Write it.</p>", "Test: test.py", "assert f(1) &lt; 2", "Solution: f.py"):
        assert each in page


def test_a_quiz_of_many_pages_is_read_whole(ordering: Ordering) -> None:
    """A practice test of 130 questions comes in two pages and loses none."""
    many = tuple(Question(f"Q{n}", ("x",), ("a",)) for n in range(130))
    order = ordering(course(Quiz("Long", many, "practice-test")))
    order.fetch()
    assert len(json.loads(order.read("01 - A/001 Long.json"))) == 130
    assert order.portal.ledger.of("api:assessments/c/001").requests == 2


def test_a_quiz_without_questions_is_told(ordering: Ordering) -> None:
    """The platform has empty quizzes; they are listed once and asked for once."""
    order = ordering(course(Quiz("Empty"), Article("Text", "x")))
    fetched = order.fetch()
    assert [(one.title, one.reason) for one in fetched.skipped] == [
        ("01 - A/001 Empty", "kind: quiz without questions")
    ]
    order.portal.ledger.reset()
    order.fetch()
    assert order.portal.ledger.of("api:assessments/c/001").requests == 0


def test_a_quiz_that_is_gone_is_one_broken_item(ordering: Ordering) -> None:
    """A 404 for a quiz names it and costs nothing else."""
    order = ordering(course(Quiz("Gone", QUESTIONS), Article("Text", "x")))
    order.environ = {"ON_ITEM_FAILURE": "skip"}
    order.portal.faults.add("api:assessments/c/001", actions.Status(404), times=None)
    fetched = order.fetch()
    assert [one.title for one in fetched.skipped] == [
        "01 - A/001 Gone.html",
        "01 - A/001 Gone.json",
    ]
    assert "There is no quiz" in fetched.skipped[0].reason
    assert "01 - A/002 Text.html" in order.files()


@pytest.mark.parametrize(
    ("results", "pages"),
    [([None, "x"], 0), ([{}], 1), ([{"prompt": [], "correct_response": 3}], 1)],
)
def test_a_quiz_of_odd_questions(ordering: Ordering, results: list[Any], pages: int) -> None:
    """Questions of any shape make a page; what is none makes a quiz without questions."""
    order = ordering(course(Quiz("Odd", QUESTIONS)))
    for path, value in (("results", results), ("count", len(results))):
        rule = actions.Json(path, value)
        order.portal.faults.add("api:assessments/c/001", rule, times=None)
    fetched = order.fetch()
    assert len(fetched.skipped) == 1 - pages
    assert order.path("01 - A/001 Odd.html").exists() == bool(pages)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["prompt", "question", "answers", "explanation", "correct_response", "instructions",
             "test_files", "solution_files", "file_name", "content", "question_plain"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=30,
)  # fmt: skip


@given(st.lists(JSON, max_size=4))
def test_any_assessments_are_a_page(found: list[Any]) -> None:
    """No shape of a question is an accident."""
    assert texts.page("T", quiz.body(found)).decode().count("<section>") == sum(
        isinstance(one, dict) for one in found
    ) or "<section>" in str(found)


BODY = (
    '<p>See <img alt="a" src="{image:a b.png}"> and <IMG SRC=\'{image:photo}\' srcset="x 2x"></p>'
)


def test_the_images_of_an_article_are_local(ordering: Ordering) -> None:
    """Images lie in a folder beside the text, which links to them relatively."""
    pictures = {"a b.png": PNG, "photo": JPEG}
    order = ordering(course(Article("Read: me", BODY, pictures)))
    order.fetch()
    names = ["01 - A/001 Read me.html", "01 - A/001 Read me_files/01 a b.png",
             "01 - A/001 Read me_files/02 photo"]  # fmt: skip
    assert order.files() == names
    assert order.read(names[1]) == PNG.data and order.read(names[2]) == JPEG.data
    page = order.read(names[0]).decode()
    links = re.findall(r'src="([^"]+)"', page)
    assert [f"01 - A/{unquote(one)}" for one in links] == names[1:]
    assert "srcset" not in page and "script-src 'none'" in page
    order.portal.ledger.reset()
    order.fetch()
    assert len(order.portal.ledger.visits()) == 2


@pytest.mark.parametrize(
    "trouble", [actions.Status(404), actions.Challenge(), actions.Drop(), actions.Status(429)]
)
def test_an_image_that_cannot_be_had_stays_a_link(
    ordering: Ordering, trouble: actions.Action
) -> None:
    """One image fails, by a stranger's guard even: the link is kept, noted, the course complete."""
    order = ordering(course(Article("Text", BODY, {"a b.png": PNG, "photo": JPEG})))
    order.portal.faults.add("cdn:c/001/img/a b.png", trouble, times=None)
    fetched = order.fetch()
    page = order.read("01 - A/001 Text.html").decode()
    kept, local = re.findall(r"src=[\"']([^\"']+)[\"']", page)
    assert kept.startswith(order.portal.cdn_url) and local.startswith("001%20Text_files/")
    assert [one.title for one in fetched.skipped] == ["01 - A/001 Text_files/01 a b.png"]
    assert fetched.skipped[0].reason.endswith("the link is kept")
    order.portal.faults.clear()
    order.fetch()
    assert order.portal.cdn_url not in order.read("01 - A/001 Text.html").decode()
    assert "SKIPPED.txt" not in order.files()


@pytest.mark.parametrize(("told", "most"), [(True, 1), (False, 22)])
def test_an_image_too_large_stays_a_link(ordering: Ordering, told: bool, most: int) -> None:
    """An image of more than 20 MiB is not fetched; when its size is not told, no further."""
    body = BODY.partition(" and ")[0]
    order = ordering(course(Article("Text", body, {"a b.png": Synthetic("x", 21 << 20)})))
    if not told:
        order.portal.faults.add("cdn:c/001/img/a b.png", actions.Chunked(), times=None)
    fetched = order.fetch()
    assert fetched.bytes_fetched < most << 20
    assert list((order.root / ".state/parts").iterdir()) == []
    assert "bytes; the link is kept" in fetched.skipped[0].reason


def test_a_guard_before_a_file_of_the_course_still_ends_the_run(ordering: Ordering) -> None:
    """Only images are forgiven: the platform's own guard is never worked around."""
    order = ordering(course(Document("Thing", "a.pdf", Synthetic("a", 900))))
    order.portal.faults.add("cdn:c/001/a.pdf", actions.Challenge(), times=None)
    with pytest.raises(BlockedByPlatform):
        order.fetch()


def test_a_text_that_changed_is_written_anew(ordering: Ordering) -> None:
    """An edited article replaces the old one, of equal length even; nothing else comes."""
    film = Video("Film", {720: Synthetic("f", 9000)})
    order = ordering(course(Article("Text", "old"), film))
    order.fetch()
    edited = actions.Json("results/1/asset/body", "new")
    order.portal.faults.add("api:curriculum/c", edited, times=None)
    order.portal.ledger.reset()
    order.fetch()
    assert "new" in order.read("01 - A/001 Text.html").decode()
    assert order.portal.ledger.visits("cdn:") == []


def test_a_quiz_that_was_inserted_moves_the_others(ordering: Ordering) -> None:
    """Quizzes are known by their ids: moved, not asked for again."""
    order = ordering(course(Quiz("New", QUESTIONS, ref="new"), Quiz("Old", QUESTIONS, ref="old")))
    hidden = actions.Json("results/1/_class", "unheard-of")
    order.portal.faults.add("api:curriculum/c", hidden)
    first = order.fetch()
    assert [one.reason for one in first.skipped] == ["kind: unheard-of"]
    order.fetch()
    assert order.portal.ledger.of("api:assessments/c/old").requests == 1
    assert len(order.files()) == 4


@given(st.text(alphabet="<img src='\"=> /a.:h\n", max_size=60), st.sampled_from(["", "https://p/"]))
def test_any_html_keeps_what_is_no_image(text_: str, base: str) -> None:
    """Replacing nothing changes nothing, and replacing all leaves no address behind."""
    assert images.replace(text_, base, {}) == text_
    found = images.find(text_, base)
    assert not set(found) & set(
        images.find(images.replace(text_, base, dict.fromkeys(found, "x")), "")
    )


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ('<img src="https://h/a.png">', "https://h/a.png"),
        ("<img src='https://h/a.png?x=1&amp;y=2'>", "https://h/a.png?x=1&y=2"),
        ("<img alt='>' src=https://h/a.png>", "https://h/a.png"),
        ('<img data-src="https://h/b" src="//h/a.png">', "https://h/a.png"),
        ('<img src="/a.png">', "https://p/a.png"),
        ('<img src="data:image/png;base64,AA">', ""),
        ('<img src="file:///etc/passwd">', ""),
        ('<image src="https://h/a.png">', ""),
        ("<img>", ""),
    ],
)
def test_images_are_found_as_people_write_them(tag: str, found: str) -> None:
    """Quotes or none, entities, relative addresses; nothing but http is an address."""
    assert images.find(tag, "https://p/") == ([found] if found else [])
