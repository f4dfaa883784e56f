"""One run's surroundings, as the program builds them, with its log and progress kept for the test.

The steps themselves, and all they talk to, are real.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contract import handoff
from contract import job_settings as settings
from contract.log import Log, Redactor, set_up
from contract.task import Task
from job_image.context import Context
from job_image.progress import Progress
from job_image.sandbox import Sandbox
from job_image.stop import Stop

TOKEN = "platform-token-1f6b"


class Seen:
    """A sink that keeps every update."""

    def __init__(self) -> None:
        self.updates: list[dict[str, str]] = []

    def publish(self, fields: Mapping[str, str]) -> None:
        """Keep it."""
        self.updates.append(dict(fields))

    def numbers(self, name: str) -> list[float]:
        """One field of all updates, as numbers."""
        return [float(update[name]) for update in self.updates]


@dataclass
class Run:
    """Build it with settings by name; `context()` may be called once for each step."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    task_id: int | str = 999
    course_url: str = "https://www.udemy.com/course/test-course/"
    stop: Stop = field(default_factory=Stop)
    out: io.StringIO = field(default_factory=io.StringIO)
    seen: Seen = field(default_factory=Seen)

    def context(self) -> Context:
        """The surroundings of one step."""
        task = Task(task_id=self.task_id, course_url=self.course_url)
        values = {
            "TASK": task.dump(),
            "SANDBOX": str(self.root),
            "PLATFORM_TOKEN": TOKEN,
            **self.environ,
        }
        found = settings.read(values)
        redact = Redactor(values[name] for name in handoff.SECRET_SETTINGS if name in values)
        sandbox = Sandbox(self.root)
        sandbox.prepare()
        set_up("text", redact, self.out)
        log = Log.for_task(self.task_id)
        return Context(task, sandbox, found, log, Progress([self.seen]), self.stop, redact)

    def file(self, name: str, content: bytes) -> Path:
        """Put a file into the sandbox."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    @property
    def log(self) -> str:
        """All that was logged so far."""
        return self.out.getvalue()

    def lines(self, tag: str) -> list[str]:
        """The messages logged under one tag."""
        mark = f"] [{tag}] "
        return [line.partition(mark)[2] for line in self.log.splitlines() if mark in line]

    def close(self) -> None:
        """Stop logging."""
        logging.getLogger("course-runner").handlers.clear()


Runs = Callable[..., Run]
"""Makes a `Run` from settings by name; also `task_id` and `course_url`."""


def until(true: Callable[[], object], what: str, limit: float = 60.0) -> None:
    """Wait until `true()`; fail with `what` after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, f"not within {limit:g} s: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def group(leader: int) -> list[int]:
    """The running processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == leader and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found
