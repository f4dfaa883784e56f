"""Each rule of resuming over HTTP, on a real connection that breaks in the middle of a film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.errors import Temporary
from job_image.sources import ranges
from playground.content import Resized
from playground.portal import actions
from playground.portal.ledger import Visit
from tests.job_image.fetch.film import COURSE, CUT, FILM, KEY, NAME, ON, OTHER, SIZE, whole
from tests.job_image.fetch.order import QUICK, Order

Ordering = Callable[..., Order]


@pytest.fixture
def broken(ordering: Ordering) -> Order:
    """An order whose film breaks off after CUT bytes at the first request."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.CutBody(CUT), ranged=False)
    return order


def later(order: Order, action: actions.Action, *, times: int | None = None) -> None:
    """Let an action spoil the answers after the first."""
    order.portal.faults.add(ON, action, skip=1, times=times)


def visits(order: Order) -> list[Visit]:
    return order.portal.ledger.visits(ON)


def asked(order: Order) -> list[str | None]:
    """The Range headers of all requests for the film, None where there was none."""
    return [visit.range for visit in visits(order)]


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_body_that_breaks_off_is_gone_on_with_at_its_last_byte(
    ordering: Ordering, how: str
) -> None:
    """After a cut, by a reset or an orderly close, exactly the missing bytes are asked for."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.CutBody(CUT, how))
    fetched = order.fetch()
    assert asked(order) == [None, f"bytes={CUT}-"]
    assert order.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched == SIZE


def test_a_range_is_asked_under_the_strong_etag(broken: Order) -> None:
    """The condition of a range is the strong ETag of what is there."""
    broken.fetch()
    assert visits(broken)[1].if_range == broken.portal.stored(KEY).etag


def test_a_weak_etag_is_no_condition_but_an_old_date_is(ordering: Ordering) -> None:
    """With a weak ETag the condition is Last-Modified."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.WeakEtag(), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT))
    order.fetch()
    assert (visits(order)[1].if_range or "").endswith("GMT")
    assert asked(order) == [None, f"bytes={CUT}-"] and order.read(NAME) == whole(FILM)


def test_without_etag_an_old_date_is_the_condition(ordering: Ordering) -> None:
    """Without an ETag the condition is Last-Modified."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.NoEtag(), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT))
    order.fetch()
    assert (visits(order)[1].if_range or "").endswith("GMT")
    assert order.read(NAME) == whole(FILM)


def test_without_any_validator_the_last_bytes_are_compared(ordering: Ordering) -> None:
    """Without ETag and date the last 64 KiB come again; equal ones prove the object."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.NoEtag(also_date=True), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT))
    fetched = order.fetch()
    assert asked(order) == [None, f"bytes={CUT - 65536}-"]
    assert visits(order)[1].if_range is None
    assert order.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched == SIZE + 65536


def test_without_any_validator_another_object_is_noticed(ordering: Ordering) -> None:
    """Without validators a replaced object of the same size shows in the bytes compared."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.CutBody(CUT), ranged=False)
    later(order, actions.ReplaceObject("other"))
    order.portal.faults.add(ON, actions.NoEtag(also_date=True), times=None)
    order.fetch()
    assert asked(order) == [None, f"bytes={CUT - 65536}-", None]
    assert order.read(NAME) == whole(OTHER)


def test_a_replaced_object_is_taken_from_its_beginning(broken: Order) -> None:
    """200 instead of 206 says that the object changed: its bytes replace all old ones."""
    later(broken, actions.ReplaceObject("other"))
    broken.fetch()
    assert [visit.status for visit in visits(broken)] == [200, 200]
    assert broken.read(NAME) == whole(OTHER)


def test_a_server_without_ranges_is_taken_from_its_beginning(broken: Order) -> None:
    """200 with the whole body because ranges are not served: begin at byte 0."""
    later(broken, actions.IgnoreRange())
    fetched = broken.fetch()
    assert broken.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched == CUT + SIZE


def test_206_of_another_object_is_refused(broken: Order) -> None:
    """A server that ignores If-Range and sends 206 of a new object is found out by its ETag."""
    later(broken, actions.ReplaceObject("other"))
    later(broken, actions.IgnoreIfRange())
    broken.fetch()
    assert asked(broken) == [None, f"bytes={CUT}-", None]
    assert broken.read(NAME) == whole(OTHER)


@pytest.mark.parametrize("size", [SIZE - 500_000, SIZE + 500_000])
def test_206_with_another_total_is_refused(broken: Order, size: int) -> None:
    """A shrunk or grown object under the same ETag is found out by the total."""
    later(broken, actions.ResizeObject(size, keep_etag=True))
    broken.fetch()
    assert asked(broken) == [None, f"bytes={CUT}-", None]
    assert broken.read(NAME) == whole(Resized(FILM, size))


@pytest.mark.parametrize(
    "lie",
    [
        actions.WrongContentRange(start_by=1),
        actions.WrongContentRange(start_by=-65536),
        actions.WrongContentRange(start_by=-65536, move_body=True),
        actions.WrongContentRange(total_by=1),
    ],
)
def test_206_with_a_wrong_content_range_is_refused(broken: Order, lie: actions.Action) -> None:
    """Bytes that the server says belong elsewhere are not appended."""
    later(broken, lie, times=1)
    broken.fetch()
    assert asked(broken) == [None, f"bytes={CUT}-", None]
    assert broken.read(NAME) == whole(FILM)


@pytest.mark.parametrize("claim", ["bytes 5-9/{}", "bytes {}-9/10", "bytes */{}"])
def test_a_number_longer_than_any_file_is_no_number(claim: str) -> None:
    """Python refuses to read more than 4,300 digits; sending them must not end a run."""
    known = ranges.Known('"etag"', "", 10)
    headers = {"Content-Range": claim.format("9" * 5000), "ETag": '"etag"'}
    for status in (206, 416):
        read = ranges.read(status, headers, ranges.ask(5, known), 5, known)
        assert read.do is ranges.Do.ANEW


def test_200_with_a_fitting_content_range_is_appended(broken: Order) -> None:
    """Content-Range decides before the status does."""
    later(broken, actions.RangeWith200())
    fetched = broken.fetch()
    assert broken.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched == SIZE


def test_416_with_another_total_starts_anew(broken: Order) -> None:
    """416 for bytes that should exist means that something is wrong with what is here."""
    later(broken, actions.Unsatisfiable(), times=1)
    broken.fetch()
    assert asked(broken) == [None, f"bytes={CUT}-", None]
    assert broken.read(NAME) == whole(FILM)


def test_a_shrunk_object_starts_anew(broken: Order) -> None:
    """An object that became shorter than what is here is fetched from its beginning."""
    later(broken, actions.ResizeObject(CUT - 1, keep_etag=True))
    broken.fetch()
    assert [visit.status for visit in visits(broken)] == [200, 416, 200]
    assert broken.read(NAME) == whole(FILM)[: CUT - 1]


def test_a_compressed_range_is_refused(broken: Order) -> None:
    """A range of a compressed body is not appended to a plain one."""
    later(broken, actions.Gzip(), times=1)
    broken.fetch()
    assert asked(broken) == [None, f"bytes={CUT}-", None]
    assert broken.read(NAME) == whole(FILM)


def test_a_redirect_to_a_stranger_carries_no_token(ordering: Ordering) -> None:
    """A CDN may pass the client on; the token stays behind."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Redirect("localhost"), times=None)
    order.fetch()
    assert order.read(NAME) == whole(FILM)
    assert order.portal.ledger.credentials_at_cdn == []


def test_silence_ends_and_the_body_is_gone_on_with(ordering: Ordering) -> None:
    """A connection that falls silent counts as broken after the read timeout."""
    order = ordering(COURSE, pace=replace(QUICK, read=0.3))
    order.portal.faults.add(ON, actions.StallBody(CUT))
    order.fetch()
    assert asked(order) == [None, f"bytes={CUT}-"] and order.read(NAME) == whole(FILM)


def test_a_trickle_counts_as_silence(ordering: Ordering) -> None:
    """A server that sends a little now and then does not keep the client for ever.

    On one line: with `slow` as it is, further lines could take part of the film meanwhile.
    """
    order = ordering(COURSE, pace=replace(QUICK, read=0.3, slow=0))
    order.portal.faults.add(ON, actions.Rate(20_000))
    order.fetch()
    assert len(visits(order)) == 2 and order.read(NAME) == whole(FILM)


@pytest.mark.parametrize("fault", [actions.Drop(), actions.CutBody(CUT)], ids=["none", "some"])
def test_a_connection_that_broke_off_is_replaced_at_once(
    ordering: Ordering, fault: actions.Action
) -> None:
    """Whether or not it had brought anything: that says nothing against the next one."""
    order = ordering(COURSE, pace=replace(QUICK, base=60.0, cap=60.0))
    order.portal.faults.add(ON, fault)
    order.fetch()
    first, second = visits(order)
    assert second.started - first.started < 15 and order.read(NAME) == whole(FILM)


def test_many_cuts_cost_no_byte_twice(ordering: Ordering) -> None:
    """As long as each try brings something, there is no limit to their number."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.CutBody(250_000), times=11)
    fetched = order.fetch()
    assert len(visits(order)) == 12
    assert order.read(NAME) == whole(FILM) and fetched.bytes_fetched == SIZE


def test_tries_without_progress_are_bounded(ordering: Ordering) -> None:
    """A file that never comes ends in an error that names it, after twice the bounded tries."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Drop(), times=None)
    with pytest.raises(Temporary, match=r"1 of 1 files could not be fetched: .*Film\.mp4: "):
        order.fetch()
    assert len(visits(order)) == 2 * QUICK.tries
    assert order.files() == []


def test_beginnings_anew_are_bounded(ordering: Ordering) -> None:
    """A server without ranges that always breaks off does not keep the client for ever."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.IgnoreRange(), times=None)
    order.portal.faults.add(ON, actions.CutBody(CUT), times=None)
    with pytest.raises(Temporary, match="too often"):
        order.fetch()
    assert len(visits(order)) == 2 * (QUICK.restarts + 1) + 1


@pytest.mark.parametrize(("etag", "differs"), [("", True), ('W/"one"', True), ('"one"', False)])
def test_206_of_another_date_is_refused_where_no_etag_is_strong(etag: str, differs: bool) -> None:
    """A server that ignores the condition is found out by the date that the condition named."""
    old, new = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
    known = ranges.Known(etag, old, 1000)
    found = {"Content-Range": "bytes 10-999/1000", "Last-Modified": new}
    found |= {"ETag": etag} if etag else {}
    reply = ranges.read(206, found, ranges.ask(10, known), 10, known)
    assert reply.do is (ranges.Do.ANEW if differs else ranges.Do.REST)
    same = ranges.read(206, {**found, "Last-Modified": old}, ranges.ask(10, known), 10, known)
    assert same.do is ranges.Do.REST
