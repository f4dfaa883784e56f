"""Named points where a process may die, so that tests can make it die exactly there.

Unless `COURSE_RUNNER_FAULT` names a point, `point()` does nothing. If it does, the process kills
itself (SIGKILL: no clean-up, no last word) when it gets there; with `COURSE_RUNNER_FAULT_ONCE` set
to a path, only the first process that gets there does, and leaves that file. docs/task-life.md
lists the points.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINT = "COURSE_RUNNER_FAULT"
ONCE = "COURSE_RUNNER_FAULT_ONCE"

_CHOSEN = os.environ.get(POINT)


def point(name: str) -> None:
    """Die here if this is the chosen point."""
    if name == _CHOSEN and _first():
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(128 + signal.SIGKILL)  # process 1 of a container is immune to its own signals


def _first() -> bool:
    path = os.environ.get(ONCE)
    if not path:
        return True
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
