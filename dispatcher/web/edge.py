"""The outermost edge of a thread that looks: whatever goes wrong is told, and it looks again.

Goes in: one look at a time. Comes out: its trouble in words for the page, "" when all went well.
What nobody foresaw is a bug, and a thread that dies of it would leave an old picture that passes
for a new one; so it is trouble like any other, with one entry in the log until a look goes well.
"""

from __future__ import annotations

from collections.abc import Callable

from contract.errors import CourseRunnerError
from contract.log import Log


class Edge:
    """Runs the looks of one thread. `what` names what they are at, as a sentence begins."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._log = Log.for_task()
        self._told = False

    def __call__(self, look: Callable[[], None]) -> str:
        """Look once; return what is wrong, or ""."""
        try:
            look()
        except CourseRunnerError as exc:
            return exc.summary
        except OSError as exc:
            return f"{self._what} cannot be looked at: {exc.strerror or exc}."
        except Exception as exc:  # noqa: BLE001 - a thread's edge: it must never end in silence
            self._tell()
            return f"{self._what} cannot be looked at: {type(exc).__name__}; see the page's log."
        self._told = False
        return ""

    def _tell(self) -> None:
        if not self._told:
            self._log.error("%s: the look met a bug; it is repeated.", self._what, exc_info=True)
        self._told = True
