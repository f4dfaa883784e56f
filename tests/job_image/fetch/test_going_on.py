"""One bad item does not stop the others; a bad network or platform stops all; the log tells."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import Stopped, Temporary
from contract.log import Log, Redactor, set_up
from job_image.progress import Progress
from job_image.sources.crew import Crew
from job_image.sources.pace import Pace, asked_wait, backoff
from job_image.sources.part import Part
from job_image.sources.plan import File
from job_image.sources.platform import fetch
from job_image.sources.ranges import Known
from job_image.sources.tally import Tally
from job_image.sources.width import Width
from job_image.stop import Stop
from playground.content import Synthetic
from playground.portal import actions
from playground.portal.courses import Chapter, Course, Video
from tests.job_image.fetch.film import COURSE, CUT, FILM, NAME, ON, whole
from tests.job_image.fetch.order import QUICK, Order

Ordering = Callable[..., Order]


def many(count: int) -> Course:
    """A course of so many small films."""
    items = tuple(
        Video(f"Film {n}", {720: Synthetic(f"film {n}", 9000)}) for n in range(1, count + 1)
    )
    return Course("many", chapters=(Chapter("All", items),))


def test_the_others_are_fetched_and_the_bad_one_is_named(ordering: Ordering) -> None:
    """A film that never comes costs its own tries, twice, and nobody else's."""
    order = ordering(many(6))
    order.portal.faults.add("cdn:many/002/720.mp4", actions.Drop(), times=None)
    with pytest.raises(Temporary) as caught:
        order.fetch()
    summary = caught.value.summary
    assert summary.startswith("1 of 6 files could not be fetched: many/01 - All/002 Film 2.mp4: ")
    assert len(order.files()) == 5
    assert order.portal.ledger.of("cdn:many/002/720.mp4").requests == 2 * QUICK.tries
    order.portal.faults.clear()
    order.portal.ledger.reset()
    assert order.fetch().files == len(order.files()) == 6
    assert len(order.portal.ledger.visits("cdn:")) == 1


def test_a_bad_item_gets_a_second_chance_at_the_end(ordering: Ordering) -> None:
    """What failed is tried once more when all others are done, within the same run."""
    order = ordering(many(6))
    order.portal.faults.add("cdn:many/001/720.mp4", actions.Drop(), times=QUICK.tries)
    order.fetch()
    targets = [visit.target for visit in order.portal.ledger.visits("cdn:")]
    assert targets[-1] == "cdn:many/001/720.mp4" and len(order.files()) == 6
    assert "Trying 1 failed files once more." in order.log


def test_a_dead_cdn_does_not_cost_every_file_its_tries(ordering: Ordering) -> None:
    """When nothing works any more, the run ends early instead of trying hundreds of files."""
    order = ordering(many(60), pace=replace(QUICK, tries=2))
    order.portal.faults.add("cdn:*", actions.Drop(), times=None)
    with pytest.raises(Temporary):
        order.fetch()
    assert order.portal.ledger.total("cdn:").requests < 60


def test_files_come_side_by_side_as_many_as_set(ordering: Ordering) -> None:
    """DOWNLOAD_CONCURRENCY files at once, one connection each."""
    order = ordering(many(12), environ={"DOWNLOAD_CONCURRENCY": "3"})
    order.portal.faults.add("cdn:*", actions.Delay(0.05), times=None)
    order.fetch()
    assert order.portal.ledger.meters["cdn"].peak == 3


def test_a_429_halves_the_crew(ordering: Ordering) -> None:
    """After the platform asked for less, fewer files are fetched at once."""
    order = ordering(many(20))
    order.portal.faults.add("cdn:many/001/720.mp4", actions.Status(429, retry_after=0))
    order.portal.faults.add("cdn:*", actions.Delay(0.05), times=None)
    order.fetch()
    visits = order.portal.ledger.visits("cdn:")[8:]
    open_at_once = [
        sum(one.started <= each.started < one.started + (one.seconds or 0) for one in visits)
        for each in visits
    ]
    assert max(open_at_once) == 2


def test_connections_are_used_again(ordering: Ordering) -> None:
    """A small file costs no new connection."""
    order = ordering(many(40))
    order.fetch()
    assert order.portal.ledger.meters["cdn"].total <= 4
    assert order.portal.ledger.meters["api"].total <= 2


def test_a_stop_before_the_start_makes_no_request(ordering: Ordering) -> None:
    """Who is told to stop before it began does not begin."""
    order = ordering(many(2))
    order.stop.request()
    with pytest.raises(Stopped):
        order.fetch()
    assert order.portal.ledger.visits() == []


def test_a_crash_in_a_thread_is_a_crash_of_the_run() -> None:
    """What is no failure of the network is not tried again and not hidden."""

    def work(job: int, stop: Stop) -> None:
        if job == 3:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        Crew(Width(2, 2), work).run(range(10), Stop(), lambda: None, lambda: None)


def test_a_stopped_crew_lets_its_threads_put_away_their_work() -> None:
    """Threads see the stop, finish within the grace, and `Stopped` is raised after that."""
    begun, put_away = threading.Event(), []

    def work(job: int, stop: Stop) -> None:
        begun.set()
        try:
            stop.wait(60)
        finally:
            put_away.append(job)

    stop = Stop()
    threading.Thread(target=lambda: begun.wait(10) and stop.request(), daemon=True).start()
    with pytest.raises(Stopped):
        Crew(Width(1, 1), work).run([7], stop, lambda: None, lambda: None)
    assert put_away == [7]


class Updates:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, str]] = []

    def publish(self, fields: Mapping[str, str]) -> None:
        self.seen.append(fields)


def test_progress_counts_bytes_once_and_never_runs_backwards(ordering: Ordering) -> None:
    """Cuts, restarts and a second run add up to the course, no more."""
    order = ordering(many(5))
    order.portal.faults.add("cdn:many/003/720.mp4", actions.IgnoreRange(), times=None)
    order.portal.faults.add("cdn:many/003/720.mp4", actions.CutBody(5000))
    sink = Updates()
    context = replace(order.context(), progress=Progress([sink]))
    fetch(context, pace=QUICK)
    context.progress.say("done")
    assert sink.seen[-1]["bytes"] == sink.seen[-1]["total_bytes"] == str(5 * 9000)
    assert sink.seen[-1]["items_done"] == sink.seen[-1]["items_total"] == "5"
    assert sink.seen[-1]["percent"] == "70.0"
    percents = [float(one["percent"]) for one in sink.seen]
    assert percents == sorted(percents)


def test_the_log_has_a_line_now_and_then(ordering: Ordering) -> None:
    """One line per five percent at most once a second: no bars, no floods."""
    order = ordering(many(3))
    order.portal.faults.add("cdn:*", actions.Rate(5000), times=None)
    order.fetch()
    lines = re.findall(r"\[SANDBOX\] \d of 3 files, .* of 26\.4 KiB \(\d+ %\), .*/s\.", order.log)
    assert 1 <= len(lines) <= 4, order.log


def test_a_course_of_unknown_size_counts_files() -> None:
    """Without sizes the progress goes by files, and totals appear once they are known."""
    sink = Updates()
    set_up("text", Redactor())
    tally = Tally(Progress([sink]), Log.for_task(1))
    files = tuple(File(key, "video", key, "1", None) for key in "ab")
    tally.begin(files)
    assert tally.total() is None and sink.seen[-1]["total_bytes"] == ""
    tally.learn("a", 100)
    assert tally.total() is None
    tally.learn("b", 50)
    assert tally.total() == 150


def test_a_thread_that_was_left_behind_touches_nothing(ordering: Ordering) -> None:
    """An answer that comes after its run has ended does not disturb the next run's file."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Delay(60))
    order.portal.faults.add(ON, actions.StallBody(CUT), skip=1)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(order.fetch)
        order.portal.ledger.wait(lambda ledger: ledger.of(ON).running == 1)
        order.stop.request()
        with pytest.raises(Stopped):
            first.result(20)
        order.stop = Stop()
        second = pool.submit(order.fetch)
        order.portal.ledger.wait(lambda ledger: ledger.of(ON).stalled == 1)
        order.portal.release()
        second.result(20)
    assert order.read(NAME) == whole(FILM)


def test_an_open_part_is_locked(tmp_path: Path) -> None:
    """Two writers never share an unfinished file."""
    first, second = Part(tmp_path, "key"), Part(tmp_path, "key")
    first.begin(Known(total=5))
    with pytest.raises(Temporary, match="refused"):
        second.begin(Known(total=5))
    second.close()
    first.append(b"hello")
    first.become(tmp_path / "done")
    assert (tmp_path / "done").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("Thu, 01 Jan 1970", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_number_or_date(text: str, seconds: float | None) -> None:
    """Both forms of Retry-After, and nothing from anything else."""
    assert asked_wait({"Retry-After": text}, now=60.0) == seconds


def test_waits_double_up_to_their_cap_and_differ() -> None:
    """Exponential, bounded, spread over the upper half."""
    pace = Pace(base=1.0, cap=30.0)
    assert [backoff(pace, n, 1.0) for n in (1, 2, 3, 4, 5, 6, 999)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff(pace, 3, 0.0) == 2.0


def test_a_slow_file_does_not_hold_back_the_stop(ordering: Ordering) -> None:
    """A stop during a transfer ends it at the next piece and keeps what came."""
    order = ordering(Course("c", items=(Video("Film", {720: Synthetic("f", 50_000_000)}),)))
    order.portal.faults.add("cdn:*", actions.Rate(10_000_000))
    threading.Thread(
        target=lambda: (
            order.portal.ledger.wait(lambda ledger: ledger.total("cdn:").sent > 5_000_000),
            order.stop.request(),
        ),
        daemon=True,
    ).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        order.fetch()
    assert time.monotonic() - began < 4
    (part,) = (order.root / ".state/parts").glob("*.part")
    assert part.stat().st_size > 1_000_000
