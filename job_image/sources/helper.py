"""A further line for a large file whose own line is slow: one range of it, proven to be of it.

Goes in: a range that the file's `Share` has given to an idle thread. Comes out: its bytes in the
part; whatever could not be had goes back and is the file's own thread's affair. So a helper has no
say: it never begins anew, never fails the file, and is not tried again where servers refuse
ranges. Only what concerns the whole run (a full volume, a guard, a limit) is raised.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.errors import Temporary
from job_image.sources import ranges
from job_image.sources.http import Carrier, Means
from job_image.sources.pace import PROGRESS, Unanswered
from job_image.sources.plan import File
from job_image.sources.ranges import Do
from job_image.sources.share import Range, Share
from job_image.stop import Stop


@dataclass(frozen=True, slots=True, eq=False)
class Help:
    """A job: one range of a file that another thread is fetching."""

    file: File
    share: Share
    range: Range

    @property
    def path(self) -> str:
        """What messages call it."""
        return self.file.path


class Helper:
    """Brings one range. Used by one thread, once."""

    def __init__(self, means: Means, job: Help, stop: Stop) -> None:
        self._share, self._mine = job.share, job.range
        self._carrier = Carrier(means, job.file, job.share, stop)

    def run(self) -> None:
        """Bring what can be had of the range; raise only what concerns the whole run."""
        try:
            while self._attempt():
                if self._mine.is_over:
                    self._share.helped(self._mine)
                    return
        finally:
            self._share.leave(self._mine)

    def _attempt(self) -> bool:
        """Ask once; whether to ask again."""
        try:
            return self._ask()
        except Temporary as exc:
            if isinstance(exc, Unanswered) and self._carrier.came >= PROGRESS:
                return True
            if not self._mine.is_over:  # else it was taken away
                for_good = not isinstance(exc, Unanswered)
                self._share.helped(self._mine, failed=True, for_good=for_good)
            return False

    def _ask(self) -> bool:
        mine, at = self._mine, self._mine.at
        asked = ranges.ask(at, mine.known, mine.stop)
        with self._carrier.ask(asked.headers, mine) as answer:
            if not self._carrier.is_usable(answer):
                return self._goes_on_after(answer.status)
            reply = ranges.read(answer.status, answer.headers, asked, at, mine.known)
            if reply.do is not Do.REST:
                self._share.helped(mine, for_good=True)
                return False
            self._carrier.expect_file(answer)
            answer.decode = False
            self._carrier.take(answer, mine, reply.stop)
            return True

    def _goes_on_after(self, status: int) -> bool:
        """Whether a refusal is a matter of the address, which is a fresh one now."""
        if status == 429:  # less is asked of the server from now on
            self._share.helped(self._mine, for_good=True)
        return status != 429
