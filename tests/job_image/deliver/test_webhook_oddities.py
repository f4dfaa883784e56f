"""Receivers that answer without an end or not at all; settings that are worth a warning."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from contract.errors import NotDelivered
from job_image.webhook import WebhookRefused, deliver, warn
from tests.job_image.deliver.run import Runs
from tests.job_image.deliver.webhook_sender import EVENT, KEY, SECRET, sender


class Dripping(http.server.BaseHTTPRequestHandler):
    """Answers with the status of the path, and a body that comes byte by byte without an end."""

    def do_POST(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def dripping() -> Iterator[str]:
    """URL of a server whose answers never end."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_body_without_end_delays_no_success(runs: Runs, dripping: str) -> None:
    run = sender(runs, f"{dripping}/200", WEBHOOK_TIMEOUT="30s")
    start = time.monotonic()
    deliver(run.context(), EVENT)
    assert time.monotonic() - start < 15


def test_a_refusal_without_end_is_read_no_longer_than_a_try(runs: Runs, dripping: str) -> None:
    run = sender(runs, f"{dripping}/400", WEBHOOK_TIMEOUT="500ms")
    start = time.monotonic()
    with pytest.raises(WebhookRefused, match="answered 400"):
        deliver(run.context(), EVENT)
    assert time.monotonic() - start < 8


def test_a_silent_listener_is_given_up(runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        run = sender(runs, url, WEBHOOK_TIMEOUT="200ms", WEBHOOK_TRIES="0")
        with pytest.raises(NotDelivered, match=r"nothing came within 0.2 s"):
            deliver(run.context(), EVENT)


# --- warnings -------------------------------------------------------------------------------------
def warned(runs: Runs, **settings: str) -> str:
    """What `warn` says to these settings."""
    run = runs(**{"WEBHOOK_URL": "https://backend.example/hook", **settings})
    warn(run.context())
    return run.log


def test_one_key_for_both_is_warned_about(runs: Runs) -> None:
    assert "WEBHOOK_SIGNING_KEY is not set" in warned(runs, API_SECRET_KEY=SECRET)


def test_two_keys_are_not_warned_about(runs: Runs) -> None:
    assert warned(runs, API_SECRET_KEY=SECRET, WEBHOOK_SIGNING_KEY=KEY) == ""


def test_one_key_that_is_not_sent_is_not_warned_about(runs: Runs) -> None:
    assert warned(runs, API_SECRET_KEY=SECRET, WEBHOOK_BODY_SECRET="false") == ""


@pytest.mark.parametrize(
    ("host", "open_"),
    [
        ("backend.example", True),
        ("8.8.8.8", True),
        ("[2001:4860:4860::8888]", True),
        ("127.0.0.1:8080", False),
        ("10.1.2.3", False),
        ("[::1]", False),
        ("localhost:3000", False),
        ("backend", False),
        ("backend.shop.svc", False),
        ("backend.shop.svc.cluster.local", False),
    ],
)
def test_a_secret_on_an_open_road_is_warned_about(runs: Runs, host: str, open_: bool) -> None:
    settings = {"API_SECRET_KEY": SECRET, "WEBHOOK_SIGNING_KEY": KEY}
    assert ("Use https" in warned(runs, WEBHOOK_URL=f"http://{host}/hook", **settings)) == open_
