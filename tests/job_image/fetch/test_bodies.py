"""Bodies whose end is told in every way HTTP knows, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from playground.content import EMPTY
from playground.portal import actions
from playground.portal.courses import Attachment, Chapter, Course, Video
from tests.job_image.fetch.film import COURSE, CUT, FILM, NAME, ON, SIZE, whole
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]


def asked(order: Order) -> list[str | None]:
    """The Range headers of all requests for the film, None where there was none."""
    return [visit.range for visit in order.portal.ledger.visits(ON)]


def test_416_with_the_total_that_is_here_is_the_end(ordering: Ordering) -> None:
    """A body whose end only the connection told is complete when nothing comes after it."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Unframed(), times=None)
    fetched = order.fetch()
    assert asked(order) == [None, f"bytes={SIZE}-"]
    assert [visit.status for visit in order.portal.ledger.visits(ON)] == [200, 416]
    assert order.read(NAME) == whole(FILM) and fetched.bytes_fetched == SIZE


def test_an_unframed_body_that_was_cut_is_noticed(ordering: Ordering) -> None:
    """A short body that ends in good order, its length untold, is not taken for the whole."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Unframed(), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT, "close"), ranged=False)
    fetched = order.fetch()
    assert asked(order) == [None, f"bytes={CUT}-"]
    assert order.read(NAME) == whole(FILM) and fetched.bytes_fetched == SIZE


def test_an_unframed_body_without_ranges_is_compared_with_itself(ordering: Ordering) -> None:
    """Where neither length nor ranges exist, two bodies of one length are the proof."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Unframed(), times=None)
    order.portal.faults.add(ON, actions.IgnoreRange(), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT, "close"))
    order.fetch()
    assert len(order.portal.ledger.visits(ON)) == 3
    assert order.read(NAME) == whole(FILM)


def test_a_chunked_body_is_complete_at_its_last_chunk(ordering: Ordering) -> None:
    """Chunks tell their own end; no further request is needed."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Chunked(), times=None)
    order.fetch()
    assert asked(order) == [None] and order.read(NAME) == whole(FILM)


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_chunked_body_that_breaks_off_is_gone_on_with(ordering: Ordering, how: str) -> None:
    """Chunks without the last one are no end."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Chunked(), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT, how))
    order.fetch()
    assert order.read(NAME) == whole(FILM)
    assert len(order.portal.ledger.visits(ON)) == 2 and (asked(order)[1] or "").startswith("bytes=")


def test_a_compressed_body_is_unpacked(ordering: Ordering) -> None:
    """Compression that nobody asked for is undone."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Gzip(), times=None)
    order.fetch()
    assert order.read(NAME) == whole(FILM)


def test_a_compressed_body_that_breaks_off_starts_anew(ordering: Ordering) -> None:
    """Offsets in a compressed body mean nothing, so there is no going on with it."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Gzip(), times=None)
    order.portal.faults.add(ON, actions.CutBody(50_000))
    order.fetch()
    assert asked(order) == [None, None] and order.read(NAME) == whole(FILM)


def test_an_empty_video_is_no_video(ordering: Ordering) -> None:
    """A length of 0 where a film was promised is a failure, not a finished file."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.ResizeObject(0), times=2)
    order.fetch()
    assert order.read(NAME) == whole(FILM) and len(order.portal.ledger.visits(ON)) == 3


def test_an_empty_attachment_is_complete(ordering: Ordering) -> None:
    """An attachment may be empty; it is fetched once and then complete."""
    film = Video("Film", {720: FILM}, supplements=(Attachment("nothing.txt", EMPTY),))
    order = ordering(Course("one-film", chapters=(Chapter("Only", (film,)),)))
    order.fetch()
    order.portal.ledger.reset()
    order.fetch()
    assert order.read("01 - Only/001 nothing.txt") == b""
    assert order.portal.ledger.visits("cdn:") == []
