"""The smallest job's program: notes that it runs, does what the order's field "do" says. No imports
of ours.

"do" is an object from an attempt's number, or "report", to one word; without one the run succeeds:
`exit 75` ends with that code and last words, `told 65` the same having told the row itself, `die`
is killed without a word, `hold` waits for the file `<journal>.open-<task>` or to be told to stop.
Each run appends to the journal beside the tasks' folders when it starts and when it ends by itself,
and says so there if another run of the task is alive.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

SANDBOX = Path(os.environ["SANDBOX"])
JOURNAL = SANDBOX.parent / "journal"
MESSAGE = json.loads(os.environ["TASK"])
KIND = "report" if sys.argv[-1] == "report" else "run"
CATEGORIES = {64: "bad_input", 65: "auth_expired", 75: "temporary", 76: "webhook_not_delivered"}
TOLD: list[int] = []


def note(event: str) -> None:
    """Append a line to the journal; one write, so that lines never mix."""
    entry = {"event": event, "task": str(MESSAGE["taskId"]), "kind": KIND}
    entry |= {"attempt": int(os.environ["ATTEMPT"]), "pid": os.getpid()}
    entry |= {"report": json.loads(os.environ.get("REPORT", "null")), "message": MESSAGE}
    descriptor = os.open(JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, json.dumps(entry).encode() + b"\n")
    os.close(descriptor)


def leave(code: int, category: str, told: bool = False) -> None:
    """End with last words."""
    words = {"category": category, "summary": f"It was {category}.", "exit": code, "told": told}
    Path(os.environ["TERMINATION_LOG"]).write_text(json.dumps(words))
    note(f"end {code}")
    sys.exit(code)


def hold() -> None:
    """Wait to be let go, or to be told to stop."""
    gate = JOURNAL.with_name(f"journal.open-{str(MESSAGE['taskId']).encode().hex()}")
    while not gate.exists():
        if TOLD:
            leave(143, "stopped")
        time.sleep(0.01)


def main() -> None:
    """Do one run."""
    signal.signal(signal.SIGTERM, lambda *_: TOLD.append(1))
    lock = os.open(SANDBOX / ".state" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("clash")
        leave(143, "stopped")
    note("start")
    print(f"{KIND} {os.environ['ATTEMPT']} of task {MESSAGE['taskId']}", flush=True)
    key = "report" if KIND == "report" else os.environ["ATTEMPT"]
    word, _, code = MESSAGE.get("do", {}).get(key, "").partition(" ")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hold":
        hold()
    if word in ("exit", "told"):
        leave(int(code), CATEGORIES[int(code)], word == "told")
    if KIND == "run":
        (SANDBOX / ".state" / "released").write_text("now")
    leave(0, "done")


main()
