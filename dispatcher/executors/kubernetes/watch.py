"""List and watch of one kind of resource, for as long as the dispatcher lives.

    LIST in pages -> cache | WATCH from there -> cache | clean end: WATCH on | 410: LIST anew

Goes in: a path, a selector. Comes out: news into the cache. The stream is never trusted: it may be
cut, mute, throttled, expired, or speak in errors, and each of these has its answer here. Events
are never counted and never drive anything by themselves; they only bring the cache up to date.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

from contract.errors import CourseRunnerError, Retryable
from contract.log import Log
from dispatcher.executors import Unavailable
from dispatcher.executors.kubernetes.answers import Expired, refused_stream
from dispatcher.executors.kubernetes.cache import T
from dispatcher.executors.kubernetes.client import Client, Json, Lines
from dispatcher.executors.kubernetes.feed import Feed
from dispatcher.executors.kubernetes.readings import version_of


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of a watch, in seconds."""

    least: float = 1.0
    most: float = 10.0
    """Rest after a first, and after many failures in a row; drawn at random below that. So long may
    a server that is back wait for us: there are two watches, not thousands of them."""
    watch: tuple[float, float] = (240.0, 300.0)
    """How long one watch is asked for, drawn at random so that many do not end at once."""
    silence: float = 100.0
    """A stream without a byte for so long is dead. Bookmarks come about once a minute."""
    relist: float = 1800.0
    """A whole list now and then (30 min), against news that a server has lost."""
    worry: float = 60.0
    """Failing for so long is trouble worth telling."""
    start: float = 10.0
    """A first list that takes longer is reported, and waited for further by who wants to."""


PAGE = 100
"""Objects of one page: about 0.5 MB of Jobs, and ten times that while it is being read. What larger
pages took was not given back to the system afterwards."""


class Watch(Generic[T]):
    """Watches one path in a thread of its own."""

    def __init__(
        self,
        client: Client,
        path: str,
        selector: str,
        feed: Feed[T],
        log: Log,
        pace: Pace | None = None,
    ) -> None:
        self._client = client
        self._path = path
        self._selector = selector
        self._feed = feed
        self._log = log
        self._pace = pace or Pace()
        self._stop = threading.Event()
        self._synced = threading.Event()
        self._lines: Lines | None = None
        self._version = ""
        self._listed = 0.0
        self._contact = time.monotonic()
        self._failures = 0
        self._expired = 0
        self._complaint = ""
        self._said = ""
        name = f"watch {path.rpartition('/')[2]}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def synced(self, seconds: float) -> bool:
        """Wait for the first whole list; false when it did not come within `seconds`."""
        return self._synced.wait(seconds)

    def close(self, seconds: float = 5.0) -> None:
        """End the watch and its thread."""
        self._stop.set()
        lines = self._lines
        if lines is not None:
            lines.close()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def trouble(self) -> str:
        """Return why the view of this kind may be stale, or ""."""
        age = time.monotonic() - self._contact
        patience = self._pace.worry if self._complaint else self._pace.silence + self._pace.worry
        if age <= patience and not self._complaint and not self._synced.is_set():
            return f"The first list of {self._path} is still on its way."
        if self._synced.is_set() and age <= patience:
            return ""
        why = self._complaint or "The API server is silent."
        return f"{self._path} was last seen {age:.0f} s ago. {why}"

    @property
    def complaint(self) -> str:
        """What went wrong last, "" when the last contact went well."""
        return self._complaint

    # --- the loop ---------------------------------------------------------------------------------
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except Expired as exc:
                self._version = ""
                self._failed(exc)
            except CourseRunnerError as exc:
                self._failed(exc)
            except Exception as exc:  # noqa: BLE001 - a thread's edge: it must never end in silence
                self._log.error("The watch of %s met a bug.", self._path, exc_info=True)
                self._version = ""
                self._failed(Unavailable(f"{type(exc).__name__}: {exc}"))

    def _turn(self) -> None:
        """List if need be, then follow one watch to its end."""
        if not self._version or time.monotonic() - self._listed > self._pace.relist:
            self._list()
        began = time.monotonic()
        empty = not self._follow() and time.monotonic() - began < self._pace.least
        if empty and not self._stop.is_set():
            raise Unavailable(f"The watch of {self._path} ends as soon as it begins.")

    def _failed(self, error: CourseRunnerError) -> None:
        """Say a new complaint once, then rest: longer each time, at random, or as asked."""
        self._failures += 1
        asked = error.retry_after if isinstance(error, Retryable) else None
        # Expired versions are everyday life, the more so after an outage, and wait for nothing;
        # only a server that expires them at once is trouble.
        self._expired += isinstance(error, Expired)
        if isinstance(error, Expired) and self._expired == 1:
            return
        self._complain(error)
        most = min(self._pace.most, self._pace.least * 2 ** min(self._failures, 10))
        rest = random.uniform(self._pace.least, most)  # noqa: S311 - spreads load, guards nothing
        self._stop.wait(rest if asked is None else min(asked, self._pace.worry))

    def _complain(self, error: CourseRunnerError) -> None:
        self._complaint = error.summary
        if error.summary != self._said and not self._stop.is_set():
            self._said = error.summary
            words = f"{error.summary} {error.advice}".strip()
            self._log.event("CHECK", "%s Trying again.", words, level=logging.WARNING)

    def _went_well(self) -> None:
        self._contact = time.monotonic()
        self._failures, self._expired, self._complaint, self._said = 0, 0, "", ""

    # --- list -------------------------------------------------------------------------------------
    def _list(self) -> None:
        found: dict[str, tuple[int, T]] = {}
        answer = self._page("")
        version, number = _version(answer, self._path), version_of(answer)
        while True:
            for obj in answer.get("items") or ():
                name, at, value = self._feed.read(obj)
                found[name] = (at, value)
            page = str((answer.get("metadata") or {}).get("continue") or "")
            if not page:
                break
            answer = self._page(page)
        self._feed.listed(found, number)
        self._version, self._listed = version, time.monotonic()
        self._synced.set()

    def _page(self, page: str) -> Json:
        query = {"labelSelector": self._selector, "limit": str(PAGE)}
        if page:
            query["continue"] = page
        answer = self._client.get(self._path, query, tries=1)
        self._contact = time.monotonic()
        return answer

    # --- watch ------------------------------------------------------------------------------------
    def _follow(self) -> bool:
        """Follow one watch to its clean end; false when it brought nothing."""
        length = random.uniform(*self._pace.watch)  # noqa: S311 - spreads load, guards nothing
        query = {
            "labelSelector": self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, int(length))),
        }
        lines = self._client.lines(self._path, query, self._pace.silence)
        self._lines = lines
        if self._stop.is_set():  # asked to close while the stream was being opened
            lines.close()
        self._contact, self._complaint = time.monotonic(), ""
        brought = False
        for line in lines:
            self._take(line)
            self._went_well()
            brought = True
        return brought

    def _take(self, line: bytes) -> None:
        event = _event(line, self._path)
        obj = event["object"]
        if event["type"] == "ERROR":
            raise refused_stream(obj, f"the watch of {self._path}")
        version = _version(obj, self._path)
        if event["type"] in ("ADDED", "MODIFIED"):
            self._feed.seen(obj)
        elif event["type"] == "DELETED":
            self._feed.gone(obj)
        self._version = version


def _event(line: bytes, path: str) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as exc:
        raise Unavailable(f"The watch of {path} brought a broken line.") from exc
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise Unavailable(f"The watch of {path} brought something else than an event.")
    return {"type": str(event.get("type")), "object": event["object"]}


def _version(obj: Json, path: str) -> str:
    version = str((obj.get("metadata") or {}).get("resourceVersion") or "")
    if not version:
        raise Unavailable(f"An answer for {path} carries no resource version.")
    return version
