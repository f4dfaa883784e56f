"""Names: at most so long, each once, nothing that leaves its folder, always the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.sources import naming, plan
from job_image.sources.choice import Wishes
from job_image.sources.course import Course
from job_image.sources.curriculum import Asset, Caption, Entry, Stream
from playground.content import text
from playground.portal import courses
from tests.job_image.fetch.order import Order

NASTY = st.sampled_from(
    ["", ".", "..", "/", "../../etc/passwd", "a/b", "a\\b", "CON", "nul.mp4", "x" * 400,
     "é" * 200, "🎬" * 100, "e\u0301" * 150, "a\0b", "\u202egpj.exe", "\ud800", " . ", "A", "a",
     "*" * 30, "名" * 120, ".state", "~", "-rf", "a.b.c.tar.gz", "\u2028", "﷽" * 40]
)  # fmt: skip
TITLES = NASTY | st.text(max_size=300)


def assert_safe(name: str, limit: int) -> None:
    """Check what every single name must be."""
    assert name not in ("", ".", "..") and len(name.encode()) <= limit
    assert not set(name) & set('/\\<>:"|?*') and not name.startswith((".", " "))
    assert name == name.rstrip(". ") and unicodedata.normalize("NFC", name) == name
    assert all(unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in name)


@given(TITLES, TITLES)
def test_any_course_gets_a_safe_folder(slug: str, number: str) -> None:
    """No slug or id makes a folder that is unsafe, hidden or reserved."""
    name = naming.folder(slug, number)
    assert_safe(name, naming.FOLDER_LIMIT + 1)
    assert name.partition(".")[0].upper() not in ("CON", "NUL")


@given(st.integers(1, 2000), TITLES)
def test_any_chapter_gets_a_safe_folder(number: int, title: str) -> None:
    """No title makes a chapter's folder unsafe."""
    assert_safe(naming.chapter(number, title), naming.CHAPTER_LIMIT)


@given(st.integers(1, 2000), TITLES, TITLES, TITLES)
def test_any_file_gets_a_safe_name(number: int, title: str, tail: str, filename: str) -> None:
    """No title, language or file name makes a file's name unsafe."""
    _, extension = naming.split(filename)
    name = naming.file(number, title, tail, extension)
    assert len(name.encode()) <= naming.NAME_LIMIT and name.endswith(extension)
    assert not set(name) & set('/\\<>:"|?*') and name.startswith(f"{number:03d} ")


def asset(number: str, filename: str, streams: tuple[Stream, ...] = ()) -> Asset:
    captions = tuple(Caption(n, locale, "http://h/c") for n, locale in ((number, filename),))
    kind = "Video" if streams else "File"
    return Asset(number, kind, "", filename, streams, "http://h/f", captions, "", "", None, False)


STREAM = Stream("video/mp4", "720", "http://h/v")
LECTURES = st.builds(
    lambda number, title, names: Entry(
        "lecture",
        str(number),
        title,
        asset(str(number), title, (STREAM,)),
        tuple(asset(f"{number}{place}", name) for place, name in enumerate(names)),
    ),
    st.integers(0, 9),
    TITLES,
    st.lists(TITLES, max_size=4),
)
CHAPTERS = st.builds(lambda title: Entry("chapter", "", title), TITLES)


@given(TITLES, st.lists(LECTURES | CHAPTERS, max_size=12))
def test_any_course_gets_paths_of_its_own(slug: str, entries: list[Entry]) -> None:
    """All paths and keys of a course differ, also for systems that ignore case, and stay inside."""
    made = plan.make(Course("1", slug, "T"), entries, Wishes())
    paths = [file.path for file in made.files]
    assert len({path.casefold() for path in paths}) == len(paths)
    assert len({file.key for file in made.files}) == len(paths)
    for path in paths:
        folder, chapter, name = path.split("/")
        assert folder == made.folder and len(path.encode()) < 440
        assert_safe(chapter, naming.CHAPTER_LIMIT)
        assert len(name.encode()) <= naming.NAME_LIMIT and name not in (".", "..")
    assert plan.make(Course("1", slug, "T"), entries, Wishes()) == made


@given(TITLES)
def test_cleaning_twice_changes_nothing(title: str) -> None:
    """A clean name is clean."""
    assert naming.clean(naming.clean(title)) == naming.clean(title)


@pytest.mark.parametrize(
    ("number", "stem", "tail", "extension", "name"),
    [
        (1, "Intro", "", ".mp4", "001 Intro.mp4"),
        (12, "What's new? (part 1/2)", "", ".mp4", "012 What's new (part 1-2).mp4"),
        (3, "Loops", "_en_GB", ".srt", "003 Loops_en_GB.srt"),
        (4, "", "", ".html", "004 Untitled.html"),
        (5, "Grüße  an\talle", "", ".mp4", "005 Grüße an alle.mp4"),
        (6, "👩‍💻 Coding", "", ".mp4", "006 👩‍💻 Coding.mp4"),
    ],
)
def test_names_read_as_their_titles(
    number: int, stem: str, tail: str, extension: str, name: str
) -> None:
    """People find a lecture by its title."""
    assert naming.file(number, stem, tail, extension) == name


def test_a_long_title_keeps_its_number_language_and_extension() -> None:
    """Only the title is shortened, between two letters."""
    name = naming.file(7, "ü" * 300, "_pt_BR", ".srt")
    assert name.startswith("007 üü") and name.endswith("ü_pt_BR.srt")
    assert naming.NAME_LIMIT - 1 <= len(name.encode()) <= naming.NAME_LIMIT


def test_a_course_of_hostile_titles_lands_in_its_folder(
    ordering: Callable[..., Order],
) -> None:
    """End to end: titles with separators, dots and 400 letters give files in the course folder."""
    titles = ["../../escape", "a/b\\c", "x" * 400, "x" * 400, "..", "CON", ""]
    same = [courses.Attachment(n, text(n)) for n in ("..\\notes.pdf", "notes.pdf", "NOTES.pdf")]
    items = tuple(courses.Article(title, "<p/>", supplements=tuple(same)) for title in titles)
    order = ordering(courses.Course("hostile", chapters=(courses.Chapter("../up", items),)))
    fetched = order.fetch()
    assert fetched.files == 4 * len(titles) == len(order.files())
    assert all(name.startswith("01 - ..-up/0") for name in order.files())
    assert {one.name for one in order.root.iterdir()} == {"hostile", ".state"}
    assert order.read("01 - ..-up/001 ..-notes.pdf") == b"..\\notes.pdf"
    assert order.read("01 - ..-up/001 notes.pdf") == b"notes.pdf"
    assert order.read("01 - ..-up/001 NOTES (2).pdf") == b"NOTES.pdf"
