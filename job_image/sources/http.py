"""Fetching one file over HTTP so that any end of any process at any byte costs next to nothing.

Goes in: where the file is and what an earlier run has left of it. Comes out: the file, whole, in
its part; or an error. The loop is its own because no ready client resumes safely: they append to a
half file whatever the server sends next. Here each answer is read by the rules of `ranges`, an
ended address is renewed on the way, and every kind of failure has a bound of its own: tries without
progress, beginnings anew, renewals in a row, seconds of 429.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from contract.errors import Temporary, VolumeFull
from job_image.sources import ranges, refusals
from job_image.sources.links import Links
from job_image.sources.pace import PROGRESS, Pace, Patience, Tries, Unanswered, asked_wait
from job_image.sources.part import Part
from job_image.sources.plan import File
from job_image.sources.ranges import Do, Known, Reply
from job_image.sources.space import Space, full
from job_image.sources.tally import Tally
from job_image.sources.wire import Answer, Wire
from job_image.stop import Stop

CHUNK = 1024 * 1024
"""Bytes read and written at once, at most: what a kill can lose of what had come."""

RENEWALS = 2
"""Fresh addresses tried in a row before a refusal is believed."""

_IDENTITY = {"Accept-Encoding": "identity", "Accept": "*/*"}
OVER = (401, 403, 404, 410)
"""Statuses of a CDN that a fresh address may mend."""


class _Changed(Exception):
    """The object on the server is not the one whose bytes are here."""


@dataclass(frozen=True, slots=True)
class Means:
    """What every transfer of a course shares."""

    wire: Wire
    links: Links
    pace: Pace
    patience: Patience
    space: Space
    tally: Tally


class Transfer:
    """Fetches one file. Used by one thread, once."""

    def __init__(self, means: Means, file: File, part: Part, stop: Stop) -> None:
        self._means = means
        self._file = file
        self._part = part
        self._stop = stop
        self._tries = Tries(means.pace, stop)
        self._url = ""
        self._refused = 0
        self._restarts = 0
        self._came = 0
        self._open_end: int | None = None

    def run(self) -> None:
        """Return when the part holds the whole file; raise what prevents it."""
        try:
            while not self._is_complete():
                if self._attempt():
                    return
        finally:
            self._means.space.release(self._file.key)

    def _is_complete(self) -> bool:
        return self._part.offset > 0 and self._part.offset == self._part.known.total

    def _attempt(self) -> bool:
        """Ask once; whether the file is complete by the server's own word."""
        self._stop.check()
        self._means.patience.pause(self._stop)
        self._came = 0
        try:
            return self._ask()
        except _Changed:
            self._start_over()
        except Unanswered as exc:
            self._tries.failed(exc, progress=self._came)
        return False

    def _ask(self) -> bool:
        part = self._part
        self._url = self._means.links.get(self._file.key, self._file.lecture, self._stop)
        asked = ranges.ask(part.offset, part.known)
        with self._means.wire.open(self._url, {**_IDENTITY, **asked.headers}) as answer:
            self._stop.check()
            if answer.status >= 400 and answer.status != 416:
                self._refuse(answer)
                return False
            reply = ranges.read(answer.status, answer.headers, asked, part.offset, part.known)
            return self._obey(answer, reply, part.offset - asked.start)

    def _obey(self, answer: Answer, reply: Reply, overlap: int) -> bool:
        if reply.do is Do.ANEW:
            raise _Changed if self._part.offset else self._odd(answer)
        if reply.do is Do.DONE:
            return True
        self._expect_file(answer)
        self._refused = 0
        if reply.do is Do.WHOLE:
            self._begin(reply.known)
            self._reserve(reply.known.total, 0)
        else:
            self._compare(answer, overlap)
            self._reserve(reply.known.total, self._part.offset)
            self._part.adopt(reply.known)
        return self._take(answer, reply)

    def _begin(self, known: Known) -> None:
        if self._part.offset:
            self._count_restart()
        self._means.tally.came(0, kept=-self._part.offset)
        self._part.begin(known)

    def _take(self, answer: Answer, reply: Reply) -> bool:
        """Write the body; whether its end proves that the file is complete."""
        encoded = answer.decode = ranges.is_encoded(answer.headers)
        with self._whole_or_nothing(encoded):
            for piece in self._pieces(answer):
                if reply.stop is not None and self._part.offset + len(piece) > reply.stop:
                    raise Unanswered(f"{answer.host} sent more than it had announced.")
                self._keep(piece)
        if self._part.known.total is not None:
            return self._part.offset == self._part.known.total
        return self._is_end_proven(answer)

    def _keep(self, piece: memoryview) -> None:
        try:
            self._part.append(piece)
        except VolumeFull as exc:
            total = self._part.known.total
            raise full(self._file.path, total and total - self._part.offset) from exc
        self._means.space.used(self._file.key, len(piece))
        self._means.tally.came(0, kept=len(piece))

    def _pieces(self, answer: Answer) -> Iterator[memoryview]:
        began, before = time.monotonic(), 0
        while piece := answer.piece(CHUNK):
            self._stop.check()
            self._came += len(piece)
            self._means.tally.came(len(piece), kept=0)
            yield piece
            if time.monotonic() - began >= self._means.pace.read:
                if self._came - before < PROGRESS:
                    raise Unanswered(f"{answer.host} sends too slowly.")
                began, before = time.monotonic(), self._came

    def _is_end_proven(self, answer: Answer) -> bool:
        """Whether the end of a body of unknown length is its real end.

        Chunks prove it. An end of the connection does not: the next request, for what follows, must
        say that nothing does; or the whole comes again and ends at the same byte.
        """
        if not ranges.is_open_ended(answer.headers):
            return True
        if self._open_end == self._part.offset:
            return True
        self._open_end = self._part.offset
        return False

    @contextmanager
    def _whole_or_nothing(self, encoded: bool) -> Iterator[None]:
        """Drop the bytes of a compressed body that breaks off: there is no going on with it."""
        try:
            yield
        except Unanswered:
            if encoded:
                self._forget()
            raise

    def _compare(self, answer: Answer, overlap: int) -> None:
        """Read the bytes that are here already and compare. Raise `_Changed` when they differ."""
        mine = memoryview(self._part.tail(overlap)) if overlap else memoryview(b"")
        while mine:
            theirs = answer.piece(min(len(mine), CHUNK))
            self._means.tally.came(len(theirs), kept=0)
            if not theirs or mine[: len(theirs)] != theirs:
                raise _Changed
            mine = mine[len(theirs) :]

    def _reserve(self, total: int | None, there: int) -> None:
        if total is not None:
            self._means.tally.learn(self._file.key, total)
            self._means.space.reserve(self._file.key, max(0, total - there), self._file.path)

    def _expect_file(self, answer: Answer) -> None:
        """Raise when a web page came where a file was to come, or nothing where a video was."""
        if refusals.is_page(answer.headers) and not self._may_be_page():
            body = answer.body(refusals.LOOK)
            if refusals.is_challenge(answer.headers, body):
                raise refusals.blocked(answer.host)
            raise Unanswered(f"{answer.host} sent a web page instead of the file.")
        if self._file.kind == "video" and answer.headers.get("Content-Length") == "0":
            raise Unanswered(f"{answer.host} sent an empty video.")

    def _may_be_page(self) -> bool:
        return self._file.path.lower().endswith((".html", ".htm", ".xhtml"))

    def _refuse(self, answer: Answer) -> None:
        """Deal with a refusal so that the next try may succeed, or raise what it means."""
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

    def _start_over(self) -> None:
        self._count_restart()
        self._forget()

    def _forget(self) -> None:
        self._means.tally.came(0, kept=-self._part.offset)
        self._part.drop()

    def _count_restart(self) -> None:
        self._restarts += 1
        if self._restarts > self._means.pace.restarts:
            raise Temporary("The file changed on the server, or had to begin anew, too often.")

    def _odd(self, answer: Answer) -> Unanswered:
        return Unanswered(f"{answer.host} answered {answer.status} in a way that makes no sense.")
