"""One order's surroundings with everything real: volume, remote, database, webhook, the program.

The downloader is a shell script of the test (`DOWNLOAD_COMMAND`), unless a portal is given; the
rest is what the program always does. The program runs as a process, as it does in its container.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract import names
from contract.task import Task
from playground.receiver import Receiver

SECRET = "api-s3cret-key"
SIGNING_KEY = "whsec_c2lnbmluZy1rZXktb2YtdGhlLXRlc3Q="
TOKEN = "platform-t0ken"
LIMIT = 60.0
GOOD = 'mkdir -p "$1/01 - Start"; printf film > "$1/01 - Start/001 Welcome.mp4"; echo fetched'
LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[([^\]]+)\] (.*)")


@dataclass
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str
    words: dict[str, Any] | None
    """The last words, parsed; None when there are none."""

    @property
    def tags(self) -> list[str]:
        """The tags of its lines, in order."""
        return [match[1] for match in map(LINE.match, self.out.splitlines()) if match]

    def lines(self, tag: str) -> list[str]:
        """The messages under one tag."""
        matches = filter(None, map(LINE.match, self.out.splitlines()))
        return [match[2] for match in matches if match[1] == tag]


@dataclass
class Journey:
    """An order and all that is around it. `settings` may be changed between runs."""

    folder: Path
    receiver: Receiver
    task: Task = field(default_factory=lambda: Task(999, "https://host/course/test-course/"))
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sandbox.mkdir(parents=True)
        self.remote.mkdir()
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(
                "CREATE TABLE tasks (id INTEGER PRIMARY KEY, status TEXT, error TEXT)"
            )
            connection.execute("CREATE TABLE changes (status TEXT)")
            connection.execute(
                "CREATE TRIGGER noted AFTER UPDATE ON tasks BEGIN "
                "INSERT INTO changes VALUES (NEW.status); END"
            )
            connection.execute("INSERT INTO tasks VALUES (999, 'queued', NULL)")
        self.settings = {
            "TASK": self.task.dump(),
            "SANDBOX": str(self.sandbox),
            "TERMINATION_LOG": str(self.folder / "termination"),
            "PLATFORM_TOKEN": TOKEN,
            "RCLONE_REMOTE": str(self.remote),
            "DATABASE_URL": f"sqlite:///{self.database}",
            "DB_ERROR_COLUMN": "error",
            "WEBHOOK_URL": self.receiver.url,
            "WEBHOOK_TRIES": "0",
            "API_SECRET_KEY": SECRET,
            "WEBHOOK_SIGNING_KEY": SIGNING_KEY,
            "RETRY_WAIT": "0",
            **self.settings,
        }

    @property
    def sandbox(self) -> Path:
        """The volume."""
        return self.folder / "sandbox"

    @property
    def remote(self) -> Path:
        """Where rclone copies to."""
        return self.folder / "remote"

    @property
    def database(self) -> Path:
        """The backend's database."""
        return self.folder / "db.sqlite"

    def download_with(self, script: str) -> None:
        """Set the downloader: a shell script; `$1` is its folder, `$2` the file of its calls."""
        calls = str(self.folder / "calls")
        counted = f'echo call >> "$2"; n=$(wc -l < "$2"); {script}'
        words = ["sh", "-c", counted, "downloader", "{dir}", calls, "{url}"]
        self.settings["DOWNLOAD_COMMAND"] = shlex.join(words)

    # --- running ----------------------------------------------------------------------------------
    @contextmanager
    def started(self, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """The program, started; killed at the end of the block if it still runs."""
        path = self.folder / "termination"
        path.unlink(missing_ok=True)
        known = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(Path.cwd()),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "job_image", *words],
            cwd=self.folder,
            env={**known, **self.settings, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(self, *words: str, **more: str) -> Ended:
        """Run the program to its end."""
        with self.started(*words, **more) as process:
            return self.ended(process)

    def ended(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for its end."""
        out, err = process.communicate(timeout=LIMIT)
        path = self.folder / "termination"
        text = path.read_text() if path.exists() else ""
        return Ended(process.returncode, out, err, json.loads(text) if text else None)

    # --- what came of it --------------------------------------------------------------------------
    @property
    def calls(self) -> int:
        """How often the downloader was called."""
        path = self.folder / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def row(self) -> tuple[str, str | None]:
        """Status and error of the order's row."""
        with closing(sqlite3.connect(self.database)) as connection:
            found: tuple[str, str | None] = connection.execute(
                "SELECT status, error FROM tasks WHERE id = 999"
            ).fetchone()
            return found

    @property
    def changes(self) -> list[str]:
        """What the row was set to, in order."""
        with closing(sqlite3.connect(self.database)) as connection:
            return [status for (status,) in connection.execute("SELECT status FROM changes")]

    @property
    def done(self) -> list[str]:
        """The marked steps, in the order in which they were marked."""
        path = self.sandbox / names.STATE_DIR / names.CHECKPOINT_FILE
        marks: dict[str, float] = json.loads(path.read_text())["done"] if path.exists() else {}
        return sorted(marks, key=lambda step: marks[step])

    @property
    def released(self) -> bool:
        """Whether the volume has been let go of."""
        return (self.sandbox / names.STATE_DIR / names.RELEASED_FILE).exists()

    def uploaded(self) -> dict[str, bytes]:
        """What the remote holds."""
        return contents(self.remote)

    def fetched(self) -> dict[str, bytes]:
        """What the volume holds beside the program's own files."""
        found = contents(self.sandbox)
        return {name: data for name, data in found.items() if not name.startswith(names.STATE_DIR)}


def contents(root: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
