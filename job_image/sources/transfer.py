"""Fetching one file over HTTP so that any end of any process at any byte costs next to nothing.

Goes in: where the file is and what an earlier run has left of it. Comes out: the file, whole, in
its part; or an error. The loop is its own because no ready client resumes safely: they append to a
half file whatever the server sends next. Here each answer is read by the rules of `ranges`, an
ended address is renewed on the way, and every kind of failure has a bound of its own: tries without
progress, beginnings anew, renewals in a row, seconds of 429.
"""

from __future__ import annotations

from collections.abc import Callable

from contract.errors import Temporary
from job_image.sources import ranges
from job_image.sources.http import CHUNK, Carrier, Means
from job_image.sources.pace import Tries, Unanswered
from job_image.sources.part import Part
from job_image.sources.plan import File
from job_image.sources.ranges import Do, Known, Reply
from job_image.sources.share import Range, Share
from job_image.sources.wire import Answer
from job_image.stop import Stop


class _Changed(Exception):
    """The object on the server is not the one whose bytes are here."""


class Transfer:
    """Fetches one file. Used by one thread, once.

    `share`: of the part, where further lines may help; `call` is called when they may.
    """

    def __init__(
        self,
        means: Means,
        file: File,
        part: Part,
        stop: Stop,
        share: Share | None = None,
        call: Callable[[], None] = lambda: None,
    ) -> None:
        self._means = means
        self._file = file
        self._part = part
        self._stop = stop
        self._share = share or Share(part)
        self._call = call
        self._carrier = Carrier(means, file, self._share, stop)
        self._tries = Tries(means.pace, stop)
        self._restarts = 0
        self._open_end: int | None = None

    def run(self) -> None:
        """Return when the part holds the whole file; raise what prevents it."""
        try:
            while (mine := self._share.next(self._stop)) is not None:
                if self._attempt(mine):
                    return
        finally:
            self._share.close()
            self._means.space.release(self._file.key)

    def _attempt(self, mine: Range) -> bool:
        """Ask once; whether the file is complete by the server's own word."""
        try:
            return self._ask(mine)
        except _Changed:
            self._start_over()
        except Unanswered as exc:
            is_taken = mine.is_over  # by a line that has not stood still
            self._share.leave(mine)
            if not is_taken:
                self._tries.failed(exc, progress=self._carrier.came)
        finally:
            self._share.leave(mine)
        return False

    def _ask(self, mine: Range) -> bool:
        part = self._part
        at = mine.at
        asked = ranges.ask(at, part.known, mine.stop)
        with self._carrier.ask(asked.headers, mine) as answer:
            if not self._carrier.is_usable(answer):
                return False
            reply = ranges.read(answer.status, answer.headers, asked, at, part.known)
            return self._obey(answer, reply, mine, at - asked.start)

    def _obey(self, answer: Answer, reply: Reply, mine: Range, overlap: int) -> bool:
        if reply.do is Do.ANEW:
            raise _Changed if self._part.offset else self._odd(answer)
        if reply.do is Do.DONE:
            return True
        self._carrier.expect_file(answer)
        if reply.do is Do.WHOLE:
            self._begin(mine, reply.known)
            self._reserve(reply.known.total)
        else:
            self._compare(answer, overlap)
            self._reserve(reply.known.total)
            self._share.go_on(mine, reply.known)
        if self._share.is_worth(reply.known.total):
            self._share_out(answer)
        return self._take(answer, reply, mine)

    def _share_out(self, answer: Answer) -> None:
        if self._share.allow(ranges.may_split(answer.headers, self._part.known)):
            self._call()

    def _begin(self, mine: Range, known: Known) -> None:
        if self._part.offset:
            self._count_restart()
        self._means.tally.came(0, kept=-self._part.here)
        self._share.begin(mine, known)

    def _take(self, answer: Answer, reply: Reply, mine: Range) -> bool:
        """Write the body; whether its end proves that the file is complete."""
        encoded = answer.decode = ranges.is_encoded(answer.headers)
        try:
            self._carrier.take(answer, mine, reply.stop)
        except Unanswered:
            if encoded:  # there is no going on with half of a packed body
                self._forget()
            raise
        if self._part.known.total is not None:
            return self._part.offset == self._part.known.total
        return self._is_end_proven(answer)

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

    def _compare(self, answer: Answer, overlap: int) -> None:
        """Read the bytes that are here already and compare. Raise `_Changed` when they differ."""
        mine = memoryview(self._part.tail(overlap)) if overlap else memoryview(b"")
        while mine:
            theirs = answer.piece(min(len(mine), CHUNK))
            self._means.tally.came(len(theirs), kept=0)
            if not theirs or mine[: len(theirs)] != theirs:
                raise _Changed
            mine = mine[len(theirs) :]

    def _reserve(self, total: int | None) -> None:
        if total is not None:
            self._means.tally.learn(self._file.key, total)
            need = max(0, total - self._part.here)
            self._means.space.reserve(self._file.key, need, self._file.path)

    def _start_over(self) -> None:
        self._count_restart()
        self._forget()

    def _forget(self) -> None:
        self._means.tally.came(0, kept=-self._part.here)
        self._share.drop()

    def _count_restart(self) -> None:
        self._restarts += 1
        if self._restarts > self._means.pace.restarts:
            raise Temporary("The file changed on the server, or had to begin anew, too often.")

    def _odd(self, answer: Answer) -> Unanswered:
        return Unanswered(f"{answer.host} answered {answer.status} in a way that makes no sense.")
