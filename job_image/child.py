"""Child processes: a group of their own, read line by line, ended with everything they started.

In: a command and an environment. Out: lines, then an exit code. Nobody outlives the step: when it
is left for any reason (finished, failed, told to stop) the whole group gets SIGTERM and, after
`GRACE`, SIGKILL. If this program itself is killed, the kernel ends the child where `setpriv`
(util-linux) is there to ask it, so that no orphan writes beside the next attempt.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from job_image.stop import Stop

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL: rclone removes its partial files in well under one, and a
pod has 30 in all."""

TICK = 0.25
"""Seconds between two looks at the stop flag while the child is silent."""

LINE_LIMIT = 1 << 20
"""Bytes of one line; longer ones are broken. rclone's longest, a statistic, has some 10 KiB."""

BAR_INTERVAL = 10.0
"""Seconds between two states of a progress bar (text ended by a carriage return) that are shown."""

BORN_IN_TIME = 'parent=$1; shift; [ "$PPID" = "$parent" ] && exec "$@"'
"""Shell words that become the command, unless the parent died before the kernel was asked."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A name that every shell hands on."""


class Child:
    """A running command. Use it inside `with`; output and errors come as one stream."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], stop: Stop) -> None:
        """Start it. Raise `OSError` when it cannot be started."""
        self._stop = stop
        self._process = subprocess.Popen(
            [*_bound_to_us(environment), *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def group(self) -> int:
        """The id of its process group, which is its own id."""
        return self._process.pid

    def lines(self) -> Iterator[str | None]:
        """Yield its lines until it has ended; None at every tick without one.

        Raise `Stopped` as soon as somebody asks for it.
        """
        splitter = Lines()
        while (chunk := self._read()) != b"":
            if chunk is not None:
                yield from splitter.feed(chunk, time.monotonic())
            elif self._ended():
                break  # a grandchild keeps the pipe open; the command itself is done
            else:
                yield None
        yield from splitter.rest()
        while not self._ended():
            self._stop.wait(TICK)
            yield None

    def code(self) -> int:
        """Return the exit code once `lines` is through; -N when signal N ended it."""
        result = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        if result is None:
            return 0  # cannot be: without WNOHANG the call waits
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def end(self) -> None:
        """End the whole group; at once when everybody has gone already."""
        if self._process.returncode is None:  # not yet reaped, so the group's id is still its own
            if not self._ended():
                self._signal(signal.SIGTERM)
                self._await_end()
            self._signal(signal.SIGKILL)  # those whom the command left behind, or a stubborn one
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _read(self) -> bytes | None:
        """Return what has come, b"" at the end of the stream, None when nothing came in a tick."""
        self._stop.check()
        stream = self._process.stdout
        if stream is None:
            return b""
        ready, _, _ = select.select([stream], [], [], TICK)
        return os.read(stream.fileno(), 65536) if ready else None

    def _ended(self) -> bool:
        """Whether it has exited. It stays a zombie, so its group's id cannot become another's."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _await_end(self) -> None:
        deadline = time.monotonic() + GRACE
        while not self._ended() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class Lines:
    """Cuts a byte stream into lines. Of a progress bar only a state now and then is kept."""

    def __init__(self) -> None:
        self._rest = b""
        self._next_bar = 0.0

    def feed(self, chunk: bytes, now: float) -> list[str]:
        """Return the lines that `chunk` completes; `now` in seconds of any steady clock."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            whole, self._rest = [*whole, self._rest], b""
        lines = [text for line in whole if (text := _last_state(line))]
        if b"\r" in self._rest and now >= self._next_bar:
            self._next_bar = now + BAR_INTERVAL
            lines.append(_last_state(self._rest.rpartition(b"\r")[0]))
        self._rest = self._rest.rpartition(b"\r")[2]
        return [line for line in lines if line]

    def rest(self) -> list[str]:
        """Return the last line if nothing ended it."""
        text = _last_state(self._rest)
        self._rest = b""
        return [text] if text else []


def _last_state(line: bytes) -> str:
    """Return what a terminal would show at last: the text behind the last carriage return."""
    shown = line.rstrip().rpartition(b"\r")[2]
    return shown.decode("utf-8", "replace").strip()


def _bound_to_us(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what to put before a command so that it ends with this program.

    A shell hands on no variable whose name is no word (dash drops it, and a remote of rclone's may
    have one): then the kernel is asked without looking whether the parent is there still.
    """
    setpriv, shell = shutil.which("setpriv"), shutil.which("sh")
    if not setpriv or not shell:
        return ()
    bound = (setpriv, "--pdeathsig", "KILL", "--")
    if not all(map(_WORD.fullmatch, environment)):
        return bound
    return (*bound, shell, "-c", BORN_IN_TIME, "sh", str(os.getpid()))
