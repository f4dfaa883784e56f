"""Local executors on one folder, and a dispatcher's process that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contract.names import folder_name
from contract.task import Task
from dispatcher.executors import Phase
from dispatcher.executors.local import LocalExecutor
from tests.dispatcher.executors.bench import PROGRAM_TEXT

_HOST = """
import json, os, sys
from pathlib import Path
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.local import LocalExecutor
folder, message, program = sys.argv[1:]
task = Task.parse(message.encode())
executor = LocalExecutor(Path(folder), os.environ, json.loads(program), interval=0.2)
executor.start()
executor.ensure_volume(task)
print("volume", flush=True)
executor.start_run(Assignment(task, 1))
print("run", flush=True)
sys.stdin.read()
"""


class LocalBench:
    """A `Bench` of this machine. `grace` and `environment` are those of executors made next."""

    patience = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = [sys.executable, "-c", PROGRAM_TEXT]
        self.environment: Mapping[str, str] = os.environ
        self.grace = 15.0
        self._made: list[LocalExecutor] = []

    def executor(self) -> LocalExecutor:
        """Return another executor, as another dispatcher's process would have it."""
        made = LocalExecutor(
            self.folder, self.environment, self.program, grace=self.grace, interval=0.2
        )
        made.start()
        self._made.append(made)
        return made

    def host(self, task: Task) -> subprocess.Popen[str]:
        """Return another process with an executor, which starts the task's first run.

        It prints "volume", then "run" when each is there, and stays until its input ends.
        """
        arguments = [str(self.folder), task.dump(), json.dumps(self.program)]
        return subprocess.Popen(
            [sys.executable, "-c", _HOST, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open_gate(self, task: Task, gate: str) -> None:
        """Make the file the run waits for."""
        (self.root(task) / gate).touch()

    def root(self, task: Task) -> Path:
        """The task's folder."""
        return self.folder / folder_name(task.key)

    def state(self, task: Task, file: str) -> Path:
        """One of the executor's own files of a task."""
        return self.root(task) / ".state" / file

    def change(self, task: Task, file: str, **fields: Any) -> None:
        """Change fields of one of those files, as a crash or a stranger might leave them."""
        path = self.state(task, file)
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    def close(self) -> None:
        """Close all executors and end the runs that a failed test left."""
        for executor in self._made:
            for held in executor.holdings().values():
                if held.run is not None and held.run.phase is Phase.ACTIVE:
                    executor.remove_run(held.name, held.run.id)
            executor.close()
