"""One order of a course of a portal, with the job's own `fetch` set up for it.

The tests ask the portal's ledger what was requested and the volume what has come of it; nothing in
between is replaced.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contract import job_settings as settings
from contract.log import Log, Redactor, set_up
from contract.task import Task
from job_image.context import Context
from job_image.progress import Progress
from job_image.sandbox import Sandbox
from job_image.sources import Fetched
from job_image.sources.pace import Pace
from job_image.sources.platform import fetch
from job_image.stop import Stop
from playground.portal import TOKEN, Portal

QUICK = Pace(base=0.01, cap=0.05, budget=2.0, connect=5.0, read=5.0)
"""The waits of a careful client, a hundred times faster."""

CHILD = ("-m", "tests.job_image.fetch.child")


@dataclass
class Order:
    """One order for a course of a portal, on a sandbox of its own; may be fetched many times."""

    portal: Portal
    root: Path
    slug: str
    pace: Pace = QUICK
    wishes: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    stop: Stop = field(default_factory=Stop)
    out: io.StringIO = field(default_factory=io.StringIO)

    def context(self) -> Context:
        """The surroundings of a run, as the program itself builds them."""
        url = self.portal.course_url(self.slug)
        message = Task(task_id=7, course_url=url, **self.wishes).dump()  # type: ignore[arg-type]
        values = {"TASK": message, "SANDBOX": str(self.root), "PLATFORM_TOKEN": TOKEN}
        found = settings.read({**values, **self.environ})
        sandbox = Sandbox(self.root)
        sandbox.prepare()
        set_up("text", Redactor([TOKEN]), self.out)
        task = Task.parse(message.encode())
        return Context(
            task, sandbox, found, Log.for_task(7), Progress(), self.stop, Redactor([TOKEN])
        )

    def fetch(self) -> Fetched:
        """Run the fetch step once."""
        return fetch(self.context(), pace=self.pace)

    @property
    def log(self) -> str:
        """All that was logged."""
        return self.out.getvalue()

    def path(self, name: str) -> Path:
        """A file of the course folder."""
        return self.root / self.slug / name

    def read(self, name: str) -> bytes:
        """The bytes of a file of the course folder."""
        return self.path(name).read_bytes()

    def files(self) -> list[str]:
        """All files of the course folder, relative to it, in order."""
        folder = self.root / self.slug
        found = (one for one in folder.rglob("*") if one.is_file())
        return sorted(one.relative_to(folder).as_posix() for one in found)


def run_child(order: Order, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the fetch step in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, *(command or CHILD)],
        env=_environment(order, more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def started(order: Order, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have the fetch step run in a process of its own; at the end of the block it is killed."""
    child = subprocess.Popen(
        [sys.executable, *CHILD], env=_environment(order, more), stdout=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _environment(order: Order, more: Mapping[str, str]) -> dict[str, str]:
    message = {"taskId": 7, "courseUrl": order.portal.course_url(order.slug)}
    values = {"TASK": json.dumps(message), "SANDBOX": str(order.root), "PLATFORM_TOKEN": TOKEN}
    return {**os.environ, **values, **more}
