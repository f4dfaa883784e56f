"""Every name that more than one place must spell alike: objects, labels, keys, files, folders.

Pure functions from a task's id (as text) to names, and constants. A name is a function of the id
alone, so that making the same thing twice is a conflict and never a second thing.
"""

from __future__ import annotations

import hashlib
import re

PREFIX = "course-runner"

# --- Kubernetes -----------------------------------------------------------------------------------
LABEL_TASK = f"{PREFIX}/task"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"

MESSAGE = f"{PREFIX}/message"
ATTEMPT = f"{PREFIX}/attempt"
OUTCOME = f"{PREFIX}/outcome"
RETRY_AT = f"{PREFIX}/retry-at"
EXPIRES_AT = f"{PREFIX}/expires-at"
RELEASED = f"{PREFIX}/released"
PINNED = f"{PREFIX}/pinned"
FAILURES = f"{PREFIX}/failures"
ACCEPTED = f"{PREFIX}/accepted"
GROW_TO = f"{PREFIX}/grow-to"

OBJECT_PREFIX = "course-"
OBJECT_LIMIT = 52
"""Characters of a Job's and claim's name: pods add 6 ("-" and 5 more), and 57 is where the prefix
of a pod's name would be cut; 52 leaves room for a helper object beside it."""

LABEL_LIMIT = 63
"""Characters of a label value (Kubernetes API)."""

_HASH = 16
"""Hex digits of SHA-256 in a name: 64 bits, so a million odd ids collide with odds of 1 in 10^7."""
_SAFE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SAFE_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_SAFE_FOLDER = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
"""Lower case only: some file systems take `Task_A` and `Task_a` for one folder."""
_LOOKS_HASHED = re.compile(rf".*-[0-9a-f]{{{_HASH}}}")

# --- files of a sandbox ---------------------------------------------------------------------------
STATE_DIR = ".state"
CHECKPOINT_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
LOG_FILE = "run.log"
PROGRESS_FILE = "percent"
LOCK_FILE = "lock"
RELEASED_FILE = "released"
RECORD_FILE = "record.json"
TERMINATION_FILE = "termination"
RUN_FILE = "run.json"
STAGING_DIR = "Staging_Download"


def object_name(task_key: str) -> str:
    """Name of a task's Job and claim: a DNS label of at most 52 characters, unique per id."""
    return OBJECT_PREFIX + _slug(task_key, OBJECT_LIMIT - len(OBJECT_PREFIX), _SAFE_NAME)


def label_value(task_key: str) -> str:
    """Value of the label `course-runner/task`: the id itself where Kubernetes allows it."""
    return _slug(task_key, LABEL_LIMIT, _SAFE_LABEL)


def folder_name(task_key: str) -> str:
    """Name of a task's folder on one machine: `Task_<id>`, safe on any file system."""
    return "Task_" + _slug(task_key, 200, _SAFE_FOLDER)


def _slug(text: str, limit: int, safe: re.Pattern[str]) -> str:
    """Return `text` if it is a safe name, else a readable stem with a hash of the whole.

    Safe ids that look like a hashed one are hashed too: otherwise two ids could share a name.
    """
    if len(text) <= limit and safe.fullmatch(text) and not _LOOKS_HASHED.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: limit - _HASH - 1].strip("-")
    return f"{stem}-{digest}" if stem else f"x-{digest}"


# --- Redis ----------------------------------------------------------------------------------------
DEFAULT_QUEUE = "rq:queue:downloads"
EVENTS_KEY = f"{PREFIX}:events"
EVENTS_LIMIT = 10_000
"""Entries kept in the stream of events, roughly (Redis trims whole nodes)."""


def task_hash(task_key: str) -> str:
    """Key of the hash with a task's status, phase, percent, bytes, attempt, message, updated."""
    return f"{PREFIX}:task:{task_key}"


NUMBERS = "numbers"
"""Field of that hash in which a run says what it took: JSON with `run`, `seconds`, `bytes`."""


def claimed_list(queue: str, dispatcher_id: str) -> str:
    """Key of the list of what one dispatcher has taken and not yet handed over."""
    return f"{queue}:claimed:{dispatcher_id}"


def dead_list(queue: str) -> str:
    """Key of the list of messages that are no orders, with reason, time and original bytes."""
    return f"{queue}:dead"


def heartbeat_key(queue: str, dispatcher_id: str) -> str:
    """Key that lives only while a dispatcher does."""
    return f"{queue}:heartbeat:{dispatcher_id}"


def dispatchers_set(queue: str) -> str:
    """Key of the set of all dispatchers that may have a claimed list."""
    return f"{queue}:dispatchers"


def asks_list(queue: str) -> str:
    """Key of the list of what operators ask the dispatcher for."""
    return f"{queue}:asks"


def answer_key(queue: str, ask_id: str) -> str:
    """Key of the answer to one request; it lives for a minute."""
    return f"{queue}:answer:{ask_id}"


def slots_key(queue: str) -> str:
    """Key of the set of runs that the dispatchers have promised to start; see `promises`."""
    return f"{queue}:slots"


def paused_key(queue: str) -> str:
    """Key that is there while nothing may be claimed: JSON with `at` and `why`."""
    return f"{queue}:paused"


def state_key(queue: str) -> str:
    """Key of what the dispatchers last said of slots and accounts; it lives for a minute."""
    return f"{queue}:state"


def audit_key(queue: str) -> str:
    """Key of the last audit's verdict."""
    return f"{queue}:audit"
