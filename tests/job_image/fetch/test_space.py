"""Volumes that are too small, full, or refuse a write."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import VolumeFull
from job_image.sources.space import Space
from playground.content import Synthetic
from playground.portal import Portal, actions
from playground.portal.courses import Article, Attachment, Chapter, Course, Item, Video
from tests.job_image.fetch.film import COURSE, FILM, NAME, ON, SIZE, whole
from tests.job_image.fetch.order import Order, run_child

Ordering = Callable[..., Order]


def course(*items: Item) -> Course:
    return Course("c", chapters=(Chapter("All", items),))


def test_files_that_fit_alone_but_not_together_are_refused(tmp_path: Path) -> None:
    """What is promised to one file is not free for another, until it is let go."""
    space = Space(tmp_path)
    found = os.statvfs(tmp_path)
    most = found.f_bavail * found.f_frsize * 6 // 10
    space.reserve("a", most, "a.mp4")
    with pytest.raises(VolumeFull, match=r"b\.mp4, with what is under way, needs"):
        space.reserve("b", most, "b.mp4")
    space.release("a")
    space.reserve("b", most, "b.mp4")
    space.used("b", most)
    space.reserve("c", most, "c.mp4")


def test_a_course_that_cannot_fit_is_refused_before_its_first_byte(ordering: Ordering) -> None:
    """Sizes that the platform tells are held against the free space; what is missing is told."""
    huge = Attachment("huge.bin", Synthetic("huge", 1 << 50))
    order = ordering(course(Article("Text", "<p/>", supplements=(huge,))))
    with pytest.raises(VolumeFull, match=r"1024\.0 TiB more, .* are missing"):
        order.fetch()
    assert order.portal.ledger.visits("cdn:") == []


def test_a_film_that_cannot_fit_is_refused_at_its_first_answer(ordering: Ordering) -> None:
    """The size of a film is known from the answer; not one byte of it is written."""
    order = ordering(course(Video("Huge", {720: Synthetic("huge", 1 << 50)})))
    with pytest.raises(VolumeFull, match=r"001 Huge\.mp4 needs 1024\.0 TiB more"):
        order.fetch()
    sizes = [one.stat().st_size for one in (order.root / ".state/parts").glob("*.part")]
    assert sum(sizes) == 0


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
from tests.job_image.fetch.child import main
sys.exit(main())
"""


def test_a_volume_that_refuses_a_write_is_an_error_of_ours(ordering: Ordering) -> None:
    """A write that the system refuses ends the run in order, with the bytes kept."""
    order = ordering(COURSE)
    ended = run_child(order, "-c", LIMITED)
    assert ended.returncode == 75 and "The volume refused" in ended.stdout, ended.stderr
    (part,) = (order.root / ".state/parts").glob("*.part")
    assert part.stat().st_size == 2_000_000
    order.portal.ledger.reset()
    order.fetch()
    assert order.portal.ledger.of(ON).ranges == ["bytes=2000000-"]
    assert order.read(NAME) == whole(FILM) and SIZE > 2_000_000


def test_a_volume_that_is_full_tells_what_is_missing(volume: Path) -> None:
    """ENOSPC on a real, small file system is `VolumeFull` and names file and size."""
    one = course(Video("Film", {720: Synthetic("film", 12_000_000)}))
    with Portal([one]) as portal:
        portal.faults.add("cdn:*", actions.Chunked(), times=None)
        order = Order(portal, volume, "c")
        with pytest.raises(VolumeFull, match=r"full \(No space left on device\) .*Film\.mp4"):
            order.fetch()
        portal.faults.clear()
        with pytest.raises(VolumeFull, match=r"needs .* MiB more, .* are missing"):
            order.fetch()


def test_a_volume_that_fills_up_meanwhile_ends_as_73_and_is_gone_on_with(volume: Path) -> None:
    """Space that was free before the first byte and is taken by others later: the run says how
    much is missing, keeps what it has, and the next one goes on at that byte once there is room.
    """
    film = Synthetic("film", 6_000_000)
    with Portal([course(Video("Film", {720: film}))]) as portal:
        portal.faults.add("cdn:*", actions.StallBody(1_000_000))
        order = Order(portal, volume, "c")
        filler = threading.Thread(target=_fill, args=(portal, volume / "others"))
        filler.start()
        ended = run_child(order)
        filler.join()
        assert ended.returncode == 73, ended.stdout
        assert re.search(r"Film\.mp4; [0-9.]+ MiB of it are missing", ended.stdout), ended.stdout
        (part,) = (volume / ".state/parts").glob("*.part")
        there = part.stat().st_size
        assert 1_000_000 <= there < film.size and not order.path("01 - All/001 Film.mp4").exists()
        (volume / "others").unlink()
        portal.ledger.reset()
        order.fetch()
        assert portal.ledger.of("cdn:c/001/720.mp4").ranges == [f"bytes={there}-"]
        assert order.read("01 - All/001 Film.mp4") == whole(film)


def _fill(portal: Portal, place: Path) -> None:
    """Take all but a little of the space as soon as the film has begun, then let it go on."""
    deadline = time.monotonic() + 30
    parts = place.parent / ".state/parts"
    while not any(part.stat().st_size == 1_000_000 for part in parts.glob("*.part")):
        assert time.monotonic() < deadline, "The film did not begin in time."
        time.sleep(0.01)
    place.write_bytes(bytes(5_500_000))
    portal.release()
