"""The job's program of the chaos: two steps, each with an effect that is noted.

No imports of ours but `event`, which lies beside it: the second step is a real webhook. Each start,
effect and end is a line of the journal, beside the tasks' folders or where JOURNAL says, written in
one piece. A step's mark is made on the volume after its effect, as the real program does it, so an
effect may be repeated by exactly one cause: the run was killed between the two.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

from job_image import event

SANDBOX = Path(os.environ["SANDBOX"])
MESSAGE = json.loads(os.environ["TASK"])
TASK = MESSAGE["taskId"]
KIND = "report" if sys.argv[-1] == "report" else "run"
CATEGORIES = {64: "bad_input", 65: "auth_expired", 75: "temporary", 76: "webhook_not_delivered"}
CATEGORIES |= {143: "stopped", 0: "done"}
IN_POD = os.getpid() == 1
WHO = os.environ["HOSTNAME"] if IN_POD else os.getpid()


def note(event: str, step: str = "") -> None:
    """Append a line to the journal."""
    entry = {"event": event, "task": MESSAGE["taskId"], "kind": KIND, "step": step}
    entry |= {"attempt": int(os.environ["ATTEMPT"]), "pid": WHO, "at": time.time()}
    path = os.environ.get("JOURNAL") or SANDBOX.parent / "journal"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, json.dumps(entry).encode() + b"\n")
    os.close(descriptor)


def leave(code: int) -> None:
    """End with last words."""
    words = {"category": CATEGORIES[code], "summary": f"Exit {code}.", "exit": code, "told": False}
    Path(os.environ["TERMINATION_LOG"]).write_text(json.dumps(words))
    note("end", str(code))
    sys.exit(code)


def step(name: str, status: str = "") -> None:
    """Do one step unless its mark is there; with a status, its effect is to announce that."""
    mark = SANDBOX / ".state" / f"mark-{name}"
    if mark.exists():
        return
    time.sleep(MESSAGE["work"] / 2)
    if status and not event.deliver(os.environ["WEBHOOK_URL"], TASK, status, moment(status)):
        leave(76)
    note("effect", name)
    mark.touch()


def moment(status: str) -> int:
    """The time of an event: noted before it is first told, so that it is the same in every try."""
    path = SANDBOX / ".state" / f"moment-{status}"
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(str(int(time.time())))
        fresh.rename(path)
    return int(path.read_text())


def main() -> None:
    """Do one run."""
    (SANDBOX / ".state").mkdir(exist_ok=True)
    lock = os.open(SANDBOX / ".state" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("clash")
        leave(143)
    note("start")
    if KIND == "report":
        step("report", "failed")
        leave(0)
    word, _, code = MESSAGE["do"].get(os.environ["ATTEMPT"], "").partition(" ")
    if word == "die":
        note("killed")
        if IN_POD:  # the first process of a container cannot send itself SIGKILL
            os._exit(137)
        os.kill(os.getpid(), signal.SIGKILL)
    if code in ("64", "65", "75", "143"):
        leave(int(code))
    step("upload")
    if code == "76":
        leave(76)
    step("webhook", "completed")
    (SANDBOX / ".state" / "released").write_text("now")
    leave(0)


main()
