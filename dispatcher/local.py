"""`course-runner local`: the whole system on one machine, the embedded default.

Goes in: the environment and a state folder. It starts the embedded server unless REDIS_URL names
one, and dispatches on the local executor, with the operator's page beside it. One process per state
folder, held by a lock. The job's program is asked about its settings first: here they are the same
environment, so no order has to fail to find a fault in them.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from contract.env import Reader
from contract.errors import BadSettings, Misconfigured
from dispatcher.embedded import EmbeddedServer
from dispatcher.executors.local.executor import PROGRAM
from dispatcher.page_settings import page_settings
from dispatcher.redis_address import SERVER, parse
from dispatcher.service import serve, settings_from
from dispatcher.settings import LOCAL

NO_PAGE = "0"
"""The PAGE_PORT that means none."""

PAGE_PATIENCE = 5.0
"""Seconds for the page to end; it has nothing to lose."""


def run(state: Path, values: Mapping[str, str]) -> None:
    """Dispatch until told to stop. Raise `BadSettings` with all faults before anything starts."""
    known = {"HEALTH_PORT": "0", **_rclone_config(), **values, "EXECUTOR": LOCAL}
    faults = dict.fromkeys([*_own_faults(known), *_faults_of_runs(known)])
    if faults:
        raise BadSettings(list(faults))
    with ExitStack() as stack:
        stack.enter_context(_only_one(state))
        if not known.get("REDIS_URL"):
            server = stack.enter_context(EmbeddedServer(state))
            known["REDIS_URL"] = server.url.reveal()
            print(f"The queue is in {state}/redis.url; push orders with `course-runner enqueue`.")
        if parse(known["REDIS_URL"]).kind == SERVER:  # the runs' own client knows no other
            known.setdefault("PROGRESS_REDIS_URL", known["REDIS_URL"])
        stack.enter_context(_page(state, known))
        serve(settings_from(known, executor=LOCAL))


@contextmanager
def _page(state: Path, known: Mapping[str, str]) -> Iterator[None]:
    """Serve the page from a process of its own, which tells its address and ends when we do.

    It ends with its standard input, which the kernel closes whatever way we end.
    """
    process = _page_process(state, known)
    if process is None:
        yield
        return
    try:
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(PAGE_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _page_process(state: Path, known: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start the page; say why there is none. Nothing about it keeps us from dispatching."""
    if known.get("PAGE_PORT") == NO_PAGE:
        return None
    if find_spec("starlette") is None:
        print("There is no page: its libraries are not here (run scripts/setup.sh local).")
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher.cli", "--state", str(state), "page", "--until-eof"],
            stdin=subprocess.PIPE,
            env={**os.environ, **known},
            start_new_session=True,  # Ctrl-C is for us, and we take it along
        )
    except OSError as exc:
        print(f"There is no page: its process cannot be started ({exc.strerror}).")
        return None


def _rclone_config() -> dict[str, str]:
    """Return RCLONE_CONFIG as rclone itself would find it: what `rclone config` wrote here."""
    home = Path.home()
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    usual = (folder / "rclone" / "rclone.conf", home / ".rclone.conf")
    return next(({"RCLONE_CONFIG": str(path)} for path in usual if path.is_file()), {})


def _own_faults(known: Mapping[str, str]) -> tuple[str, ...]:
    page = Reader(known)
    if known.get("PAGE_PORT") != NO_PAGE:
        page_settings(page)
    try:
        settings_from({"REDIS_URL": "redis://not-started", **known}, executor=LOCAL)
    except BadSettings as exc:
        return (*exc.faults, *page.faults)
    return tuple(page.faults)


def _faults_of_runs(known: Mapping[str, str]) -> list[str]:
    """Return what the job's program finds wrong in its settings."""
    environment = {**os.environ, **known, "LOG_FORMAT": "text"}
    ended = subprocess.run(
        [*PROGRAM, "check"], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = ended.stdout.splitlines() if ended.returncode else []
    return [line.partition("[ERROR] ")[2] for line in lines if "[ERROR] " in line] or lines


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Misconfigured(
                f"Another `course-runner local` is using {state}.",
                advice="Stop that one, or give this one another --state.",
            ) from exc
        yield
