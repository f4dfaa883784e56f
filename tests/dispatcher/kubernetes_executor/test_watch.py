"""List and watch against a server that does the wrong things: in the end the view is level."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contract.log import Log
from dispatcher.executors import Run
from dispatcher.executors.kubernetes import readings
from dispatcher.executors.kubernetes.cache import Cache
from dispatcher.executors.kubernetes.client import Client
from dispatcher.executors.kubernetes.feed import Feed
from dispatcher.executors.kubernetes.watch import Pace, Watch
from tests.dispatcher.kubernetes_executor.api_server import (
    ApiServer,
    Exchange,
    Mute,
    cut,
    cut_in_stream,
    end_at_once,
    error_event,
    page,
    raw_lines,
    refuse,
)

PATH = "/apis/batch/v1/namespaces/tasks/jobs"
QUICK = Pace(least=0.05, most=0.2, watch=(240, 300), silence=20, relist=3600, worry=0.6)
LABELS = {"app": "ours"}


def job(name: str, **annotations: str) -> dict[str, Any]:
    """A Job that the selector finds."""
    return {"metadata": {"name": name, "labels": LABELS, "annotations": annotations}}


class Rig:
    """A watch of the server's Jobs, and what it has brought."""

    def __init__(self, api: ApiServer, folder: Path, pace: Pace = QUICK) -> None:
        self.api = api
        self.cache = Cache()
        self.client = Client(api.kubeconfig(folder), Log.for_task())
        feed: Feed[Run] = Feed(self.cache, self.cache.runs, readings.run)
        self.watch = Watch(self.client, PATH, "app=ours", feed, Log.for_task(), pace)

    def start(self) -> None:
        """Start, and wait for the first list."""
        self.watch.start()
        assert self.watch.synced(10)

    def shows(self, *names: str) -> None:
        """Wait until just these names are shown."""
        self.api.until(
            lambda: sorted(self.cache.holdings()) == sorted(names),
            f"{names} are shown",
        )

    def watching(self, count: int = 1) -> None:
        """Wait until the watch was opened for the `count`th time."""
        self.api.until(lambda: len(self.api.seen("watch")) >= count, f"watch {count} is open")

    def close(self) -> None:
        """End it."""
        self.watch.close()
        self.client.close()


@pytest.fixture
def rig(api: ApiServer, tmp_path: Path) -> Iterator[Rig]:
    """A rig that is not started yet."""
    rig = Rig(api, tmp_path)
    yield rig
    rig.close()


def test_what_is_there_and_what_happens_is_seen(api: ApiServer, rig: Rig) -> None:
    """Objects of before and after, changes and removals are all brought; others' are not."""
    api.put("jobs", job("a"))
    api.put("jobs", {"metadata": {"name": "foreign"}})
    rig.start()
    assert list(rig.cache.holdings()) == ["a"]
    api.put("jobs", job("b"))
    api.put("jobs", {"metadata": {"name": "foreign too"}})
    rig.shows("a", "b")
    api.remove("jobs", "a")
    rig.shows("b")
    attempt = {"course-runner/attempt": "7"}
    api.put("jobs", job("b", **attempt))
    api.until(lambda: rig.cache.holdings()["b"].run.attempt == 7, "the change is seen")  # type: ignore[union-attr]
    assert len(api.seen("watch")) == 1


def test_a_long_list_comes_in_pages(api: ApiServer, rig: Rig) -> None:
    """A list of many is asked for in pages of 100, and all of it is shown."""
    for number in range(241):
        api.put("jobs", job(f"j{number}"))
    rig.start()
    assert len(rig.cache.holdings()) == 241
    asked = api.seen("list")
    assert [request.query["limit"] for request in asked] == ["100"] * 3
    assert ["continue" in request.query for request in asked] == [False, True, True]


def test_a_page_that_has_expired_begins_the_list_anew(api: ApiServer, rig: Rig) -> None:
    """When the server forgets a list under way, nothing half is shown: it begins anew."""
    for number in range(140):
        api.put("jobs", job(f"j{number}"))

    def forget(exchange: Exchange) -> None:
        api.serve(exchange)
        api.compact()

    api.wrong("list", forget)
    rig.start()
    assert len(rig.cache.holdings()) == 140
    assert ["continue" in request.query for request in api.seen("list")] == [
        False,
        True,
        False,
        True,
    ]


def test_a_watch_asks_for_what_it_needs(api: ApiServer, rig: Rig) -> None:
    """It begins where the list ended, wants bookmarks, and ends by itself after minutes."""
    api.put("jobs", job("a"))
    rig.start()
    rig.watching()
    [request] = api.seen("watch")
    assert request.query.pop("resourceVersion") == "101"
    assert 240 <= int(request.query.pop("timeoutSeconds")) <= 300
    assert request.query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "labelSelector": "app=ours",
    }


def test_a_clean_end_goes_on_where_it_was(api: ApiServer, rig: Rig) -> None:
    """After a time-out the next watch begins at the last event; nothing is listed anew."""
    rig.start()
    rig.watching()
    made = api.put("jobs", job("a"))
    rig.shows("a")
    api.end_watches()
    rig.watching(2)
    assert api.seen("watch")[-1].query["resourceVersion"] == made["metadata"]["resourceVersion"]
    api.put("jobs", job("b"))
    rig.shows("a", "b")
    assert len(api.seen("list")) == 1


def test_a_bookmark_moves_the_place_to_go_on(api: ApiServer, rig: Rig) -> None:
    """On a quiet kind the bookmarks keep the version young, so that it never expires."""
    rig.start()
    rig.watching()
    api.bookmark("jobs")
    api.bookmark("jobs")
    api.end_watches()
    rig.watching(2)
    assert api.seen("watch")[-1].query["resourceVersion"] == "102"


@pytest.mark.parametrize(
    "deed",
    [
        cut,
        cut_in_stream,
        end_at_once,
        page(504, "<html>Gateway Time-out</html>"),
        page(200, "<html>Welcome</html>"),
        refuse(500, "InternalError", "etcd is away"),
        refuse(403, "Forbidden", 'User "x" cannot watch resource "jobs"'),
        error_event(500, "InternalError"),
        raw_lines(b"{]"),
        raw_lines(b"[]"),
        raw_lines(b'{"type":"ADDED","object":{"metadata":{}}}'),
    ],
    ids=[
        "cut",
        "cut in stream",
        "ends at once",
        "504 page",
        "200 page",
        "500",
        "403",
        "error event",
        "no JSON",
        "no event",
        "no version",
    ],
)
def test_a_watch_that_fails_goes_on_where_it_was(
    api: ApiServer, rig: Rig, deed: Callable[[Exchange], None]
) -> None:
    """Whatever a watch does wrong, the next ones begin at the same place, after a rest."""
    api.wrong("watch", deed, times=3)
    api.put("jobs", job("a"))
    rig.start()
    rig.watching(3)
    api.put("jobs", job("b"))
    rig.shows("a", "b")
    rig.watching(4)
    versions = {request.query["resourceVersion"] for request in api.seen("watch")[:4]}
    assert versions == {"101"}
    assert len(api.seen("list")) == 1
    times = [request.at for request in api.seen("watch")[:4]]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert all(pause >= QUICK.least for pause in pauses)


@pytest.mark.parametrize(
    "deed",
    [refuse(410, "Expired", "too old resource version"), error_event(410, "Expired")],
    ids=["answer", "event"],
)
def test_an_expired_version_is_listed_anew(
    api: ApiServer, rig: Rig, deed: Callable[[Exchange], None]
) -> None:
    """410 means that news were missed: a new list finds what came and what went."""
    api.put("jobs", job("old"))

    def meanwhile(exchange: Exchange) -> None:
        api.remove("jobs", "old")
        api.put("jobs", job("new"))
        deed(exchange)

    api.wrong("watch", meanwhile)
    rig.start()
    rig.shows("new")
    assert len(api.seen("list")) == 2
    assert rig.watch.trouble() == ""


def test_a_server_that_forgets_at_once_is_not_asked_all_the_time(api: ApiServer, rig: Rig) -> None:
    """One 410 is answered by a list at once; more of them in a row by lists with rests between."""
    api.wrong("watch", refuse(410, "Expired", "too old"), times=4)
    rig.start()
    rig.watching(5)
    times = [request.at for request in api.seen("list")]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert len(pauses) == 4
    assert all(pause >= QUICK.least for pause in pauses[1:])


def test_a_server_that_is_back_and_has_forgotten_is_asked_at_once(
    api: ApiServer, tmp_path: Path
) -> None:
    """A 410 after an outage is no further failure: it is answered by a list without a rest."""
    rig = Rig(api, tmp_path, replace(QUICK, least=60, most=120))
    api.wrong("watch", refuse(429, "TooManyRequests", "later", Retry_After="0"))
    api.wrong("watch", refuse(410, "Expired", "too old"))
    rig.start()
    rig.watching(3)
    assert len(api.seen("list")) == 2
    rig.close()


def test_a_throttled_watch_waits_as_told(api: ApiServer, tmp_path: Path) -> None:
    """Retry-After is heeded, though the usual rest is shorter."""
    api.wrong("watch", refuse(429, "TooManyRequests", "later", Retry_After="1"))
    rig = Rig(api, tmp_path, replace(QUICK, worry=5))
    rig.start()
    rig.watching(2)
    first, second = api.seen("watch")
    assert second.at - first.at >= 1.0
    rig.close()


def test_a_mute_stream_is_left(api: ApiServer, tmp_path: Path) -> None:
    """A half-open connection is noticed by its silence, and what was missed is brought."""
    mute = Mute()
    api.wrong("watch", mute)
    rig = Rig(api, tmp_path, replace(QUICK, silence=0.3))
    rig.start()
    assert mute.begun.wait(10)
    api.put("jobs", job("a"))
    rig.shows("a")
    assert len(api.seen("list")) == 1
    rig.close()
    mute.over.set()


@pytest.mark.parametrize(
    "deed",
    [
        cut,
        page(504, "<html>"),
        page(200, "<html>"),
        refuse(500, "InternalError", "x"),
        refuse(429, "TooManyRequests", "x"),
    ],
    ids=["cut", "504", "page", "500", "429"],
)
def test_the_first_list_is_tried_until_it_comes(
    api: ApiServer, rig: Rig, deed: Callable[[Exchange], None]
) -> None:
    """A server that is not ready yet is asked again, and nothing counts as complete before."""
    api.put("jobs", job("a"))
    api.wrong("list", deed, times=3)
    rig.watch.start()
    assert not rig.watch.synced(0)
    assert rig.watch.synced(10)
    assert list(rig.cache.holdings()) == ["a"]
    assert len(api.seen("list")) == 4


def test_a_whole_list_comes_now_and_then(api: ApiServer, tmp_path: Path) -> None:
    """After the agreed time the next watch is preceded by a list, should news have been lost."""
    rig = Rig(api, tmp_path, replace(QUICK, relist=0.0))
    rig.start()
    rig.watching()
    api.end_watches()
    rig.watching(2)
    assert len(api.seen("list")) == 2
    rig.close()


def test_trouble_is_told_when_it_lasts_and_is_over_when_it_is_over(
    api: ApiServer, rig: Rig
) -> None:
    """Failing for longer than the agreed time shows, with the server's words; then no more."""
    rig.start()
    rig.watching()
    assert rig.watch.trouble() == ""
    api.wrong("watch", refuse(500, "InternalError", "etcd is away"), times=1000)
    api.end_watches()
    api.until(lambda: rig.watch.trouble() != "", "the trouble shows")
    assert "etcd is away" in rig.watch.trouble()
    assert PATH in rig.watch.trouble()
    api.right_again()
    api.until(lambda: rig.watch.trouble() == "", "the trouble is over")


def test_before_the_first_list_there_is_trouble(api: ApiServer, rig: Rig) -> None:
    """A view that is not complete yet is nothing to act on, and says why."""
    api.wrong("list", refuse(403, "Forbidden", "not yours"), times=1000)
    rig.watch.start()
    api.until(lambda: "not yours" in rig.watch.trouble(), "the trouble shows")


def test_a_complaint_is_logged_once(
    api: ApiServer, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """The same failure again and again is one line in the log, with its cure."""
    caplog.set_level(logging.INFO)
    api.wrong("watch", refuse(500, "InternalError", "etcd is away"), times=5)
    rig.start()
    rig.watching(6)
    told = [r.getMessage() for r in caplog.records if "etcd is away" in r.getMessage()]
    assert len(told) == 1
    assert told[0].endswith("Trying again.")


def test_a_strange_object_does_not_stop_the_others(api: ApiServer, rig: Rig) -> None:
    """An object that cannot be read as usual is read as far as it goes."""
    strange = {"metadata": {"name": "x", "labels": LABELS}, "status": None, "spec": {"a": [None]}}
    api.put("jobs", strange)
    rig.start()
    api.put("jobs", job("a"))
    rig.shows("a", "x")
    assert len(api.seen("list")) == 1


def test_closing_ends_the_thread_while_the_stream_is_quiet(api: ApiServer, rig: Rig) -> None:
    """A watch that waits for news is ended at once, and says nothing of it."""
    rig.start()
    rig.watching()
    rig.watch.close(5)
    assert "watch jobs" not in {thread.name for thread in threading.enumerate()}
    assert rig.watch.complaint == ""


def test_what_the_server_sends_is_what_is_compared(api: ApiServer, rig: Rig) -> None:
    """An own write that is ahead of the watch is not undone by the watch's older news."""
    first = api.put("jobs", job("a", **{"course-runner/attempt": "1"}))
    rig.start()
    api.wrong("watch", Mute())
    rig.watching()
    newest = api.put("jobs", job("a", **{"course-runner/attempt": "2"}))
    feed: Feed[Run] = Feed(rig.cache, rig.cache.runs, readings.run)
    feed.seen(json.loads(json.dumps(newest)))
    feed.seen(first)
    run = rig.cache.holdings()["a"].run
    assert run is not None
    assert run.attempt == 2
