"""A program on a terminal of its own: a real one to the program, a text to the test."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path


def _take_terminal() -> None:
    """Make standard input the terminal that Ctrl-C and job control mean; shells insist on one.

    A test run in the background may have been told to ignore Ctrl-C; a program in front has not.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program on a terminal of 30 lines and 120 columns, and all that it wrote."""

    def __init__(self, words: Sequence[str], env: dict[str, str], place: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.process = subprocess.Popen(
            words, cwd=place, env=env, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(slave)
        self.raw = ""

    def read(self) -> str:
        """What was written since the beginning, without colours and moves of the cursor."""
        while select.select([self._master], [], [], 0.05)[0]:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            self.raw += piece.decode("utf-8", "replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
