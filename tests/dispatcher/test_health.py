"""The two checks over real HTTP: they say what ails, and never more than is true."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import requests

from contract.errors import Misconfigured
from dispatcher.health import STUCK, Health, stuck


class Ailing:
    """Something to be well or ill."""

    def __init__(self) -> None:
        self.trouble = ""

    def check(self) -> str:
        """What ails."""
        return self.trouble


@pytest.fixture
def patient() -> Ailing:
    """What is asked."""
    return Ailing()


@pytest.fixture
def health(patient: Ailing) -> Iterator[str]:
    """Address of a running server."""
    server = Health("127.0.0.1", 0, {"/healthz": lambda: "", "/readyz": patient.check})
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()


def test_what_is_well_answers_200(health: str) -> None:
    answer = requests.get(f"{health}/readyz?verbose", timeout=5)
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_what_ails_answers_503_with_the_reason(health: str, patient: Ailing) -> None:
    patient.trouble = "Redis cannot be used: connection refused."
    answer = requests.get(f"{health}/readyz", timeout=5)
    assert (answer.status_code, answer.text) == (503, patient.trouble + "\n")
    assert requests.get(f"{health}/healthz", timeout=5).status_code == 200
    patient.trouble = ""
    assert requests.get(f"{health}/readyz", timeout=5).status_code == 200


def test_any_other_path_names_those_there_are(health: str) -> None:
    answer = requests.get(f"{health}/metrics", timeout=5)
    assert answer.status_code == 404
    assert "/healthz, /readyz" in answer.text


def test_checks_are_not_written_to_the_log(health: str, capfd: pytest.CaptureFixture[str]) -> None:
    requests.get(f"{health}/readyz", timeout=5)
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"HEALTH_PORT={port}") as caught:
            Health("127.0.0.1", port, {})
    assert "HEALTH_PORT" in caught.value.advice


def test_a_loop_is_stuck_when_no_turn_has_ended_for_long() -> None:
    now = time.monotonic()
    assert stuck(now - 1, now - 1000) == ""
    assert "turn" in stuck(now - STUCK - 1, now - 1000)


def test_a_loop_whose_first_turn_hangs_is_stuck_too() -> None:
    now = time.monotonic()
    assert stuck(0.0, now - 1) == ""
    assert "turn" in stuck(0.0, now - STUCK - 1)
