"""One order, killed at every named point of its journey, run after run, and done once in the end.

A real course of a portal, rclone to a folder, SQLite, a webhook receiver. Each run is killed
(SIGKILL) one point further than the last; what earlier runs finished must never be done again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.task import Task
from job_image.checkpoint import STEPS
from playground.content import Bytes, Synthetic, sha256, text
from playground.portal import TOKEN as PORTAL_TOKEN
from playground.portal import Portal, actions
from playground.portal.courses import Article, Attachment, Caption, Chapter, Course, Document, Video
from playground.receiver import Receiver
from tests.job_image.journey import SECRET, SIGNING_KEY, Ended, Journey
from tests.services import until

COURSE = Course(
    "test-course",
    "Test course",
    chapters=(
        Chapter(
            "Start",
            (
                Video("Welcome", {720: Synthetic("welcome", 700_000)}),
                Video(
                    "Second",
                    {720: Synthetic("second", 300_000)},
                    captions=(Caption("en_GB", text("WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n")),),
                    supplements=(Attachment("notes.pdf", Synthetic("notes", 50_000)),),
                ),
            ),
        ),
        Chapter(
            "End",
            (Article("Read me", "<p>Hello</p>"), Document("Book", "b.pdf", Synthetic("b", 90_000))),
        ),
    ),
)
MEDIA = {
    "cdn:test-course/001/720.mp4",
    "cdn:test-course/002/720.mp4",
    "cdn:test-course/002/assets/0/notes.pdf",
    "cdn:test-course/004/b.pdf",
}
POINTS = [f"{step}:{moment}" for step in STEPS for moment in ("begin", "done", "marked")]


@dataclass
class Story:
    """What the journey looked like after each death, and in the end."""

    portal: Portal
    receiver: Receiver
    journey: Journey
    requests: dict[str, dict[str, int]] = field(default_factory=dict)
    """After each point: requests per media target."""
    marks: dict[str, list[str]] = field(default_factory=dict)
    changes: dict[str, list[str]] = field(default_factory=dict)
    deliveries: dict[str, int] = field(default_factory=dict)
    released: dict[str, bool] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    last: Ended | None = None

    def note(self, point: str) -> None:
        """Remember how things stand."""
        self.requests[point] = {name: self.portal.ledger.of(name).requests for name in MEDIA}
        self.marks[point] = self.journey.done
        self.changes[point] = self.journey.changes
        self.deliveries[point] = len(self.receiver.deliveries)
        self.released[point] = self.journey.released


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The whole story, told once."""
    folder = tmp_path_factory.mktemp("story")
    with Portal([COURSE]) as portal, Receiver(secret=SECRET, signing_key=SIGNING_KEY) as receiver:
        task = Task(999, portal.course_url("test-course"))
        journey = Journey(folder, receiver, task, {"PLATFORM_TOKEN": PORTAL_TOKEN})
        made = Story(portal, receiver, journey)
        for number, point in enumerate(POINTS, 1):
            made.codes[point] = journey.run(COURSE_RUNNER_FAULT=point, ATTEMPT=str(number)).code
            made.note(point)
        made.last = journey.run(ATTEMPT="99")
        made.note("end")
        yield made


@pytest.mark.parametrize("point", POINTS)
def test_the_run_was_killed_there_and_had_marked_exactly_the_steps_before(
    story: Story, point: str
) -> None:
    assert story.codes[point] == -signal.SIGKILL
    step, _, moment = point.partition(":")
    place = STEPS.index(step) + (moment == "marked")
    assert story.marks[point] == list(STEPS[:place])


def test_in_the_end_everything_is_done(story: Story) -> None:
    assert story.last is not None
    assert (story.last.code, story.last.err) == (0, "")
    assert story.marks["end"] == list(STEPS)
    assert story.journey.released


def test_no_finished_file_is_fetched_twice(story: Story) -> None:
    """Not even when the kill came between the last byte and the step's mark."""
    assert story.requests["fetch:begin"] == dict.fromkeys(MEDIA, 0)
    once = dict.fromkeys(MEDIA, 1)
    assert story.requests["fetch:done"] == once
    assert story.requests["fetch:marked"] == once
    assert story.requests["end"] == once
    assert all(story.portal.ledger.of(name).ranges == [] for name in MEDIA)


def test_the_remote_holds_exactly_what_the_volume_holds(story: Story) -> None:
    uploaded, fetched = story.journey.uploaded(), story.journey.fetched()
    assert uploaded == fetched
    wanted = {sha256(story.portal.stored(name.removeprefix("cdn:")).content) for name in MEDIA}
    (folder,) = {Path(name).parts[0] for name in uploaded}
    hashes = {sha256_of(data) for data in uploaded.values()}
    assert wanted <= hashes
    assert story.receiver.deliveries[0].json["folder_name"] == folder


def sha256_of(data: bytes) -> str:
    """The digest as the playground writes it."""
    return sha256(Bytes(data))


def test_the_row_is_moved_twice_and_never_back(story: Story) -> None:
    assert story.changes["end"] == ["running", "completed"]
    assert story.changes["record:begin"] == ["running"]
    assert story.changes["record:done"] == ["running", "completed"]


def test_the_webhook_is_sent_after_the_row_and_is_one_event(story: Story) -> None:
    """Killed between its acceptance and the mark, it is sent again; its receiver can tell."""
    assert story.deliveries["announce:begin"] == 0
    assert story.deliveries["announce:done"] == 1
    assert story.deliveries["end"] == 2
    first, *others = story.receiver.deliveries
    assert all(delivery.genuine for delivery in story.receiver.deliveries)
    assert {other.body for other in others} == {first.body}
    assert {other.headers["webhook-id"] for other in others} == {first.headers["webhook-id"]}
    assert first.json["task_id"] == 999


def test_the_volume_is_let_go_last(story: Story) -> None:
    early = [point for point in POINTS if story.released[point]]
    assert early == ["release:done", "release:marked"]


def test_a_kill_in_the_middle_of_a_file_costs_at_most_a_mebibyte_of_it(tmp_path: Path) -> None:
    target, key = "cdn:long/001/720.mp4", "long/001/720.mp4"
    course = Course("long", "Long", (Chapter("A", (Video("V", {720: Synthetic("v", 6 << 20)}),)),))
    with Portal([course]) as portal, Receiver(secret=SECRET, signing_key=SIGNING_KEY) as receiver:
        task = Task(999, portal.course_url("long"))
        settings = {"PLATFORM_TOKEN": PORTAL_TOKEN, "DOWNLOAD_CONCURRENCY": "1"}
        journey = Journey(tmp_path, receiver, task, settings)
        portal.faults.add(target, actions.StallBody(after=5 << 20))
        with journey.started() as process:
            parts = journey.sandbox / ".state" / "parts"
            until(lambda: _bytes(parts) >= 5 << 20, "what was sent is written", 30)
            process.kill()
            process.wait()
        portal.release()
        assert journey.run().code == 0
        (asked,) = portal.ledger.of(target).ranges
        assert int(asked.removeprefix("bytes=").rstrip("-")) >= 4 << 20
        (data,) = journey.uploaded().values()
        assert sha256_of(data) == sha256(portal.stored(key).content)


def _bytes(parts: Path) -> int:
    return sum(part.stat().st_size for part in parts.glob("*.part"))
