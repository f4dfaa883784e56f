"""One line's work on one file over HTTP: its requests, what refusals of them mean, what comes.

Goes in: what every transfer of a course shares, a file, and where its bytes go. Comes out: answers
and their pieces, or the error that a refusal means. An ended address is renewed on the way; a line
that brings next to nothing counts as broken. What is asked for, and what follows from an answer,
is decided by `transfer` (the file's own thread) and `helper` (a further line for a large one).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from contract.errors import Temporary, VolumeFull
from job_image.sources import refusals
from job_image.sources.links import Links
from job_image.sources.pace import PROGRESS, Pace, Patience, Unanswered, asked_wait
from job_image.sources.plan import File
from job_image.sources.share import Range, Share
from job_image.sources.space import Space, full
from job_image.sources.tally import Tally
from job_image.sources.wire import Answer, Opened, Wire
from job_image.stop import Stop

CHUNK = 1024 * 1024
"""Bytes read and written at once, at most: what a kill can lose of what had come."""

RENEWALS = 2
"""Fresh addresses tried in a row before a refusal is believed."""

_IDENTITY = {"Accept-Encoding": "identity", "Accept": "*/*"}
OVER = (401, 403, 404, 410)
"""Statuses of a CDN that a fresh address may mend."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every transfer of a course shares."""

    wire: Wire
    links: Links
    pace: Pace
    patience: Patience
    space: Space
    tally: Tally


class Carrier:
    """One line's requests for one file, and the way of its bytes. Used by one thread."""

    def __init__(self, means: Means, file: File, share: Share, stop: Stop) -> None:
        self._means = means
        self._file = file
        self._share = share
        self._stop = stop
        self._url = ""
        self._refused = 0
        self.came = 0
        """Bytes that the request under way has brought."""

    def ask(self, headers: Mapping[str, str], mine: Range) -> Opened:
        """Ask for a range by an address that is good, when requests are welcome."""
        self._stop.check()
        self._means.patience.pause(self._stop)
        self.came = 0
        self._url = self._means.links.get(self._file.key, self._file.lecture, self._stop)
        watch = partial(self._share.watch, mine)
        return self._means.wire.open(self._url, {**_IDENTITY, **headers}, watch=watch)

    def is_usable(self, answer: Answer) -> bool:
        """Whether an answer is none of the refusals, or is one of a range.

        A refusal is dealt with so that the next try may succeed, or raised as what it means.
        """
        if answer.status < 400 or answer.status == 416:
            return True
        self._refuse(answer)
        return False

    def expect_file(self, answer: Answer) -> None:
        """Raise when a web page came where a file was to come, or nothing where a video was."""
        if refusals.is_page(answer.headers) and not self._may_be_page():
            body = answer.body(refusals.LOOK)
            if refusals.is_challenge(answer.headers, body):
                raise refusals.blocked(answer.host)
            raise Unanswered(f"{answer.host} sent a web page instead of the file.")
        if self._file.kind == "video" and answer.headers.get("Content-Length") == "0":
            raise Unanswered(f"{answer.host} sent an empty video.")
        self._refused = 0

    def take(self, answer: Answer, mine: Range, stop: int | None) -> None:
        """Write the body, up to its end or that of the range. `stop`: where it is to end.

        Raise `Unanswered` when it ends before: chunks may end well and yet bring nothing.
        """
        for piece in self._pieces(answer):
            if stop is not None and mine.at + len(piece) > stop:
                self._means.tally.came(len(piece), kept=0)
                raise Unanswered(f"{answer.host} sent more than it had announced.")
            if self._keep(piece, mine) < len(piece) or (mine.is_over and mine.stop != stop):
                return  # the rest of it is for another line
        if stop is not None and mine.at < stop and not mine.is_over:
            raise Unanswered(f"{answer.host} sent less than it had announced.")

    def _keep(self, piece: memoryview, mine: Range) -> int:
        try:
            kept = self._share.write(mine, piece)
        except VolumeFull as exc:
            part = self._share.part
            total = part.known.total
            raise full(self._file.path, total and total - part.here) from exc
        self._means.space.used(self._file.key, kept)
        self._means.tally.came(len(piece), kept=kept)
        return kept

    def _pieces(self, answer: Answer) -> Iterator[memoryview]:
        began, before = time.monotonic(), 0
        while piece := answer.piece(CHUNK):
            self._stop.check()
            self.came += len(piece)
            yield piece
            if time.monotonic() - began >= self._means.pace.read:
                if self.came - before < PROGRESS:
                    raise Unanswered(f"{answer.host} sends too slowly.")
                began, before = time.monotonic(), self.came

    def _may_be_page(self) -> bool:
        return self._file.path.lower().endswith((".html", ".htm", ".xhtml"))

    def _refuse(self, answer: Answer) -> None:
        if answer.status == 429:
            wait = asked_wait(answer.headers, time.time())
            self._means.patience.refused(wait, answer.host)
            return
        body = answer.body(refusals.LOOK)
        if refusals.is_challenge(answer.headers, body):
            raise refusals.blocked(answer.host)
        if answer.status not in OVER:
            error = refusals.of_file(answer.status, answer.headers, answer.host)
            self._means.patience.rest(error.retry_after)
            raise error
        self._refused += 1
        if self._refused > RENEWALS:
            raise Temporary(f"{answer.host} answers {answer.status} even to a fresh address.")
        self._means.links.renew(self._file.key, self._file.lecture, self._url, self._stop)
