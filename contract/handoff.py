"""The boundary between the two programs: what a run is given, as environment and volume.

The dispatcher builds a run's environment with `job_environment`; the job's program reads the same
names. The volume holds the course folder and `.state/`, whose file names are in `names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contract import fault
from contract.task import Task

TASK = "TASK"
SANDBOX = "SANDBOX"
ATTEMPT = "ATTEMPT"
RELEASE = "RELEASE"
CLAIM = "CLAIM"
NAMESPACE = "NAMESPACE"
TERMINATION_LOG = "TERMINATION_LOG"
REPORT = "REPORT"

SANDBOX_PATH = "/sandbox"
"""Where the volume is mounted in a container."""

TERMINATION_PATH = "/dev/termination-log"
"""Where a container leaves its last words (Kubernetes' default)."""

SETTINGS_PATH = "/etc/course-runner"
"""Where the Secret with the job's settings is mounted in a container; see `env.SETTINGS_DIR`."""

RELEASE_KUBERNETES = "kubernetes"
RELEASE_FILE = "file"

PLAIN_SETTINGS = (
    "WEBHOOK_URL",
    "WEBHOOK_SIGNATURE_HEADER",
    "WEBHOOK_BODY_SECRET",
    "WEBHOOK_FAILURE_EVENTS",
    "WEBHOOK_TIMEOUT",
    "WEBHOOK_TRIES",
    "DB_TABLE",
    "DB_SCHEMA",
    "DB_ID_COLUMN",
    "DB_STATUS_COLUMN",
    "DB_ERROR_COLUMN",
    "DB_TIME_COLUMN",
    "DB_STATUS_RUNNING",
    "DB_STATUS_COMPLETED",
    "DB_STATUS_FAILED",
    "DB_STATUS_CANCELLED",
    "RCLONE_REMOTE",
    "RCLONE_CONFIG",
    "RCLONE_FLAGS",
    "PLATFORM_URL",
    "PLATFORM_TOKENS_FILE",
    "DOWNLOAD_TIMEOUT",
    "DOWNLOAD_COMMAND",
    "DOWNLOAD_CONCURRENCY",
    "ON_ITEM_FAILURE",
    "CONTINUE_LECTURE_NUMBERS",
    "ID_AS_COURSE_NAME",
    "MAX_RETRIES",
    "RETRY_WAIT",
    "LOG_FORMAT",
)
"""Settings of the job's program that the dispatcher passes on from its own environment."""

FAULTS = (fault.POINT, fault.ONCE)
"""Tests choose the point where a run dies; see `fault`."""

SECRET_SETTINGS = (
    "API_SECRET_KEY",
    "WEBHOOK_SIGNING_KEY",
    "DATABASE_URL",
    "PLATFORM_TOKEN",
    "PROGRESS_REDIS_URL",
)
"""The same, but secret: on a cluster they come from a mounted Secret and never from a manifest."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One run to start: the task, the how-manieth run of it, and for a closing run its outcome.

    `report` is the JSON of an `Outcome`: set, the run executes `python -m job_image report`, which
    records and announces that the task has failed; unset, it is an ordinary run.
    """

    task: Task
    attempt: int
    report: str | None = None


def job_environment(
    assignment: Assignment, settings: Mapping[str, str], *, secrets: bool
) -> dict[str, str]:
    """Return the environment of a run, without what depends on the executor.

    `settings` is the dispatcher's own environment; only the names listed above are passed on, the
    secret ones only when `secrets` is true (one machine; a cluster mounts them).
    """
    names = PLAIN_SETTINGS + (SECRET_SETTINGS if secrets else ())
    environment = {name: settings[name] for name in names if settings.get(name)}
    environment.update({name: settings[name] for name in FAULTS if settings.get(name)})
    environment[TASK] = assignment.task.dump()
    environment[ATTEMPT] = str(assignment.attempt)
    if assignment.report is not None:
        environment[REPORT] = assignment.report
    return environment
