"""The fetch step alone, as a process that can be killed (`python -m` with this module).

Reads the run's settings from the environment, as the program does; prints what was fetched.
"""

from __future__ import annotations

import os
import signal
import sys

from contract import job_settings as settings
from contract.errors import CourseRunnerError
from contract.log import Log, Redactor, set_up
from contract.task import Task
from job_image.context import Context
from job_image.progress import Progress
from job_image.sandbox import Sandbox
from job_image.sources.platform import fetch
from job_image.stop import Stop


def main() -> int:
    """Fetch the course of the environment and return the exit code."""
    found = settings.read(os.environ)
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.request())
    redact = Redactor()
    set_up("text", redact)
    sandbox = Sandbox(found.sandbox)
    sandbox.prepare()
    task = Task.parse(found.message.encode())
    try:
        fetch(Context(task, sandbox, found, Log.for_task(7), Progress(), stop, redact))
    except CourseRunnerError as exc:
        sys.stdout.write(f"{exc.summary}\n")
        return int(exc.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
