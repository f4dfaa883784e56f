"""The job's fetch step alone, as a program: what `benchmarks.download` times.

Reads COURSE_URL, PLATFORM_TOKEN and SANDBOX from the environment; fetches and ends.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from contract.job_settings import read
from contract.log import Log, Redactor, set_up
from contract.task import Task
from job_image.context import Context
from job_image.progress import Progress
from job_image.sandbox import Sandbox
from job_image.sources import platform
from job_image.stop import Stop


def main() -> None:
    """Fetch one course."""
    message = json.dumps({"taskId": 1, "courseUrl": os.environ["COURSE_URL"]})
    settings = read({**os.environ, "TASK": message})
    redact = Redactor()
    set_up("text", redact)
    sandbox = Sandbox(Path(os.environ["SANDBOX"]))
    sandbox.prepare()
    task = Task.parse(message.encode())
    context = Context(task, sandbox, settings, Log.for_task(1), Progress(), Stop(), redact)
    print(platform.fetch(context))


if __name__ == "__main__":
    main()
