"""Small things over HTTP that are read whole and at once: playlists and keys.

Goes in: a way to the address, which may be signed and may have ended. Comes out: the bytes and the
address that gave them (links are relative to that one), or an error by the same rules as a file's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from contract.errors import Temporary
from job_image.sources import refusals
from job_image.sources.address import host
from job_image.sources.http import OVER, RENEWALS, Means
from job_image.sources.pace import Tries, Unanswered, asked_wait
from job_image.sources.wire import Answer
from job_image.stop import Stop

LIMIT = 16 * 1024 * 1024
"""Bytes of a playlist: 100,000 pieces with long tokens."""

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip"}


@dataclass(frozen=True, slots=True)
class Document:
    """What came, and from where in the end."""

    content: bytes
    url: str


class Documents:
    """Fetches documents by the means of a course. Thread-safe."""

    def __init__(self, means: Means, limit: int = LIMIT) -> None:
        self._means = means
        self._limit = limit

    def get(
        self,
        address: Callable[[], str],
        renew: Callable[[str], object] | None,
        what: str,
        stop: Stop,
    ) -> Document:
        """Return a document. `renew` is told of an address that is refused, if it can be mended."""
        tries, refused = Tries(self._means.pace, stop), 0
        while True:
            stop.check()
            self._means.patience.pause(stop)
            url = address()
            try:
                found = self._try(url, what)
            except Unanswered as exc:
                tries.failed(exc)
                continue
            if isinstance(found, Document):
                return found
            if found in OVER:
                refused += 1
                if renew is None or refused > RENEWALS:
                    raise Temporary(f"{host(url)} answers {found} for {what[0].lower()}{what[1:]}.")
                renew(url)

    def _try(self, url: str, what: str) -> Document | int:
        """Ask once; the status where it is one that something can be done about."""
        with self._means.wire.open(url, _HEADERS) as answer:
            if answer.status == 429:
                self._means.patience.refused(asked_wait(answer.headers, time.time()), answer.host)
                return answer.status
            if answer.status != 200:
                return self._refusal(answer)
            body = answer.body(self._limit + 1)
            if refusals.is_challenge(answer.headers, body[: refusals.LOOK]):
                raise refusals.blocked(answer.host)
            if len(body) > self._limit:
                raise Temporary(f"{what} has more than {self._limit} bytes.")
            self._means.tally.came(len(body), kept=0)
            return Document(body, answer.url)

    def _refusal(self, answer: Answer) -> int:
        body = answer.body(refusals.LOOK)
        if refusals.is_challenge(answer.headers, body):
            raise refusals.blocked(answer.host)
        if answer.status not in OVER:
            raise refusals.of_file(answer.status, answer.headers, answer.host)
        return answer.status
