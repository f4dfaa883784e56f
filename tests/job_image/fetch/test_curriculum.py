"""The platform's JSON in all its generations, and JSON that no platform ever sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.sources import choice, course, curriculum, items, plan
from job_image.sources.choice import Wishes, wishes
from job_image.sources.curriculum import Caption, Stream
from playground.content import Synthetic, text
from playground.portal import courses
from tests.job_image.fetch.film import whole
from tests.job_image.fetch.order import Order

MP4 = {"type": "video/mp4", "label": "720", "file": "https://cdn/v.mp4", "src": "https://cdn/v.mp4"}
HLS = {**MP4, "type": "application/x-mpegURL", "label": "Auto"}
DASH = {**MP4, "type": "application/dash+xml"}

NAMES = st.sampled_from(
    ["_class", "id", "title", "asset", "supplementary_assets", "asset_type", "assetType",
     "filename", "stream_urls", "Video", "media_sources", "download_urls", "File", "captions",
     "url", "locale_id", "type", "label", "file", "src", "body", "external_url", "file_size",
     "media_license_token", "course_is_drmed", "course", "published_title", "type", "object_index"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["lecture", "chapter", "quiz", "practice", "role-play", "Video", "Article", "File", "E-Book",
     "ExternalLink", "SourceCode", "video/mp4", "720", "..", "https://cdn/v.mp4?Expires=1",
     "http://[", "application/x-mpegURL", "\ud800", "", "<img src='https://cdn/a.png'>",
     "<img src=//cdn/..%2Fa src='b'><img src=\"http://[\">"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=40,
)


@given(st.lists(JSON, max_size=6))
def test_any_json_gives_a_plan(results: list[Any]) -> None:
    """No shape of answer is an accident: it gives files, reasons, or nothing."""
    wishes = Wishes(runs_on=True, base="https://platform")
    made = plan.make(course.Course("1", "c", "C"), curriculum.entries(results), wishes)
    assert all(
        file.path.startswith("c/") and ".." not in file.path.split("/") for file in made.files
    )
    assert all(len(part.encode()) <= 255 for file in made.files for part in file.path.split("/"))
    assert len({file.path.casefold() for file in made.files}) == len(made.files)
    fetched = [file for file in made.files if file.content is None and file.kind not in plan.ASKED]
    assert set(made.urls) == {file.key for file in fetched}


@given(st.lists(JSON, max_size=6), st.text())
def test_any_json_gives_a_course_or_none(entries: list[Any], name: str) -> None:
    """No list of courses is an accident."""
    found = course.match(entries, name)
    assert found is None or name in (found.id, found.slug) or found.slug.lower() == name.lower()


def lecture(**asset: Any) -> curriculum.Entry:
    return curriculum.entry(
        {"_class": "lecture", "id": 1, "title": "L", "asset": {"id": 2, **asset}}
    )


@pytest.mark.parametrize(
    ("asset", "reason"),
    [
        ({"stream_urls": {"Video": [MP4]}}, ""),
        ({"media_sources": [MP4], "media_license_token": "t"}, ""),
        ({"media_sources": [MP4]}, ""),
        ({"download_urls": {"Video": [{"file": "https://cdn/v.mp4", "label": "720"}]}}, ""),
        ({"stream_urls": {"Video": [MP4]}, "course_is_drmed": True}, ""),
        ({"media_sources": [DASH], "media_license_token": "t"}, "drm"),
        ({"media_sources": [DASH], "course_is_drmed": True}, "drm"),
        ({"stream_urls": None, "media_sources": None, "course_is_drmed": True}, "drm"),
        ({"media_sources": [DASH]}, "kind: video without a file"),
        ({"stream_urls": {"Video": [HLS]}}, ""),
        ({"media_sources": [HLS], "media_license_token": "t"}, ""),
        ({"media_sources": [{**MP4, "src": "https://cdn/encrypted-files/v.mp4"}],
          "media_license_token": "t"}, "drm"),
    ],
)  # fmt: skip
def test_protected_is_what_is_marked_and_offers_no_plain_source(
    asset: dict[str, Any], reason: str
) -> None:
    """A licence token beside a plain source is no protection; without one it is."""
    reasons = items.left_out(lecture(asset_type="Video", **asset), Wishes())
    assert [why for _, why in reasons] == ([reason] if reason else [])


def streams(*labels: str) -> list[Stream]:
    return [Stream(curriculum.MP4, label, f"https://cdn/{label}") for label in labels]


@pytest.mark.parametrize(
    ("labels", "quality", "taken"),
    [
        (["360", "1080", "720"], None, "1080"),
        (["360", "1080", "720"], "720", "720"),
        (["360", "1080", "720"], "720p", "720"),
        (["360", "1080", "720"], "500", "360"),
        (["360", "1080", "720"], "540", "720"),
        (["360", "1080", "720"], "9999", "1080"),
        (["360", "1080", "720"], "best", "1080"),
        (["Auto", "360", "audio"], None, "360"),
        (["Auto", "audio"], "720", "Auto"),
        ([], "720", None),
    ],
)
def test_the_nearest_height_is_taken(
    labels: list[str], quality: str | None, taken: str | None
) -> None:
    """The best by default, the nearest to the wish, odd labels only when there is nothing else."""
    found = choice.rendition(streams(*labels), wishes(quality, None).height)
    assert (found.label if found else None) == taken


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (None, ["en_GB", "en_US", "de_DE", "pt"]),
        ("all", ["en_GB", "en_US", "de_DE", "pt"]),
        ("en", ["en_GB", "en_US"]),
        ("en_gb", ["en_GB"]),
        ("en-US, pt", ["en_US", "pt"]),
        ("fr", []),
        ("none", []),
        ("de,all", ["en_GB", "en_US", "de_DE", "pt"]),
    ],
)
def test_captions_are_taken_by_language(asked: str | None, taken: list[str]) -> None:
    """All by default; a language takes its regions, a region only itself."""
    offered = [Caption(one, one, "https://cdn") for one in ("en_GB", "en_US", "de_DE", "pt")]
    found = choice.captions(offered, wishes(None, asked).locales)
    assert [one.locale for one in found] == taken


def test_quality_and_captions_of_the_order_are_honoured(ordering: Callable[..., Order]) -> None:
    """End to end: the wished height and language, nothing else, and a word about an odd wish."""
    film = courses.Video(
        "Film",
        {720: Synthetic("big", 9000), 360: Synthetic("small", 1000)},
        captions=tuple(courses.Caption(one, text("WEBVTT\n")) for one in ("en_GB", "de_DE")),
    )
    order = ordering(courses.Course("c", items=(film,)))
    order.wishes = {"quality": "400", "captions": "de"}
    order.fetch()
    assert order.files() == ["00 - Lectures/001 Film.mp4", "00 - Lectures/001 Film_de_DE.srt"]
    assert order.read("00 - Lectures/001 Film.mp4") == whole(Synthetic("small", 1000))
    assert "is no height" not in order.log
    order.wishes = {"quality": "sharp"}
    order.fetch()
    assert 'Quality "sharp" is no height; the best is taken.' in order.log


def test_a_skipped_supplement_is_told() -> None:
    """A file beside a lecture that has no address is listed, not lost."""
    beside = {"id": 3, "asset_type": "SourceCode", "filename": "main.py", "download_urls": None}
    entry = curriculum.entry(
        {"_class": "lecture", "id": 1, "title": "L", "supplementary_assets": [beside],
         "asset": {"id": 2, "asset_type": "Article", "body": "x"}}
    )  # fmt: skip
    made = plan.make(course.Course("1", "c", "C"), [entry], Wishes())
    assert [(one.title, one.reason) for one in made.skipped] == [
        ("00 - Lectures/001 L: main.py", "kind: sourcecode without a file")
    ]


def test_one_lecture_twice_is_one_file_and_two_without_ids_are_two() -> None:
    """What is listed twice in a lecture is fetched once; lectures without ids are not confused."""
    twice = {"id": 3, "asset_type": "File", "filename": "a.pdf", "download_urls": {"File": [MP4]}}
    entry = {"_class": "lecture", "title": "L", "supplementary_assets": [twice, twice]}
    made = plan.make(course.Course("1", "c", "C"), curriculum.entries([entry, entry]), Wishes())
    assert [file.path for file in made.files] == [
        "c/00 - Lectures/001 a.pdf",
        "c/00 - Lectures/002 a.pdf",
    ]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://www.udemy.com/course/python-101/", "python-101"),
        ("https://www.udemy.com/course/python-101/learn/lecture/77#overview", "python-101"),
        ("https://acme.udemy.com/course/draft/4711/", "4711"),
        ("https://www.udemy.com/python-101", "python-101"),
        ("https://www.udemy.com/course/caf%C3%A9/?referralCode=X", "café"),
        ("https://www.udemy.com/course/course/", "course"),
    ],
)
def test_the_course_is_read_from_its_address(url: str, name: str) -> None:
    """All forms of address that people paste."""
    assert course.wanted(url) == name
