"""The product, started and asked as a user does: `course-runner local` and its other verbs.

In: settings. Out: a running dispatcher, answers of the command line, and the process of a task's
run, which one accident needs. Nothing of the product is imported.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from contract import names
from playground.demo import family
from playground.demo.folder import DemoError, Folder

PROGRAM = Path(sys.executable).with_name("course-runner")
START = 30.0
"""Seconds that the dispatcher may take until its server answers."""
STOP = 30.0
"""Seconds that it may take to stop."""


class Product:
    """`course-runner local` in the demo's folder."""

    def __init__(self, folder: Folder, parent: family.Family, settings: Mapping[str, str]) -> None:
        """Start it. `settings` is its whole environment but for what every program needs."""
        self._folder = folder
        self._family = parent
        self._environment = {
            "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder.home),
            "LANG": "C.UTF-8",
            **settings,
        }
        with folder.dispatcher_log.open("w") as log:
            self._process = self._start("local", out=log)

    def _start(self, *words: str, out: IO[str] | int) -> subprocess.Popen[str]:
        try:
            return self._family.spawn(
                [str(PROGRAM), *words],
                self._folder.root,
                self._environment,
                out,
            )
        except FileNotFoundError as error:
            raise DemoError(f"{PROGRAM} is not there. Run scripts/setup.sh demo.") from error

    def queue_url(self) -> str:
        """Return the address of its queue, once it has written it down."""
        file = self._folder.root / ".course-runner" / "redis.url"
        deadline = time.monotonic() + START
        while not file.exists():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"`course-runner local` has not started in {START:.0f} s.")
            time.sleep(0.05)
        return file.read_text(encoding="utf-8").strip()

    def check(self) -> None:
        """Raise `DemoError` when the dispatcher has ended by itself."""
        code = self._process.poll()
        if code is not None:
            log = self._folder.shown(self._folder.dispatcher_log)
            raise DemoError(f"`course-runner local` ended with exit code {code}; see {log}.")

    def ask(self, *words: str) -> str:
        """Run another verb of the command line; return what it prints."""
        process = self._start(*words, out=subprocess.PIPE)
        said, _ = process.communicate(timeout=START)
        if process.returncode != 0:
            raise DemoError(f"`course-runner {words[0]}` ended with {process.returncode}: {said}")
        return said.strip()

    def stop(self) -> int:
        """Tell the dispatcher to stop; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def kill_run(folder: Folder, key: str) -> int:
    """Kill the very process that runs a task now, wait for its end, return its number."""
    path = folder.sandbox(key) / names.STATE_DIR / names.RUN_FILE
    try:
        process = json.loads(path.read_bytes())["process"]
        pid, started = int(process["pid"]), int(process["started"])
        handle = os.pidfd_open(pid)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DemoError(f"{path} names no process of task {key}: {error!r}") from error
    try:
        if family.started_at(pid) != started:  # asked behind the handle: now it cannot change hands
            raise DemoError(f"Process {pid} is not the run of task {key} any more.")
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], 10)
    finally:
        os.close(handle)
    return pid
