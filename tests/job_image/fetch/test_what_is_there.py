"""A second run on a volume, while the course, the volume or the order of things has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from job_image.sources.part import Part
from job_image.sources.ranges import Known
from playground.content import Synthetic, text
from playground.portal import actions
from playground.portal.courses import Caption, Chapter, Course, Item, Video
from playground.wire import Reply, Request
from playground.wire.reply import document
from tests.job_image.fetch.film import COURSE, FILM, NAME, SIZE, whole
from tests.job_image.fetch.order import Order, run_child

Ordering = Callable[..., Order]
A, B, C = (Synthetic(name, 200_000) for name in "ABC")
LINES = text("WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n")


def film(title: str, content: Synthetic, ref: str) -> Video:
    return Video(title, {720: content}, captions=(Caption("en", LINES),), ref=ref)


def course(*items: Item) -> Course:
    return Course("c", chapters=(Chapter("All", items),))


def change(order: Order, edit: Callable[[list[object]], None]) -> None:
    """Let the platform answer with an edited curriculum from now on."""
    order.portal.faults.add("api:curriculum/c", _Edited(edit), times=None)


class _Edited(actions.Action):
    """Changes the entries of a list."""

    def __init__(self, edit: Callable[[list[object]], None]) -> None:
        self._edit = edit

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        page = json.loads(reply.content.read(0, reply.content.size))
        self._edit(page["results"])
        return document({**page, "count": len(page["results"])})


def test_lectures_that_swapped_places_are_moved(ordering: Ordering) -> None:
    """Two lectures of equal size change their order: no byte is fetched, each has its new name."""
    order = ordering(course(film("Same", A, "a"), film("Same", B, "b")))
    order.fetch()
    assert order.read("01 - All/001 Same.mp4") == whole(A)
    change(order, lambda results: results.append(results.pop(1)))
    order.portal.ledger.reset()
    order.fetch()
    assert order.portal.ledger.visits("cdn:") == []
    assert order.read("01 - All/001 Same.mp4") == whole(B)
    assert order.read("01 - All/002 Same.mp4") == whole(A)
    assert len(order.files()) == 4


def test_a_lecture_that_was_inserted_moves_the_others(ordering: Ordering) -> None:
    """Only the new lecture is fetched; the old ones get their new numbers."""
    order = ordering(course(film("New", C, "new"), film("One", A, "a"), film("Two", B, "b")))
    change(order, lambda results: results.remove(results[1]))
    order.fetch()
    assert order.read("01 - All/001 One.mp4") == whole(A)
    order.portal.faults.clear()
    order.portal.ledger.reset()
    order.fetch()
    assert sorted(visit.target for visit in order.portal.ledger.visits("cdn:")) == [
        "cdn:c/new/720.mp4",
        "cdn:c/new/captions/en.vtt",
    ]
    names = ["001 New", "001 New_en", "002 One", "002 One_en", "003 Two", "003 Two_en"]
    assert [Path(name).stem for name in order.files()] == names
    assert order.read("01 - All/003 Two.mp4") == whole(B)


@pytest.mark.parametrize("point", ["aside", "placing", "moved", "planned"])
def test_killed_while_lectures_move(ordering: Ordering, point: str) -> None:
    """Killed in the middle of moving files, the next run takes no lecture for another."""
    order = ordering(course(film("Same", A, "a"), film("Same", B, "b")))
    order.fetch()
    change(order, lambda results: results.append(results.pop(1)))
    assert run_child(order, COURSE_RUNNER_FAULT=f"fetch:{point}").returncode == -9
    order.portal.ledger.reset()
    order.fetch()
    assert order.read("01 - All/001 Same.mp4") == whole(B)
    assert order.read("01 - All/002 Same.mp4") == whole(A)
    assert order.portal.ledger.visits("cdn:") == []


def test_a_lecture_that_is_gone_stays_on_the_volume(ordering: Ordering) -> None:
    """What was fetched is not deleted because the platform forgot it."""
    order = ordering(course(film("One", A, "a"), film("Two", B, "b")))
    order.fetch()
    change(order, lambda results: results.pop())
    order.fetch()
    assert order.read("01 - All/002 Two.mp4") == whole(B)


def test_files_that_nobody_needs_any_more_are_cleared_away(ordering: Ordering) -> None:
    """Unfinished files of lectures that are gone do not fill the volume."""
    order = ordering(course(film("One", A, "a")))
    parts = order.root / ".state/parts"
    parts.mkdir(parents=True)
    for name in ("gone.part", "gone.json", "gone.moved"):
        (parts / name).write_bytes(b"x")
    order.fetch()
    assert list(parts.iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.json", "fetched.jsonl"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"files": 3}', b"\xff\n\xff"])
def test_a_broken_record_costs_time_and_nothing_else(
    ordering: Ordering, name: str, content: bytes
) -> None:
    """Records that cannot be read count as none: the files are fetched again, and are right."""
    order = ordering(course(film("One", A, "a")))
    order.fetch()
    (order.root / ".state" / name).write_bytes(content)
    order.fetch()
    assert order.read("01 - All/001 One.mp4") == whole(A)


def test_the_journal_counts_when_the_manifest_is_old(ordering: Ordering) -> None:
    """A run that was killed before it wrote the manifest has its finished files in the journal."""
    order = ordering(course(film("One", A, "a"), film("Two", B, "b")))
    order.portal.faults.add("cdn:c/b/720.mp4", actions.Challenge(), times=None)
    order.environ = {"DOWNLOAD_CONCURRENCY": "1"}
    with pytest.raises(Exception, match="asks for a human"):
        order.fetch()
    manifest = json.loads((order.root / ".state/manifest.json").read_text())
    assert {one["state"] for one in manifest["files"]} == {"planned"}
    order.portal.faults.clear()
    order.portal.ledger.reset()
    order.fetch()
    assert order.portal.ledger.of("cdn:c/a/720.mp4").requests == 0
    assert "2 of 4 files are complete" in order.log


def test_a_stranger_in_a_files_place_is_replaced(ordering: Ordering) -> None:
    """A file that nobody recorded is no finished file, whatever its name."""
    order = ordering(course(film("One", A, "a")))
    order.path("01 - All").mkdir(parents=True)
    order.path("01 - All/001 One.mp4").write_bytes(b"x" * A.size)
    order.fetch()
    assert order.read("01 - All/001 One.mp4") == whole(A)


def test_a_stranger_is_not_taken_for_a_file_that_was_about_to_get_its_name(
    ordering: Ordering,
) -> None:
    """Killed between record and rename, an old file of that name and size is still the old one."""
    order = ordering(COURSE)
    order.path(NAME).parent.mkdir(parents=True)
    order.path(NAME).write_bytes(b"x" * SIZE)
    assert run_child(order, COURSE_RUNNER_FAULT="fetch:recorded").returncode == -9
    order.portal.ledger.reset()
    order.fetch()
    assert order.read(NAME) == whole(FILM)
    assert order.portal.ledger.visits("cdn:") == []


def test_a_planned_file_is_no_finished_one(ordering: Ordering) -> None:
    """The manifest of a run that was killed before its first byte says what is yet to come."""
    order = ordering(course(film("One", A, "a")))
    assert run_child(order, COURSE_RUNNER_FAULT="fetch:planned").returncode == -9
    order.path("01 - All").mkdir(parents=True)
    order.path("01 - All/001 One.mp4").write_bytes(b"x" * A.size)
    order.fetch()
    assert order.read("01 - All/001 One.mp4") == whole(A)


def test_a_note_goes_with_the_bytes_it_speaks_of(tmp_path: Path) -> None:
    """A part that begins anew with a small object keeps no note of the large one before."""
    part = Part(tmp_path, "key")
    part.begin(Known('"large"', total=5_000_000))
    part.append(b"x" * 100)
    part.begin(Known('"small"', total=1000))
    part.append(b"y" * 100)
    part.close()
    again = Part(tmp_path, "key")
    again.load()
    assert (again.offset, again.known) == (0, Known())


def test_two_records_for_one_file_count_as_none(ordering: Ordering) -> None:
    """Of two lectures that claim one file none is believed."""
    order = ordering(course(film("Same", A, "a"), film("Same", B, "b")))
    order.fetch()
    path = order.root / ".state/manifest.json"
    manifest = json.loads(path.read_text())
    films = [one for one in manifest["files"] if one["kind"] == "video"]
    films[1]["path"] = films[0]["path"]
    path.write_text(json.dumps(manifest))
    order.fetch()
    assert order.read("01 - All/001 Same.mp4") == whole(A)
    assert order.read("01 - All/002 Same.mp4") == whole(B)


def test_a_link_in_a_files_place_is_not_followed(ordering: Ordering, tmp_path: Path) -> None:
    """A symbolic link is replaced by the file and its target is left alone."""
    order = ordering(course(film("One", A, "a")))
    order.fetch()
    outside = tmp_path / "outside"
    outside.write_bytes(whole(A))
    order.path("01 - All/001 One.mp4").unlink()
    order.path("01 - All/001 One.mp4").symlink_to(outside)
    order.fetch()
    assert not order.path("01 - All/001 One.mp4").is_symlink()
    assert outside.read_bytes() == whole(A)
