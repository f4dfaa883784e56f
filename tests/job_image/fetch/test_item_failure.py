"""One broken item: the others go on, it is tried again at the end, and then the setting decides."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from contract.errors import BadSettings, Temporary
from job_image.progress import Progress
from playground.content import Synthetic, text
from playground.portal import actions
from playground.portal.courses import Article, Caption, Chapter, Course, Practice, Protected, Video
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]
COURSE = Course(
    "c",
    chapters=(
        Chapter(
            "A",
            (
                Video("One", {720: Synthetic("1", 900)}),
                Video("Two", {720: Synthetic("2", 900)}, captions=(Caption("en", text("WEBVTT")),)),
                Practice("Work"),
                Protected("Secret"),
            ),
        ),
        Chapter("B", (Article("Text", "x"), Protected("Other"))),
    ),
)
BAD = "cdn:c/002/720.mp4"


def test_by_default_the_course_fails_and_names_it(ordering: Ordering) -> None:
    """The others are there; the error names the lecture, what was answered, and the way out."""
    order = ordering(COURSE)
    order.portal.faults.add(BAD, actions.Status(404), times=None)
    with pytest.raises(Temporary) as caught:
        order.fetch()
    assert "1 of 4 files could not be fetched: c/01 - A/002 Two.mp4: " in caught.value.summary
    url = f"{order.portal.cdn_url}/c/002/720.mp4"
    assert f"answers 404 even to a fresh address [{url}]." in caught.value.summary
    assert f"[{url}]" in order.log and "Signature" not in order.log
    assert "ON_ITEM_FAILURE=skip" in caught.value.advice
    assert "01 - A/001 One.mp4" in order.files() and "02 - B/001 Text.html" in order.files()
    assert "Two" not in order.read("SKIPPED.txt").decode()


def test_with_skip_the_course_completes_and_lists_it(ordering: Ordering) -> None:
    """The broken item is tried again at the end, then listed as failed, in the course's order."""
    order = ordering(COURSE, environ={"ON_ITEM_FAILURE": "skip"})
    order.portal.faults.add(BAD, actions.Status(404), times=None)
    fetched = order.fetch()
    told = [f"{one.title}: {one.reason}" for one in fetched.skipped]
    assert [one.partition(": ")[0] for one in told] == [
        "01 - A/002 Two.mp4",
        "01 - A/003 Work",
        "01 - A/004 Secret",
        "02 - B/002 Other",
    ]
    assert told[0].startswith("01 - A/002 Two.mp4: failed: ") and "404" in told[0]
    assert order.read("SKIPPED.txt").decode().splitlines() == told
    assert fetched.files == 3
    assert "Trying 1 failed files once more." in order.log
    assert "Not on the volume (4): drm 2, failed 1, kind: practice 1." in order.log
    manifest = json.loads((order.root / ".state/manifest.json").read_text())
    (bad,) = (one for one in manifest["files"] if one["state"] == "failed")
    assert bad["path"] == "c/01 - A/002 Two.mp4" and "404" in bad["reason"]
    assert [one["title"] for one in manifest["skipped"]] == [one.title for one in fetched.skipped]


def test_what_was_given_up_is_tried_again_by_a_further_run(ordering: Ordering) -> None:
    """A failed item is not forgotten for good, as one under DRM is."""
    order = ordering(COURSE, environ={"ON_ITEM_FAILURE": "skip"})
    order.portal.faults.add(BAD, actions.Status(404), times=None)
    order.fetch()
    order.portal.faults.clear()
    assert order.fetch().files == 4
    assert "Two" not in order.read("SKIPPED.txt").decode()


def test_a_course_of_which_nothing_came_never_completes(ordering: Ordering) -> None:
    """Even with skip an empty course is a failure: it is the network that is ill."""
    film = Video("One", {720: Synthetic("1", 900)})
    order = ordering(Course("c", items=(film,)), environ={"ON_ITEM_FAILURE": "skip"})
    order.portal.faults.add("cdn:*", actions.Drop(), times=None)
    with pytest.raises(Temporary, match="1 of 1 files"):
        order.fetch()


def test_only_the_two_words_are_settings(ordering: Ordering) -> None:
    """A wrong word is a fault of the settings, named."""
    order = ordering(COURSE, environ={"ON_ITEM_FAILURE": "ignore"})
    with pytest.raises(BadSettings, match="ON_ITEM_FAILURE"):
        order.fetch()


class Kept:
    """A sink that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []

    def publish(self, fields: object) -> None:
        self.told.append(dict(fields))  # type: ignore[call-overload]


def test_counts_and_reasons_go_with_the_progress() -> None:
    """The task's hash learns how many items are missing and why, and keeps it."""
    sink = Kept()
    progress = Progress([sink])
    progress.begin("fetch")
    progress.leave_out(3, "drm 2, kind: practice 1")
    progress.begin("upload")
    assert "skipped" not in sink.told[0]
    assert [(one["skipped"], one["skipped_reasons"]) for one in sink.told[1:]] == [
        ("3", "drm 2, kind: practice 1")
    ] * 2


def test_numbers_that_run_on(ordering: Ordering) -> None:
    """CONTINUE_LECTURE_NUMBERS: numbers run on over the chapters; files are moved, not fetched."""
    order = ordering(COURSE)
    order.fetch()
    assert "02 - B/001 Text.html" in order.files()
    order.environ = {"CONTINUE_LECTURE_NUMBERS": "true"}
    order.portal.ledger.reset()
    order.fetch()
    assert [one for one in order.files() if "Text" in one] == ["02 - B/005 Text.html"]
    assert order.portal.ledger.visits("cdn:") == []


def test_the_id_as_course_name(ordering: Ordering) -> None:
    """ID_AS_COURSE_NAME: the folder is called by the course's id."""
    order = ordering(COURSE, environ={"ID_AS_COURSE_NAME": "true"})
    folder = order.fetch().folder
    assert folder.isdigit() and (order.root / folder / "01 - A/001 One.mp4").is_file()
