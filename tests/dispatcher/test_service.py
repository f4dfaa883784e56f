"""`python -m dispatcher` as a service: health over HTTP, signals, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import requests

from contract import names
from playground.proxy import Proxy
from tests.dispatcher.lossy import LossyProxy
from tests.services import free_port, until

QUEUE = "q:service"


@contextmanager
def dispatcher(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A running dispatcher of one machine; killed at the end of the block."""
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "EXECUTOR": "local"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dispatcher"],
        cwd=folder,
        env={**known, "QUEUE": QUEUE, "DISPATCHER_ID": "d1", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def url(redis7: str) -> str:
    """URL of an empty server."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    return redis7


def status(port: int, path: str) -> tuple[int, str]:
    """Status and text of a check; 0 while nobody listens."""
    try:
        answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=5)
    except requests.ConnectionError:
        return 0, ""
    return answer.status_code, answer.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_gets_ready_and_stops_within_seconds_when_told_to(
    url: str, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    with (
        redis.Redis.from_url(url) as client,
        dispatcher(tmp_path, REDIS_URL=url, HEALTH_PORT=str(port)) as process,
    ):
        until(lambda: status(port, "/readyz") == (200, "ok\n"), "it is ready", 30)
        assert status(port, "/healthz")[0] == 200
        assert client.exists(names.heartbeat_key(QUEUE, "d1"))
        started = time.monotonic()
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert time.monotonic() - started < 10
        assert not client.exists(names.heartbeat_key(QUEUE, "d1"))  # others may adopt at once
        assert "[CHECK] The dispatcher has stopped. Runs go on." in out


def test_while_redis_is_away_it_is_healthy_and_not_ready_and_says_why(
    url: str, tmp_path: Path
) -> None:
    port = free_port()
    with LossyProxy(url) as proxy:
        settings = {"REDIS_URL": proxy.url, "HEALTH_PORT": str(port)}
        with dispatcher(tmp_path, **settings):
            until(lambda: status(port, "/readyz")[0] == 200, "it is ready", 30)
            proxy.lose = {b"LMOVE", b"EVAL", b"LRANGE", b"SMEMBERS", b"SET", b"XADD"}
            until(lambda: status(port, "/readyz")[0] == 503, "it is not ready", 30)
            code, text = status(port, "/readyz")
            assert (code, text.split(":")[0]) == (503, "Redis cannot be used")
            assert status(port, "/healthz")[0] == 200  # a restart would not bring Redis back
            proxy.lose = set()
            until(lambda: status(port, "/readyz")[0] == 200, "it is ready again", 30)


def test_it_ends_in_time_while_redis_hangs(url: str, tmp_path: Path) -> None:
    """An answer is waited for 10 s, and saying good-bye would take as long again."""
    port, parts = free_port(), urlsplit(url)
    with Proxy((parts.hostname or "", parts.port or 0)) as proxy:
        through = f"redis://{proxy.host}:{proxy.port}{parts.path}"
        with dispatcher(tmp_path, REDIS_URL=through, HEALTH_PORT=str(port)) as process:
            until(lambda: status(port, "/readyz")[0] == 200, "it is ready", 30)
            proxy.freeze()
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
            assert time.monotonic() - started < 10
    assert process.returncode == 0, out
    assert "What was under way did not end within 8 s and is left; runs go on." in out


def test_after_a_turn_that_failed_it_says_no_good_bye(url: str, tmp_path: Path) -> None:
    """What did not answer to the turn would be waited for once more."""
    port, parts = free_port(), urlsplit(url)
    with Proxy((parts.hostname or "", parts.port or 0)) as proxy:
        through = f"redis://{proxy.host}:{proxy.port}{parts.path}?socket_timeout=2"
        with dispatcher(tmp_path, REDIS_URL=through, HEALTH_PORT=str(port)) as process:
            until(lambda: status(port, "/readyz")[0] == 200, "it is ready", 30)
            proxy.freeze()
            until(lambda: status(port, "/readyz")[0] == 503, "a turn failed", 30)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert "The dispatcher has stopped. Runs go on." in out
    assert "Others adopt" not in out  # the words for a good-bye that failed


def test_a_port_that_is_taken_ends_it_with_a_word(url: str, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with dispatcher(tmp_path, REDIS_URL=url, HEALTH_PORT=str(port)) as process:
            out, _ = process.communicate(timeout=30)
    assert process.returncode == 64
    assert f"HEALTH_PORT={port}" in out
    assert "Traceback" not in out


def test_no_secret_is_logged(url: str, tmp_path: Path) -> None:
    secrets = {"API_SECRET_KEY": "hidden-api-key", "PLATFORM_TOKEN": "hidden-token"}
    with_password = url.replace("redis://", "redis://nobody:hidden-password@")
    with dispatcher(tmp_path, REDIS_URL=with_password, HEALTH_PORT="0", **secrets) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.terminate()
        lines += process.stdout.readlines()
    assert "Redis cannot be used" in "".join(lines)  # the server knows no such user
    assert "hidden" not in "".join(lines)


def test_keeping_less_than_the_age_floor_is_said_at_start(url: str, tmp_path: Path) -> None:
    with dispatcher(tmp_path, REDIS_URL=url, HEALTH_PORT="0", KEEP_COMPLETED="5s") as process:
        assert process.stdout is not None
        assert "KEEP_COMPLETED is below REAP_MIN_AGE" in process.stdout.readline()
