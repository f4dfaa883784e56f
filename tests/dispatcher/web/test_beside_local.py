"""The page beside `course-runner local`: told of, reachable, and gone when that one is."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import requests

from tests.dispatcher.test_run_locally import GOOD, LIMIT, PROGRAM, ask, dispatching, until
from tests.services import BOUND_TO_US

ADDRESS = re.compile(r"The page is at (http://127\.0\.0\.1:(\d+)/)")


def address_in(log: Path) -> str:
    """The address that the log tells."""
    until(lambda: ADDRESS.search(log.read_text()), "the page's address is told")
    found = ADDRESS.search(log.read_text())
    assert found is not None
    return found[1]


def answers(address: str) -> bool:
    """Whether somebody answers there."""
    try:
        return requests.get(f"{address}healthz", timeout=LIMIT).ok
    except requests.ConnectionError:
        return False


def test_its_address_is_told_and_it_shows_what_is_ordered(tmp_path: Path) -> None:
    with dispatching(tmp_path, GOOD) as log:
        address = address_in(log)
        assert ask(tmp_path, GOOD, "enqueue", "9", "https://c.example/course/x/").returncode == 0
        tasks = f"{address}api/v1/tasks?search=9"
        until(lambda: requests.get(tasks, timeout=LIMIT).json().get("total"), "it is shown")
        detail = f"{address}api/v1/tasks/9"
        until(lambda: requests.get(detail, timeout=LIMIT).json()["log"], "its log is shown")
        assert str(tmp_path) not in requests.get(detail, timeout=LIMIT).json()["why"]
    assert not answers(address)


def test_it_ends_with_a_dispatcher_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "local.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [PROGRAM, "local"],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), **GOOD},
            stdout=out,
            stderr=out,
        )
    address = address_in(log)
    until(lambda: answers(address), "it answers")
    process.send_signal(signal.SIGKILL)
    process.wait(LIMIT)
    until(lambda: not answers(address), "the page is gone")


def test_two_that_begin_together_both_have_a_page_and_end_in_order(
    tmp_path: Path, valkey9: str
) -> None:
    """None has chosen a port, so the later takes another; told to stop, each ends with 0."""
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    pages = [start_page(log, valkey9) for log in logs]
    try:
        addresses = {address_in(log) for log in logs}
        assert len(addresses) == 2
        assert all(map(answers, addresses))
    finally:
        for page in pages:
            page.send_signal(signal.SIGTERM)
    for page, log in zip(pages, logs, strict=True):
        with page:
            assert page.wait(LIMIT) == 0, log.read_text()


def start_page(log: Path, redis_url: str) -> subprocess.Popen[bytes]:
    """A page as `course-runner local` starts it."""
    with log.open("w") as out:
        return subprocess.Popen(
            [*BOUND_TO_US, PROGRAM, "page", "--until-eof"],
            cwd=log.parent,
            env={"HOME": str(log.parent), **GOOD, "REDIS_URL": redis_url, "EXECUTOR": "local"},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )


def test_port_0_is_no_page(tmp_path: Path) -> None:
    """Then its other settings are nobody's business."""
    with dispatching(tmp_path, {**GOOD, "PAGE_PORT": "0", "PAGE_HOST": "0.0.0.0"}) as log:
        pass
    assert "The page is at" not in log.read_text()


def test_a_port_that_somebody_has_is_told_and_keeps_nothing_from_running(tmp_path: Path) -> None:
    """The port was chosen, so no other is taken in its place."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with dispatching(tmp_path, {**GOOD, "PAGE_PORT": port}) as log:
            until(lambda: f"PAGE_PORT={port} cannot be listened on" in log.read_text(), "told")


def test_faults_of_the_page_are_told_with_all_others(tmp_path: Path) -> None:
    settings = {**GOOD, "PAGE_HOST": "0.0.0.0", "MAX_ACTIVE": "none", "PAGE_PORT": "x"}
    ended = ask(tmp_path, settings, "local")
    assert ended.returncode == 64
    named = {line.split()[1] for line in ended.stderr.splitlines()}
    assert named == {"MAX_ACTIVE", "PAGE_PORT", "OPERATOR_TOKEN"}
