"""The smallest job's program: does what the order's own field "script" says. Standard library only.

Goes in: TASK, ATTEMPT, SANDBOX, TERMINATION_LOG; the script is a list of steps, each a list of a
word and its arguments, or an object from attempts to such lists. Comes out: prints, files, last
words, an exit code. It is handed over as text (`python -c`), so that an image without the tests
can run it.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SANDBOX = Path(os.environ["SANDBOX"])
TOLD: list[int] = []
LIFETIME = 300
"""Seconds after which a program that a broken test forgot ends itself."""


def last_words(code: int, category: str) -> None:
    """Leave an outcome where the executor looks for it."""
    words = {"category": category, "summary": f"The script said {code}.", "exit": code}
    Path(os.environ["TERMINATION_LOG"]).write_text(json.dumps(words))


def leave(code: int, category: str = "temporary") -> None:
    """Exit as the real program does: with last words, also after success."""
    last_words(code, "done" if code == 0 else category)
    sys.exit(code)


def wait_for(gate: str) -> None:
    """Wait until the test opens the gate; end as told when told to stop."""
    while not (SANDBOX / gate).exists():
        if TOLD:
            leave(143, "stopped")
        time.sleep(0.02)


def until_stopped(trace: str) -> None:
    """Wait to be told to stop, and leave a trace of having been told."""
    while not TOLD:
        time.sleep(0.02)
    (SANDBOX / trace).write_text("SIGTERM")
    leave(143, "stopped")


def die() -> None:
    """Die without a word. The first process of a container cannot send itself SIGKILL."""
    if os.getpid() == 1:
        os._exit(137)
    os.kill(os.getpid(), signal.SIGKILL)


def eat(mebibytes: int) -> None:
    """Take so much memory, and touch it."""
    taken = bytearray(mebibytes << 20)
    print(sum(taken[::4096]), flush=True)


def fill(path: str, mebibytes: int) -> None:
    """Write so much into a file."""
    Path(path).write_bytes(bytes(mebibytes << 20))


def deaf() -> None:
    """Ignore the polite signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def hold_lock() -> None:
    """Take the volume's lock and keep it to the end, as the real program does."""
    (SANDBOX / ".state").mkdir(exist_ok=True)
    descriptor = os.open(SANDBOX / ".state/lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def leave_child(trace: str, how: str = "plain") -> None:
    """Leave a process behind that would outlive this one, with its number in a file.

    `how`: "session" in a session of its own, "bare" without our environment.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)"],
        start_new_session=how == "session",
        env={} if how == "bare" else None,
    )
    (SANDBOX / trace).write_text(str(child.pid))


def say_environment() -> None:
    """Print the whole environment as one line of JSON."""
    print(json.dumps(dict(os.environ)), flush=True)


STEPS: dict[str, Callable[..., object]] = {
    "say": lambda text: print(text, flush=True),
    "say without end": lambda text: print(text, end="", flush=True),
    "say environment": say_environment,
    "say arguments": lambda: print(json.dumps(sys.argv[1:]), flush=True),
    "write": lambda name, text: (SANDBOX / name).write_text(text),
    "append": lambda name, text: (SANDBOX / name).open("a").write(text),
    "exit": leave,
    "exit if": lambda name, code: leave(code) if (SANDBOX / name).exists() else None,
    "exit silently": os._exit,
    "wait for": wait_for,
    "until stopped": until_stopped,
    "eat": eat,
    "fill": fill,
    "deaf": deaf,
    "die": die,
    "hold lock": hold_lock,
    "leave child": leave_child,
}


def main() -> None:
    """Do the steps of this attempt; at the end of them, succeed."""
    signal.alarm(LIFETIME)
    signal.signal(signal.SIGTERM, lambda *_: TOLD.append(1))
    script = json.loads(os.environ["TASK"]).get("script", [])
    if isinstance(script, dict):
        key = "report" if sys.argv[-1] == "report" else os.environ["ATTEMPT"]
        script = script.get(key, [])
    for word, *arguments in script:
        STEPS[word](*arguments)
    leave(0)


main()
