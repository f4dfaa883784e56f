"""Run other programs, wait for things, hold a lock: the ways this package touches the machine.

In: argument lists, never a shell line. Out: standard output as text, or a ClusterError that names
the command and shows the end of what it said. Progress goes to standard error, one line each.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.05


class ClusterError(Exception):
    """Something about the test cluster failed; the text names the thing, the place and the cure."""


def say(message: str) -> None:
    """Tell the person who waits."""
    print(f"[cluster] {message}", file=sys.stderr, flush=True)


def run(
    argv: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    check: bool = True,
    timeout: float = 3600,
) -> str:
    """Run a program to its end and return its standard output; a failure raises if `check`."""
    words = [str(word) for word in argv]
    try:
        done = _run(words, cwd, env, given, timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"`{' '.join(words)[:300]}` did not run to its end: {error}") from error
    if check and done.returncode:
        raise ClusterError(_failure(words, done.returncode, done.stdout + done.stderr))
    return done.stdout


def _run(
    words: list[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    given: str | None,
    timeout: float,
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words,
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )


def _failure(words: list[str], code: int, output: str) -> str:
    end = "\n".join(output.strip().splitlines()[-25:])
    return f"`{' '.join(words)[:300]}` ended with {code}:\n{end}"


def wait_for(what: str, ready: Callable[[], bool], seconds: float, log: Path | None = None) -> None:
    """Poll until `ready` says yes; after `seconds`, raise with the end of `log`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise ClusterError(f"{what} was not ready within {seconds:g} s.{_tail(log)}")
        time.sleep(POLL_SECONDS)


def _tail(log: Path | None) -> str:
    if log is None or not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return f" The end of {log}:\n" + "\n".join(lines)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; whoever comes second waits and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds {path}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long the body took."""
    start = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - start:.1f} s")
