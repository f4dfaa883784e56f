"""The processes that descend from this one, all of them.

In: nothing. Out: numbers of processes. As their reaper (`PR_SET_CHILD_SUBREAPER`) this process
inherits every orphan of its descendants, so "nothing is left running" is a look at its children and
no guess. Linux only, as the product's local executor is.
"""

import ctypes
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from playground.demo.folder import DemoError

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_STATE, _PARENT = 0, 1
"""Places in /proc/<pid>/stat behind the name (proc(5): fields 3 and 4)."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise DemoError(f"prctl refused: {os.strerror(ctypes.get_errno())}. The demo needs Linux.")


def children() -> dict[int, str]:
    """Return each child's number and command line, those that only wait to be reaped left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_child(entry):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
    return found


def stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat behind the name; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _is_child(entry: Path) -> bool:
    fields = stat(int(entry.name))
    return bool(fields) and int(fields[_PARENT]) == os.getpid() and fields[_STATE] not in "ZX"


def reap(spared: Collection[int]) -> None:
    """Let the kernel forget inherited children that ended; `spared` are waited for elsewhere."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared:
            fields = stat(int(entry.name))
            if fields and int(fields[_PARENT]) == os.getpid() and fields[_STATE] == "Z":
                with suppress(ChildProcessError):
                    os.waitpid(int(entry.name), os.WNOHANG)


def end(pids: Collection[int]) -> None:
    """End children of ours at once."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
