"""Fault points: a process dies where it is told to, and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

CODE = "from contract.fault import point; point('a'); print('after a', flush=True); point('b')"


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with two points."""
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run(
        [sys.executable, "-c", CODE], env=known, capture_output=True, text=True, timeout=30
    )


def test_without_a_chosen_point_nothing_happens() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (0, "after a\n")


def test_a_process_is_killed_at_the_chosen_point() -> None:
    assert (run(COURSE_RUNNER_FAULT="a").returncode, run(COURSE_RUNNER_FAULT="a").stdout) == (
        -signal.SIGKILL,
        "",
    )
    done = run(COURSE_RUNNER_FAULT="b")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "after a\n")


def test_a_point_that_is_not_there_is_never_reached() -> None:
    assert run(COURSE_RUNNER_FAULT="c").returncode == 0


def test_with_a_file_only_the_first_process_dies(tmp_path: Path) -> None:
    once = {"COURSE_RUNNER_FAULT": "a", "COURSE_RUNNER_FAULT_ONCE": str(tmp_path / "done")}
    assert run(**once).returncode == -signal.SIGKILL
    assert run(**once).returncode == 0
