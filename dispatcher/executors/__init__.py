"""What an executor is: the one place that knows how a task runs. It knows no policy.

Two of them pass one conformance suite: `executors.kubernetes` (Job + claim) and `executors.local`
(child process + folder). Everything that decides sees only `Holding`s and calls the few verbs of
`Executor`.

Names are those of `contract.names.object_name`, on both executors. A task's volume carries its
record as marks (`contract.names`: MESSAGE, ATTEMPT, OUTCOME, RETRY_AT, EXPIRES_AT, RELEASED,
PINNED, FAILURES, ACCEPTED, GROW_TO): Kubernetes keeps them as annotations, one machine in a file.
There is at most one run of a task at any time; an ended run stays readable until it is removed.

Every verb is idempotent: asking for what is already so is success, because after a crash
everything is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from contract.errors import Permanent, Retryable
from contract.handoff import Assignment
from contract.outcome import Outcome
from contract.task import Task


class Unavailable(Retryable):
    """The executor's backing service (API server, disk) cannot be asked right now."""


class Busy(Retryable):
    """What is asked for must wait: the old volume or run of that name is still going away."""


class Outdated(Busy):
    """What was decided by is no longer so: another dispatcher was quicker. Look again, no more."""


class QuotaExceeded(Retryable):
    """A quota refuses another object for now: back-pressure, not a failure of the task."""


class Refused(Permanent):
    """The executor will never accept this (admission, invalid value); `summary` has its words."""


class Phase(StrEnum):
    """Where a run stands. ACTIVE is everything that has not ended, also a pod still pending."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the job's program, as seen from outside.

    `id` differs between two runs of one task (a Job's uid); `attempt` is the run's number from
    its assignment; `closing` tells a `report` run; times are Unix seconds; `deleting`: its
    removal has been asked for and is not complete; `working`: a container of it was at work when
    last seen, which only an executor that can be kept waiting tells.
    """

    id: str
    attempt: int
    phase: Phase
    closing: bool = False
    started: float | None = None
    ended: float | None = None
    deleting: bool = False
    working: bool = False


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an active run has not begun to work.

    `category`: a word for the verdict on a run that waits too long, "" for what is worth any wait;
    `summary`: one sentence for people; `since`: Unix seconds, None when nothing tells.
    """

    category: str
    summary: str
    advice: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an ended run ended.

    `exit` is None when nothing saw it; `words` is what the program left as its last words;
    `reason` is the executor's word for a death from outside: "" or one of OOMKilled, Evicted,
    DeadlineExceeded, Deleted, NodeLost, BackoffLimitExceeded, Killed, or the executor's own;
    `disrupted`: the run was taken away for reasons that are not its own (a node drained or lost,
    a more important pod), as the executor's surroundings say; `said`: their sentence about it.
    """

    exit: int | None = None
    words: Outcome | None = None
    reason: str = ""
    disrupted: bool = False
    said: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A task's volume and the record on it.

    `id` is unique for ever; `created` in Unix seconds; `version` changes when the marks do, and
    perhaps more often: it names what was seen, for `remove_volume` and `mark`.
    """

    id: str
    created: float
    marks: Mapping[str, str]
    deleting: bool = False
    size: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the executor holds under one name: the volume, the run, or both."""

    name: str
    volume: Volume | None = None
    run: Run | None = None


class Executor(Protocol):
    """The verbs. Each may raise `Unavailable`; `Permanent` and other `Retryable` as said."""

    def start(self) -> None:
        """Begin to watch; return when `holdings` is complete for the first time."""

    def close(self) -> None:
        """Stop watching and let go of everything; runs go on."""

    def trouble(self) -> str:
        """Return why the view may be stale (for readiness), or "" when all is well."""

    def holdings(self) -> Mapping[str, Holding]:
        """Return all holdings by name, as last seen; own writes are always in it."""

    def wait(self, seconds: float) -> bool:
        """Wait until something changed since the last call, at most `seconds`; true if so."""

    def ensure_volume(self, task: Task) -> bool:
        """Make the task's volume with MESSAGE and ATTEMPT=1; false when it is already there.

        Raise `Busy` when the old one is going away, `Refused` when the name is another task's or
        the request is inadmissible, `QuotaExceeded` on a quota.
        """

    def start_run(self, assignment: Assignment) -> bool:
        """Start a run on the task's existing volume; false when one of this attempt is there.

        An ended run of an earlier attempt is replaced, a later one never. Raise `Busy` while the
        old one is still going away or active, `Refused` and `QuotaExceeded` as above.
        """

    def ending(self, name: str, run: Run) -> Ending:
        """Return how an ended run ended, as far as anything still knows."""

    def mark(self, name: str, marks: Mapping[str, str | None], version: str | None = None) -> None:
        """Merge marks into the volume's record (None removes); gone volumes are ignored.

        Raise `Outdated`, and mark nothing, when the volume is no longer of `version`.
        """

    def remove_run(self, name: str, run_id: str) -> None:
        """Begin to remove that very run, ended or not; an active one is told to stop (SIGTERM)."""

    def remove_volume(self, name: str, volume_id: str, version: str | None = None) -> None:
        """Remove that very volume for good. Raise `Busy` while a run or a writer still has it.

        Raise `Busy` also when it is no longer of `version`: somebody may have revived or pinned
        it since it was looked at. None removes it whatever its marks say now.
        """

    def obstacle(self, name: str) -> Obstacle | None:
        """Return what keeps an active run from its work; None when nothing is known to."""

    def grow(self, name: str, size: int) -> bool:
        """Ask for a volume of `size` bytes; false when this volume cannot be made larger."""

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of the task's newest run, without line breaks."""
