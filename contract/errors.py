"""The tree of errors. The type says what to do; there are no flags.

    CourseRunnerError
    ├── Permanent                 trying again cannot help until somebody acts
    │   ├── BadMessage       64   a queue message that is no order; keeps its bytes
    │   ├── BadSettings      64   every fault in the settings at once
    │   ├── Misconfigured    64   a setting turned out wrong in use (table, remote, address)
    │   ├── AuthExpired      65   the platform refused the access token
    │   ├── NotEntitled      66   the account may not have this course, or it does not exist
    │   ├── BlockedByPlatform 67  the platform blocks automated access
    │   └── VolumeFull       73   no space left on the volume
    ├── Retryable                 trying again later may help; `retry_after` seconds if known
    │   ├── Temporary        75   network, 5xx, a remote that is away
    │   └── NotDelivered     76   everything is done but the webhook was not accepted
    └── Stopped             143   told to stop with work unfinished; nobody's fault

Every error says what, where and what to do: `str(error)` is the what and where, `advice` the cure.
Foreign errors are translated into these at the one door of their library, `from exc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from contract.outcome import CATEGORIES, ExitCode, Outcome


class CourseRunnerError(Exception):
    """Base of all errors that the two programs raise on purpose."""

    code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, summary: str, *, advice: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.advice = advice
        self.told = False
        """Whether the row and the webhook already know; set by whoever told them."""
        self.step = ""
        """The step that failed; set by whoever ran it."""

    def outcome(self) -> Outcome:
        """Return the last words of a run that ends with this error."""
        return Outcome(
            category=CATEGORIES[self.code],
            summary=self.summary,
            advice=self.advice,
            exit=int(self.code),
            step=self.step,
            told=self.told,
        )


class Permanent(CourseRunnerError):
    """Trying again cannot help until somebody acts."""

    code = ExitCode.BAD_INPUT


class BadMessage(Permanent):
    """A queue message that is no order. `raw` holds its bytes as they came."""

    def __init__(self, summary: str, raw: bytes, *, advice: str = "") -> None:
        super().__init__(summary, advice=advice)
        self.raw = raw


class BadSettings(Permanent):
    """All faults found in the settings, one sentence each, in `faults`."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("The settings have faults: " + " ".join(faults))
        self.faults = tuple(faults)


class Misconfigured(Permanent):
    """A setting that reads well and is wrong in use: a table, a remote, an address."""


class AuthExpired(Permanent):
    """The platform refused the account's access token."""

    code = ExitCode.AUTH_EXPIRED


class NotEntitled(Permanent):
    """The account may not have this course, or there is no such course."""

    code = ExitCode.NOT_ENTITLED


class BlockedByPlatform(Permanent):
    """The platform blocks automated access; never worked around."""

    code = ExitCode.BLOCKED


class VolumeFull(Permanent):
    """No space left on the volume."""

    code = ExitCode.VOLUME_FULL


class Retryable(CourseRunnerError):
    """Trying again later may help. `retry_after`: seconds, None if nobody asked for a wait."""

    code = ExitCode.TEMPORARY

    def __init__(self, summary: str, *, advice: str = "", retry_after: float | None = None) -> None:
        super().__init__(summary, advice=advice)
        self.retry_after = retry_after

    def outcome(self) -> Outcome:
        """Return the last words, with the wait that was asked for."""
        return replace(super().outcome(), retry_after=self.retry_after)


class Temporary(Retryable):
    """Network, 5xx, a database or remote that is away."""


class NotDelivered(Retryable):
    """All steps are done but the webhook was not accepted."""

    code = ExitCode.NOT_DELIVERED


class Stopped(CourseRunnerError):
    """Told to stop (SIGTERM) with work unfinished."""

    code = ExitCode.STOPPED
