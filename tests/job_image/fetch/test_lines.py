"""One large file on several lines: faster where each line is slow, and never of two objects."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from contract.errors import Stopped
from job_image.sources.part import Part
from job_image.stop import Stop
from playground.portal import actions
from playground.portal.ledger import Visit
from tests.job_image.fetch.film import COURSE, FILM, KEY, NAME, ON, OTHER, SIZE, whole
from tests.job_image.fetch.order import QUICK, Order

Ordering = Callable[..., Order]
EAGER = replace(QUICK, slow=inf, least=100_000)
"""Every line counts as slow from the first byte on."""
SLOW = actions.Rate(3_000_000)


@pytest.fixture
def slow(ordering: Ordering) -> Order:
    """An order whose film comes at 3 MB/s a line, and whose idle threads help at once."""
    order = ordering(COURSE, pace=EAGER)
    order.portal.faults.add(ON, SLOW, times=None)
    return order


def visits(order: Order) -> list[Visit]:
    return order.portal.ledger.visits(ON)


def further(order: Order) -> list[Visit]:
    """The requests after the first."""
    return visits(order)[1:]


def sent(order: Order) -> int:
    return sum(visit.sent for visit in visits(order))


def test_idle_threads_help_with_a_slow_file(slow: Order) -> None:
    """Each asks for bytes of its own, under the validator of the first answer."""
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM)
    assert SIZE <= fetched.bytes_fetched < SIZE + 300_000  # a cut range throws away what had come
    assert len(further(slow)) >= 3
    assert all(visit.status == 206 for visit in further(slow))
    assert {visit.if_range for visit in further(slow)} == {slow.portal.stored(KEY).etag}
    assert list((slow.root / ".state/parts").iterdir()) == []


def test_a_fast_file_comes_on_one_line(ordering: Ordering) -> None:
    """Where one line brings much, no other one is tried, however many threads are idle."""
    order = ordering(COURSE, pace=replace(EAGER, slow=QUICK.slow))
    order.fetch()
    assert [visit.range for visit in visits(order)] == [None]


def test_a_small_file_comes_on_one_line(ordering: Ordering) -> None:
    """What is smaller than two shares is not parted."""
    order = ordering(COURSE, pace=replace(EAGER, least=SIZE // 2 + 1))
    order.portal.faults.add(ON, SLOW, times=None)
    order.fetch()
    assert [visit.range for visit in visits(order)] == [None]


def test_no_more_lines_than_allowed(slow: Order) -> None:
    """The number of files at once is the number of lines at once, to the platform's CDN too."""
    slow.environ["DOWNLOAD_CONCURRENCY"] = "2"
    most = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            most.append(slow.portal.ledger.of(ON).running)

    watcher = threading.Thread(target=look)
    watcher.start()
    slow.fetch()
    over.set()
    watcher.join()
    assert max(most) == 2 and slow.read(NAME) == whole(FILM)


@pytest.mark.parametrize(
    "fault",
    [actions.NoEtag(also_date=True), actions.Chunked(), actions.Gzip()],
    ids=["no validator", "no length", "packed"],
)
def test_what_cannot_be_proven_to_be_one_object_comes_on_one_line(
    slow: Order, fault: actions.Action
) -> None:
    """Without a strong validator and a length no range could be told from another object's."""
    slow.portal.faults.add(ON, fault, times=None)
    slow.fetch()
    assert [visit.range for visit in visits(slow)] == [None]
    assert slow.read(NAME) == whole(FILM)


@pytest.mark.parametrize(
    "lie",
    [
        actions.IgnoreRange(),
        actions.Unsatisfiable(),
        actions.WrongContentRange(start_by=1),
        actions.WrongContentRange(total_by=1),
        actions.Html(),
        actions.Drop(),
        actions.Status(500),
        actions.Expired(),
    ],
    ids=lambda lie: type(lie).__name__,
)
def test_a_server_that_does_ranges_badly_is_asked_for_few(slow: Order, lie: actions.Action) -> None:
    """The file's own line goes on as if nothing had been tried, and no byte comes twice."""
    slow.portal.faults.add(ON, lie, times=None, ranged=True)
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched == SIZE
    assert 2 <= len(visits(slow)) <= 16
    assert [visit.sent for visit in visits(slow) if visit.range is None] == [SIZE]


@pytest.mark.parametrize("ignores", [False, True])
def test_an_object_that_is_replaced_in_the_middle_is_not_mixed(slow: Order, ignores: bool) -> None:
    """Further lines are offered the new object, and refuse it; the old one comes to its end."""
    slow.portal.faults.add(ON, actions.ReplaceObject("other"), skip=1, times=None)
    if ignores:
        slow.portal.faults.add(ON, actions.IgnoreIfRange(), times=None)
    slow.fetch()
    assert slow.read(NAME) == whole(FILM)
    assert len(visits(slow)) >= 2


def test_an_object_that_is_replaced_while_all_lines_are_at_it(slow: Order) -> None:
    """When the file's own line then breaks, all that had come is dropped; the new one is whole."""
    slow.portal.faults.add(ON, actions.CutBody(SIZE // 3), ranged=False)

    def publish() -> None:
        slow.portal.ledger.wait(lambda ledger: ledger.of(ON).running >= 3)
        slow.portal.replace(KEY, OTHER)

    publisher = threading.Thread(target=publish)
    publisher.start()
    slow.fetch()
    publisher.join()
    assert slow.read(NAME) in (whole(FILM), whole(OTHER))


@pytest.mark.parametrize("ranged", [True, False], ids=["a further line", "its own line"])
def test_a_line_that_stands_still_is_taken_over(slow: Order, ranged: bool) -> None:
    """The rest of a silent line's range comes on another one, long before the silence counts."""
    slow.pace = replace(EAGER, read=120.0, stall=0.3)
    slow.portal.faults.add(ON, actions.StallBody(60_000), ranged=ranged)
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched < SIZE + 300_000


def test_a_line_that_never_answers_is_taken_over(slow: Order) -> None:
    """So does that of a line whose answer never begins."""
    slow.pace = replace(EAGER, read=120.0, stall=0.3)
    slow.portal.faults.add(ON, actions.Delay(100), ranged=True)
    slow.fetch()
    assert slow.read(NAME) == whole(FILM)


def test_a_first_line_that_breaks_before_its_first_byte_costs_no_byte(slow: Order) -> None:
    """Its head alone begins nothing: what others could bring meanwhile is not taken for all."""
    slow.portal.faults.add(ON, actions.StallBody(0, seconds=2))
    slow.portal.faults.add(ON, actions.CutBody(0))
    slow.fetch()
    assert slow.read(NAME) == whole(FILM)


def test_a_signature_that_ends_in_the_middle_is_renewed(slow: Order) -> None:
    """A further line that is refused asks for a fresh address and goes on."""
    slow.portal.faults.add(ON, actions.Expired(), ranged=True)
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM) and fetched.bytes_fetched < SIZE + 300_000
    assert slow.portal.ledger.of(f"api:lecture/{COURSE.slug}/001").requests == 1
    assert 206 in slow.portal.ledger.of(ON).statuses


def test_a_limit_of_requests_means_fewer_lines(slow: Order) -> None:
    """429 to a further line: all wait as one, then half as many go on, down to the file's own."""
    slow.portal.faults.add(ON, actions.Status(429, retry_after=0), ranged=True, times=2)
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM) and fetched.bytes_fetched < SIZE + 300_000
    assert slow.portal.ledger.of(ON).statuses[429] <= 2
    assert len(visits(slow)) <= 12


def test_lines_that_break_again_and_again(slow: Order) -> None:
    """Each goes on at its own last byte."""
    slow.portal.faults.add(ON, actions.CutBody(150_000), times=8)
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM) and fetched.bytes_fetched < SIZE + 300_000


def test_the_next_run_goes_on_at_each_gap(slow: Order) -> None:
    """Stopped with several ranges begun, the next run asks for what lies between them, no more."""
    slow.portal.faults.add(ON, actions.StallBody(300_000), times=4)
    slow.pace = replace(EAGER, stall=60.0)
    stopper = threading.Thread(target=_stop_when_stalled, args=(slow,))
    stopper.start()
    with pytest.raises(Stopped):
        slow.fetch()
    stopper.join()
    (part,) = (slow.root / ".state/parts").glob("*.part")
    there = Part(part.parent, part.stem)
    there.load()
    assert there.here == sum(stop - start for start, stop in there.runs) == 4 * 300_000
    slow.stop = Stop()
    slow.portal.ledger.reset()
    fetched = slow.fetch()
    assert slow.read(NAME) == whole(FILM)
    assert fetched.bytes_reused == 1_200_000 and sent(slow) < SIZE - 1_200_000 + 300_000
    starts = [int(re.findall(r"\d+", visit.range or "")[0]) for visit in visits(slow)]
    assert not any(start < at < stop for at in starts for start, stop in there.runs)


def _stop_when_stalled(order: Order) -> None:
    order.portal.ledger.wait(lambda ledger: ledger.of(ON).stalled == 4, timeout=30)
    order.stop.request()


def test_a_further_line_that_is_asked_for_too_much_patience_ends_alone(slow: Order) -> None:
    """The file's own line goes on: no run ends because of what was only tried."""
    slow.portal.faults.add(ON, actions.Status(429, retry_after=3600), ranged=True, times=1)
    slow.fetch()
    assert slow.read(NAME) == whole(FILM)
    assert slow.portal.ledger.of(ON).statuses[429] == 1
