"""Course files: what is written is served, what cannot be understood is named with its place."""

from pathlib import Path

import pytest

from playground.content import Bytes, File, Synthetic, text
from playground.media import outline
from playground.portal import courses as c
from playground.portal.contents import ContentError, content_from, parse_size
from playground.portal.course_file import CourseFileError, Plan, load, parse

FULL = """
tokens:
  one-token: [first]
  other-token: ["*"]
courses:
  - slug: first
    title: First
    archived: true
    items:
      - {kind: practice, title: Warm up}
    chapters:
      - title: Chapter
        items:
          - kind: video
            title: Video
            ref: v
            qualities: {720: {seed: a, size: 2 KiB}, Auto: {text: tiny}}
            offered: [download_urls]
            captions: [{locale: en_GB, content: WEBVTT, source: auto}]
            supplements:
              - {filename: a.txt, content: {file: a.txt}, asset_type: SourceCode}
              - {title: Site, url: "https://example.com/"}
          - {kind: article, title: Text, body: <p>x</p>, images: {a.png: {base64: AAEC}}}
          - {kind: document, title: Doc, filename: d.pdf, content: pdf, asset_type: E-Book}
          - kind: quiz
            title: Quiz
            type: coding-exercise
            assessments:
              - {prompt: Why, answers: [a, b], correct: [a]}
              - {instructions: Do, tests: {t.py: x}, solutions: {s.py: y}}
          - {kind: protected, title: Secret}
          - {kind: role-play, title: Talk}
          - kind: hls
            title: Stream
            renditions:
              360:
                bandwidth: 1000
                segments: [{content: seg, seconds: 2.0}]
                key: {content: 0123456789abcdef, iv: "0x00"}
"""


def test_every_kind_of_item_can_be_written(tmp_path):
    (tmp_path / "a.txt").write_text("file")
    path = tmp_path / "courses.yaml"
    path.write_text(FULL)
    rendition = c.Rendition(
        (c.Segment(text("seg"), 2.0),), 1000, c.Key(text("0123456789abcdef"), "0x00")
    )
    video = c.Video(
        "Video",
        {720: Synthetic("a", 2048), "Auto": text("tiny")},
        (c.Caption("en_GB", text("WEBVTT"), "auto"),),
        (
            c.Attachment("a.txt", File(tmp_path / "a.txt"), "SourceCode"),
            c.Link("Site", "https://example.com/"),
        ),
        frozenset({"download_urls"}),
        ref="v",
    )
    quiz = c.Quiz(
        "Quiz",
        (c.Question("Why", ("a", "b"), ("a",)), c.Coding("Do", {"t.py": "x"}, {"s.py": "y"})),
        "coding-exercise",
    )
    items = (
        video,
        c.Article("Text", "<p>x</p>", {"a.png": Bytes(b"\0\1\2")}),
        c.Document("Doc", "d.pdf", text("pdf"), "E-Book"),
        quiz,
        c.Protected("Secret"),
        c.RolePlay("Talk"),
        c.Hls("Stream", {360: rendition}),
    )
    course = c.Course(
        "first", "First", (c.Chapter("Chapter", items),), (c.Practice("Warm up"),), archived=True
    )
    assert load(path) == Plan((course,), {"one-token": ("first",), "other-token": ("*",)})


def test_json_is_yaml_too(tmp_path):
    path = tmp_path / "courses.json"
    path.write_text('{"courses": [{"slug": "a"}]}')
    assert load(path) == Plan((c.Course("a"),), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "list 'courses'"),
        ("courses: 5", "list 'courses'"),
        ("courses: [{}]", "courses[0] lacks ['slug']"),
        ("courses: [{slug: a, chapter: []}]", "courses[0] does not know ['chapter']"),
        ("courses: [{slug: a, chapters: x}]", "courses[0].chapters must be a list"),
        ("courses: [{slug: a, items: [{kind: film}]}]", "courses[0].items[0] needs 'kind'"),
        (
            "courses: [{slug: a, items: [{kind: video, title: t, qualities: {1: {fil: x}}}]}]",
            "courses[0].items[0].qualities.1: A content needs one of",
        ),
        (
            "courses: [{slug: a, items: "
            "[{kind: document, title: t, filename: f, content: {file: x}}]}]",
            "courses[0].items[0].content: There is no file",
        ),
        ("a: [", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_understood_names_file_and_place(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(CourseFileError) as caught:
        load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CourseFileError, match="cannot be read"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("value", "size"), [(5, 5), ("5", 5), ("2KiB", 2048), ("1.5 MiB", 1572864), ("1GiB", 1 << 30)]
)
def test_sizes_may_have_units(value, size):
    assert parse_size(value) == size


@pytest.mark.parametrize("value", [5, {}, {"size": "5MB"}, {"base64": "?"}])
def test_contents_that_cannot_be_understood_are_refused(value):
    with pytest.raises(ContentError):
        content_from(value)


def test_the_sample_with_computed_bytes_needs_no_files():
    plan = parse(outline.course_file(outline.computed), Path("nowhere"))
    assert [one.slug for one in plan.courses] == [
        "test-course",
        "odd-titles",
        "short-course",
        "streaming-course",
    ]
    assert sum(len(chapter.items) for chapter in plan.courses[0].chapters) == 14
    assert len(plan.courses[0].chapters) == 3
