"""The job's program of the chaos: two steps, each with an effect that is noted.

No imports of ours. Each start, effect and end is a line of the journal beside the tasks' folders,
written in one piece. A step's mark is made on the volume after its effect, as the real program does
it, so an effect may be repeated by exactly one cause: the run was killed between the two.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

SANDBOX = Path(os.environ["SANDBOX"])
MESSAGE = json.loads(os.environ["TASK"])
KIND = "report" if sys.argv[-1] == "report" else "run"
CATEGORIES = {64: "bad_input", 65: "auth_expired", 75: "temporary", 76: "webhook_not_delivered"}
CATEGORIES |= {143: "stopped", 0: "done"}


def note(event: str, step: str = "") -> None:
    """Append a line to the journal."""
    entry = {"event": event, "task": MESSAGE["taskId"], "kind": KIND, "step": step}
    entry |= {"attempt": int(os.environ["ATTEMPT"]), "pid": os.getpid(), "at": time.time()}
    path = SANDBOX.parent / "journal"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, json.dumps(entry).encode() + b"\n")
    os.close(descriptor)


def leave(code: int) -> None:
    """End with last words."""
    words = {"category": CATEGORIES[code], "summary": f"Exit {code}.", "exit": code, "told": False}
    Path(os.environ["TERMINATION_LOG"]).write_text(json.dumps(words))
    note("end", str(code))
    sys.exit(code)


def step(name: str) -> None:
    """Do one step unless its mark is there."""
    mark = SANDBOX / ".state" / f"mark-{name}"
    if mark.exists():
        return
    time.sleep(MESSAGE["work"] / 2)
    note("effect", name)
    mark.touch()


def main() -> None:
    """Do one run."""
    lock = os.open(SANDBOX / ".state" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("clash")
        leave(143)
    note("start")
    if KIND == "report":
        step("report")
        leave(0)
    word, _, code = MESSAGE["do"].get(os.environ["ATTEMPT"], "").partition(" ")
    if word == "die":
        note("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    if code in ("64", "65", "75", "143"):
        leave(int(code))
    step("upload")
    if code == "76":
        leave(76)
    step("webhook")
    (SANDBOX / ".state" / "released").write_text("now")
    leave(0)


main()
