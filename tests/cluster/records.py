"""Processes of the cluster: started once, recorded, and ended by that record alone.

In: an argument list and a name. Out: a detached process whose output goes to logs/<name>.log and
whose id and start time go to records/<name>.json. A process counts as ours only while id, start
time and boot are the recorded ones: an id that the kernel gave to another program since is never
signalled.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.names import BIN_LINKS, LOGS, RECORDS

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """One process: the kernel's id, its start in clock ticks since the boot, and which boot."""

    name: str
    pid: int
    started: int
    boot: str


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (state) on; None when there is no process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def log_of(name: str) -> Path:
    """The log file of a part."""
    return LOGS / f"{name}.log"


def start(name: str, argv: Sequence[str | Path]) -> Record:
    """Start a part in a session of its own, so that it outlives this command."""
    LOGS.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": f"{BIN_LINKS}:{os.environ.get('PATH', '')}"}
    with log_of(name).open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    return _keep(name, process.pid)


def _keep(name: str, pid: int) -> Record:
    record = Record(name, pid, _started(pid) or 0, _BOOT.read_text().strip())
    RECORDS.mkdir(parents=True, exist_ok=True)
    half = RECORDS / f".{name}"
    half.write_text(json.dumps(asdict(record)))
    half.rename(RECORDS / f"{name}.json")
    return record


def records() -> list[Record]:
    """Every recorded process, whether it lives or not."""
    return [Record(**json.loads(file.read_text())) for file in sorted(RECORDS.glob("*.json"))]


def alive(record: Record) -> bool:
    """Whether the very process of the record runs."""
    same_boot = _BOOT.read_text().strip() == record.boot
    return same_boot and _started(record.pid) == record.started


def signal_process(record: Record, number: signal.Signals) -> None:
    """Signal the recorded process; no other one can be hit, however ids are reused."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(record.pid)
        try:
            if alive(record):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def end_all(names: Sequence[str] = ()) -> None:
    """Kill the recorded processes of those names (none: all) and forget them.

    At once and hard: the whole state of the cluster is thrown away with them.
    """
    doomed = [each for each in records() if not names or each.name in names]
    for record in doomed:
        signal_process(record, signal.SIGKILL)
    _await_end(doomed)
    for record in doomed:
        (RECORDS / f"{record.name}.json").unlink(missing_ok=True)


def _await_end(doomed: Sequence[Record], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while any(alive(record) for record in doomed) and time.monotonic() < end:
        time.sleep(0.01)


def found(program: str, word: str) -> Iterator[Record]:
    """Processes named `program` with the argument `word`: containerd's shims, which fork away."""
    boot = _BOOT.read_text().strip()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            started = _started(int(folder.name))
            if Path(words[0]).name == program and word in words and started is not None:
                yield Record(program, int(folder.name), started, boot)
