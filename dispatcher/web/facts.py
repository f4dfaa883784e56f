"""What can be seen, as plain data: one shape for the page and for `/api/v1`.

Times are Unix seconds, sizes bytes, speeds bytes per second; None is "not known". The OpenAPI
document is made from these classes, so a field that is added here is documented there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dispatcher.audit import Finding


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task, as the board has it. `speed` and `eta` are of the phase under way."""

    task: str
    status: str
    phase: str = ""
    percent: float | None = None
    bytes: int | None = None
    total_bytes: int | None = None
    items_done: int | None = None
    items_total: int | None = None
    attempt: int | None = None
    account: str = ""
    course: str = ""
    message: str = ""
    obstacle: str = ""
    category: str = ""
    retry_at: float | None = None
    updated: float | None = None
    skipped: int | None = None
    skipped_reasons: str = ""
    speed: float | None = None
    eta: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of a task's timeline."""

    at: float
    what: str
    attempt: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the course's manifest; `reason` says why it was left out or failed."""

    path: str
    kind: str
    state: str
    size: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """One volume. `size` is what was asked for, `used` what its files take, where that is known."""

    name: str
    task: str
    stand: str
    created: float
    size: int | None = None
    used: int | None = None
    expires_at: float | None = None
    pinned: bool = False
    released: bool = False
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """One warning of the cluster about a task's objects."""

    at: str
    about: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """Everything about one task. `items` and `items_shown` of the manifest where it can be read."""

    row: TaskRow
    why: str
    timeline: tuple[Moment, ...] = ()
    volume: VolumeRow | None = None
    items: tuple[Item, ...] = ()
    item_counts: dict[str, int] = field(default_factory=dict)
    items_note: str = ""
    log: tuple[str, ...] = ()
    log_note: str = ""
    deliveries: tuple[str, ...] = ()
    events: tuple[ClusterEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of tasks. `total` counts what the search found, `counts` every task by state."""

    tasks: tuple[TaskRow, ...]
    total: int
    page: int
    pages: int
    size: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `mark` tells it from another one that has its number later."""

    number: int
    mark: str
    at: float | None
    reason: str
    advice: str
    message: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """What came and ended within `seconds` from `at`. `came` is None before this page looked."""

    at: float
    seconds: int
    completed: int
    failed: int
    came: int | None = None


@dataclass(frozen=True, slots=True)
class Doctor:
    """The last audit's verdict; `at` is None when no dispatcher has made one."""

    at: float | None
    found: int
    counts: dict[str, int]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Oldest:
    """The order that has waited longest: seen in the queue since `since`, perhaps longer."""

    task: str
    since: float


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the whole, in numbers."""

    counts: dict[str, int]
    queued: int
    slots_used: int | None
    slots: int | None
    trouble: str
    dispatchers: tuple[str, ...]
    paused_since: float | None
    paused_why: str
    came_last_hour: int | None
    ended_last_hour: int
    oldest: Oldest | None
    dead: int
    volumes: int | None
    volume_bytes: int | None
    volumes_note: str
    doctor: Doctor
    hours: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as this process has it; secrets show only whether they are set."""

    name: str
    value: str
    given: bool
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what is shown is. `trouble` is "" while Redis answers; `at` is the last good look."""

    ready: bool
    at: float | None
    trouble: str
    revision: int


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an action."""

    done: bool
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was not carried out: what is wrong, and the cure."""

    error: str
    cure: str = ""
