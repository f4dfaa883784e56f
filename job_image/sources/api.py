"""The platform's API as JSON: one document, or all pages of a list, with its bad days translated.

Goes in: a path, parameters and what is asked for in words. Comes out: plain values, or an error of
this product. Pages are never computed: `next` is followed as it is, on the platform's own origin
only, and what came is compared with the count that was promised. A list that makes the server
stumble is asked for again in smaller pages, from its beginning.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from contract.errors import CourseRunnerError, Misconfigured, Temporary
from job_image.sources import address, refusals
from job_image.sources.pace import Pace, Patience, Tries, Unanswered, asked_wait
from job_image.sources.wire import Answer, Wire
from job_image.stop import Stop

ROOT = "/api-2.0"
PAGE_SIZES = (100, 50, 25, 10)
"""Entries per page; 100 is the platform's own limit, the rest is for its bad days."""
BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one document. A page of 100 lectures with long articles stays under 2 MiB."""
TRIES_PER_SIZE = 2

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip"}


class Api:
    """The API, for one account. Thread-safe."""

    def __init__(self, wire: Wire, pace: Pace, patience: Patience) -> None:
        self._wire = wire
        self._pace = pace
        self._patience = patience
        self.base = wire.base

    def get(
        self, path: str, params: Mapping[str, str], what: str, stop: Stop, *, tries: int = 0
    ) -> dict[str, Any]:
        """Return the JSON object at `path`, or at an absolute address. Raise as the map says."""
        url = path if "://" in path else f"{self._wire.base}{ROOT}{path}"
        url += f"?{urlencode(params)}" if params else ""
        count = Tries(self._pace, stop, tries or None)
        while True:
            stop.check()
            self._patience.pause(stop)
            try:
                found = self._try(url, what)
            except Unanswered as exc:
                count.failed(exc)
                continue
            if found is not None:
                return found

    def pages(
        self, path: str, params: Mapping[str, str], what: str, stop: Stop
    ) -> Iterator[list[Any]]:
        """Give the pages of a list as they come (for lists that are left when found)."""
        url, query, seen = path, dict(params), set[str]()
        while url:
            page = self.get(url, query, what, stop)
            yield _results(page, what)
            url, query = self._next(page, seen, what), {}

    def everything(self, path: str, params: Mapping[str, str], what: str, stop: Stop) -> list[Any]:
        """Return all entries of a list, exactly as many as it says it has."""
        for size in PAGE_SIZES[:-1]:  # the server may stumble over large pages
            try:
                return self._counted(path, {**params, "page_size": str(size)}, what, stop)
            except Unanswered as exc:
                if (exc.retry_after or 0) > self._pace.budget:
                    raise  # it has said how long it will be away
        return self._counted(path, {**params, "page_size": str(PAGE_SIZES[-1])}, what, stop)

    def _counted(self, path: str, params: Mapping[str, str], what: str, stop: Stop) -> list[Any]:
        """Read a list; once more if its count does not fit, for it may have changed meanwhile."""
        tries = 0 if params["page_size"] == str(PAGE_SIZES[-1]) else TRIES_PER_SIZE
        for _ in range(2):
            entries, count = self._read(path, params, what, stop, tries)
            if count is None or count == len(entries):
                return entries
        raise Temporary(
            f"{what} has {count} entries, but {len(entries)} came.",
            advice="The list may be changing; it is read again later.",
        )

    def _read(
        self, path: str, params: Mapping[str, str], what: str, stop: Stop, tries: int
    ) -> tuple[list[Any], int | None]:
        url, query, seen, entries = path, dict(params), set[str](), list[Any]()
        count: int | None = None
        while url:
            page = self.get(url, query, what, stop, tries=tries)
            entries += _results(page, what)
            count = page["count"] if isinstance(page.get("count"), int) else None
            url, query = self._next(page, seen, what), {}
        return entries, count

    def _next(self, page: Mapping[str, Any], seen: set[str], what: str) -> str:
        """Return the address of the next page, "" after the last."""
        given = page.get("next")
        if not isinstance(given, str) or not given:
            return ""
        url = address.join(self._wire.base, given)
        if not self._wire.is_home(url):
            raise Misconfigured(
                f"The next page of {what} lies on {address.host(url)}; the token stays here.",
                advice="Set PLATFORM_URL to the platform's own address.",
            )
        if url in seen:
            raise Temporary(f"The pages of {what} never end: one names itself as its next.")
        seen.add(url)
        return url

    def _try(self, url: str, what: str) -> dict[str, Any] | None:
        """Ask once; None after a 429, whose wait is the patience's business."""
        with self._wire.open(url, _HEADERS, stay=True) as answer:
            if answer.status == 429:
                body = answer.body(refusals.LOOK)
                if refusals.is_challenge(answer.headers, body):
                    raise refusals.blocked(answer.host)
                self._patience.refused(asked_wait(answer.headers, time.time()), answer.host)
                return None
            if not 200 <= answer.status < 300:
                raise _refusal(answer, what)
            return _document(answer, what)


def _refusal(answer: Answer, what: str) -> CourseRunnerError:
    body = answer.body(refusals.LOOK)
    return refusals.of_api(answer.status, answer.headers, body, answer.host, what)


def _document(answer: Answer, what: str) -> dict[str, Any]:
    body = answer.body(BODY_LIMIT)
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as exc:
        if refusals.is_challenge(answer.headers, body[: refusals.LOOK]):
            raise refusals.blocked(answer.host) from exc
        raise Unanswered(f"{answer.host} answered for {what} with no JSON.") from exc
    if not isinstance(data, dict):
        raise Unanswered(f"{answer.host} answered for {what} with no JSON object.")
    return data


def _results(page: Mapping[str, Any], what: str) -> list[Any]:
    results = page.get("results")
    if not isinstance(results, list):
        raise Unanswered(f"The answer for {what} holds no list of results.")
    return results
