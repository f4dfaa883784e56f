"""One file on several lines: who brings which bytes of it, and when one takes over from another.

Goes in: the file's part, and threads that ask for something to do. Comes out: ranges, each brought
by one line, written under one lock, of one object. The file's own thread always finishes it; a
further line takes from the end of the longest range, a few MiB at a time, so that it is soon free
again for what the crew decides; what it cannot bring goes back. A range that has stood still is
taken whole, and its line ended. When the object turns out to be another one, all ranges but the
owner's are over at once: no byte of the old one is written afterwards.
"""

from __future__ import annotations

import threading
import time

from contract.errors import CourseRunnerError
from job_image.sources import spans
from job_image.sources.line import Line
from job_image.sources.part import Part
from job_image.sources.ranges import Known
from job_image.sources.spans import Run
from job_image.stop import Stop

BITE = 32 * 1024 * 1024
"""Bytes of a further line's range, at most."""

TICK = 0.2
"""Seconds between two looks while all that is left is on other lines."""

LONG = 1.0
"""Seconds of a write from which on it has held back the other lines."""

FAILURES = 3
"""Further lines of a file that may fail in a row, without a byte, before no other one is tried."""


class Range:
    """Bytes `at` up to `stop` (None: unknown) that one line is to bring. `Share` changes it."""

    __slots__ = ("at", "known", "line", "moved", "stop")

    def __init__(self, at: int, stop: int | None, known: Known) -> None:
        self.at = at
        self.stop = stop
        self.known = known
        """What its bytes must be of."""
        self.line: Line | None = None
        """Where they come from at the moment."""
        self.moved = 0.0
        """When the last ones came, or were asked for."""

    @property
    def left(self) -> int:
        """Bytes still to come; 0 when nobody knows."""
        return 0 if self.stop is None else max(0, self.stop - self.at)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to bring."""
        return self.stop is not None and self.at >= self.stop


class Share:
    """The ranges of one file under way. Thread-safe. `least`: bytes of a range; 0: one line only.

    `stall`: seconds after which a range counts as standing still; twice as many after each one that
    did, up to `most`, for two lines must not take a slow range from each other for ever.
    """

    def __init__(self, part: Part, least: int = 0, stall: float = 5.0, most: float = 60.0) -> None:
        self.part = part
        self._least = least
        self._stall = stall
        self._most_stall = max(stall, most)
        self._lock = threading.Condition(threading.Lock())
        self._open: list[Range] = []
        self._may_split = False
        self._failures = 0
        self._is_alone = False
        """Whether no further line is ever to help again, whatever else goes well."""
        self._is_awaited = False
        self._error: CourseRunnerError | None = None
        """What the volume said first, to whichever line: the file's own thread must hear of it."""

    def next(self, stop: Stop) -> Range | None:
        """Return what the file's own thread is to bring next; None when the file is whole.

        Wait while other lines bring the rest. Raise what the volume has refused to any of them.
        """
        while True:
            with self._lock:
                self._check()
                if self._is_whole():
                    return None
                if found := self._find(time.monotonic()):
                    return found
                self._is_awaited = True
                self._lock.wait(TICK)
            stop.check()

    def spare(self) -> Range | None:
        """Return what a further line may bring; None when one would not help, or at a bad moment.

        Never before the first byte: until then nothing shows that the answer is what it says.
        Never waits.
        """
        if not self._may_split or not self._lock.acquire(blocking=False):
            return None
        try:
            may = self._may_split and self.part.offset > 0
            return self._find(time.monotonic()) if may else None
        finally:
            self._lock.release()

    @property
    def left(self) -> int:
        """Bytes of the longest range under way, as far as is known."""
        return max((one.left for one in list(self._open)), default=0)

    def watch(self, mine: Range, line: Line | None) -> None:
        """Note the line of a range. One that has been taken away is ended at once."""
        if not self._least:
            return
        with self._lock:
            mine.line, mine.moved = line, time.monotonic()
            if line is not None and mine not in self._open:
                line.abort()

    def write(self, mine: Range, piece: memoryview) -> int:
        """Write what has come for a range; return how much of it was still wanted."""
        with self._lock:
            self._check()
            wanted = piece if mine.stop is None else piece[: max(0, mine.stop - mine.at)]
            if wanted:
                self._put(mine, wanted)
            if self._least:
                mine.moved = time.monotonic()
            return len(wanted)

    def begin(self, mine: Range, known: Known) -> None:
        """Begin the file anew: the owner's range is all of it, and nobody else has any."""
        with self._lock:
            self._be_alone()
            self._revoke(but=mine)
            self.part.begin(known)
            mine.at, mine.stop, mine.known = 0, known.total, known

    def go_on(self, mine: Range, known: Known) -> None:
        """Go on with the object that is there; note what was learned of it."""
        with self._lock:
            self.part.adopt(known)
            mine.known = known
            mine.stop = known.total if mine.stop is None else mine.stop

    def drop(self) -> None:
        """Forget all bytes."""
        with self._lock:
            self._be_alone()
            self._revoke()
            self.part.drop()

    def is_worth(self, total: int | None) -> bool:
        """Whether a file of so many bytes has enough for two lines."""
        return 0 < 2 * self._least <= (total or 0)

    def allow(self, may: bool) -> bool:
        """Say whether further lines may help with what is there now; return what holds."""
        with self._lock:
            self._may_split = may and self._failures < FAILURES and not self._is_alone
            return self._may_split

    def helped(self, mine: Range, *, failed: bool = False, for_good: bool = False) -> None:
        """Give back what a further line has left of its range, and say how it went.

        `for_good`: none is to help with this file again.
        """
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            self._is_alone |= for_good
            self._may_split &= self._failures < FAILURES and not self._is_alone
            self._give_back(mine)

    def leave(self, mine: Range) -> None:
        """Give back what is left of a range."""
        with self._lock:
            self._give_back(mine)

    def close(self) -> None:
        """Let nobody write any more."""
        with self._lock:
            self._may_split = False
            self._revoke()

    def _check(self) -> None:
        if self._error:
            raise self._error

    def _put(self, mine: Range, wanted: memoryview) -> None:
        began = time.monotonic()
        try:
            self.part.put(mine.at, wanted)
        except CourseRunnerError as exc:
            self._error = exc
            raise
        mine.at += len(wanted)
        if (now := time.monotonic()) - began > LONG:
            for one in self._open:  # they stood still because the volume did
                one.moved = now

    def _be_alone(self) -> None:
        """Have one line only, for good when there are bytes: ranges did not bring this file on."""
        self._may_split = False
        self._is_alone |= self.part.here > 0

    def _is_whole(self) -> bool:
        return self.part.offset > 0 and self.part.offset == self.part.known.total

    def _find(self, now: float) -> Range | None:
        """Take what nobody brings, or some of the longest range, or one that stands still."""
        run = self._gap() or self._half() or self._still(now)
        if run is None:
            return None
        found = Range(*run, self.part.known)
        found.moved = now
        self._open.append(found)
        return found

    def _gap(self) -> tuple[int, int | None] | None:
        total = self.part.known.total
        if total is None or not self.part.offset:
            return None if self._open else (self.part.offset, total)
        taken = [(one.at, one.stop or total) for one in self._open]
        free = spans.gaps([*self.part.runs, *taken], total)
        return free[0] if free else None

    def _half(self) -> Run | None:
        """Take the second half of the longest range, and no more than a bite."""
        longest = max(self._open, key=lambda one: one.left, default=None)
        if longest is None or not self._least or longest.left < 2 * self._least:
            return None
        stop = longest.at + longest.left
        longest.stop = max(longest.at + longest.left // 2, stop - BITE)
        return longest.stop, stop

    def _still(self, now: float) -> Run | None:
        for one in self._open:
            if one.line is not None and one.left and now - one.moved >= self._stall:
                run = one.at, one.at + one.left
                self._end(one)
                self._stall = min(self._most_stall, 2 * self._stall)
                return run
        return None

    def _revoke(self, but: Range | None = None) -> None:
        for one in [one for one in self._open if one is not but]:
            self._end(one)

    def _end(self, one: Range) -> None:
        """Take all of a range away, and free the thread that waits for it."""
        one.stop = one.at
        self._open.remove(one)
        if one.line is not None:
            one.line.abort()

    def _give_back(self, mine: Range) -> None:
        if mine not in self._open:
            return
        self._open.remove(mine)
        for one in self._open:
            if one.stop == mine.at and mine.left:
                one.stop = mine.stop
        if self._is_awaited:
            self._lock.notify_all()
