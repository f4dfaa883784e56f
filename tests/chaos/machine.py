"""The ground of the chaos on one machine: a folder that all share, runs as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract import names
from dispatcher.executors.local.run import RUN_VARIABLE
from tests.chaos.judge import Life, lives


class Machine:
    """Runs that are processes below `folder`."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staging = folder / "Staging"
        self._staging.mkdir()
        program = folder / "job_image"  # what `python -m job_image` finds here first
        program.mkdir()
        (program / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("program.py"), program / "__main__.py")
        shutil.copy(Path(__file__).with_name("event.py"), program)

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes dispatchers work here."""
        return {"EXECUTOR": "local", "STAGING_DIR": str(self._staging)}

    def journal(self) -> list[dict[str, Any]]:
        """What the runs noted, oldest first."""
        path = self._staging / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def kill_run(self, whom: float) -> bool:
        """Kill a run that is alive; false when there is none."""
        alive = [life for life in lives(self.journal()) if life.ended is None]
        return bool(alive) and self._kill(alive[int(whom * len(alive))])

    def _kill(self, life: Life) -> bool:
        pid = self._pid(life)
        with suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                # Held by its descriptor, the number cannot come to name another process meanwhile.
                if f"{RUN_VARIABLE}=" not in Path(f"/proc/{pid}/environ").read_text():
                    return False
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                self._note(life, pid)
                return True
            finally:
                os.close(handle)
        return False

    def _pid(self, life: Life) -> int:
        found = [
            entry["pid"]
            for entry in self.journal()
            if (entry["event"], entry["task"], entry["at"]) == ("start", life.task, life.began)
        ]
        return int(found[0])

    def _note(self, life: Life, pid: int) -> None:
        entry: dict[str, Any] = {
            "event": "killed",
            "task": life.task,
            "kind": life.kind,
            "step": "",
        }
        entry |= {"attempt": life.attempt, "pid": pid, "at": time.time(), "step": ""}
        descriptor = os.open(self._staging / "journal", os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, json.dumps(entry).encode() + b"\n")
        os.close(descriptor)

    def categories(self) -> dict[str, str]:
        """The category of the verdict on each volume, by task."""
        found = {}
        for path in self._staging.glob(f"Task_*/{names.STATE_DIR}/{names.RECORD_FILE}"):
            record = json.loads(path.read_text())
            outcome = json.loads(record["marks"].get(names.OUTCOME, "{}"))
            found[str(record["task"])] = str(outcome.get("category", ""))
        return found
