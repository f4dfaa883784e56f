"""Who may look and who may act; what other sites can do: nothing."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from contract.env import Secret
from dispatcher.page_settings import PageSettings
from dispatcher.web.gate import GUESSERS, WRONG, Doorman
from tests.dispatcher.town import Town
from tests.dispatcher.web.page_process import TOKEN, Page
from tests.services import until

FORM = {"action": "pause", "why": "mischief", "next": "/"}


def signed_in(page: Page) -> tuple[requests.Session, str]:
    """A browser with a session, and that session's form word."""
    browser = requests.Session()
    answer = browser.post(f"{page.url}/login", {"token": TOKEN, "next": "/"}, timeout=60)
    assert answer.status_code == 200
    word = re.search(r'name="word" value="([^"]+)"', answer.text)
    assert word is not None
    return browser, word[1]


def test_without_a_token_the_page_is_read_only(town: Town, tmp_path: Path) -> None:
    page = Page(tmp_path, town.url)
    page.ready()
    assert "Read-only" in page.get("/").text
    assert 'action="/do"' not in page.get("/").text
    assert page.act("/pause", token="").status_code == 401
    answer = requests.post(f"{page.url}/login", {"token": ""}, timeout=60)
    assert answer.status_code == 403
    assert page.stop() == 0
    assert town.store.paused() == {}


def test_beyond_this_machine_it_does_not_begin_without_a_token(town: Town, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dispatcher.cli", "page"],
        env={
            "PATH": "/usr/bin",
            "PYTHONPATH": str(Path.cwd()),
            "REDIS_URL": town.url,
            "PAGE_HOST": "0.0.0.0",
            "PAGE_PORT": "0",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 64
    assert "OPERATOR_TOKEN" in ended.stderr
    assert "PAGE_HOST=0.0.0.0" in ended.stderr


def test_beyond_this_machine_nobody_sees_anything_without_the_token(
    town: Town, tmp_path: Path
) -> None:
    page = Page(tmp_path, town.url, OPERATOR_TOKEN=TOKEN, PAGE_HOST="0.0.0.0")
    page.url = page.url.replace("0.0.0.0", "127.0.0.1")
    until(lambda: page.get("/healthz").status_code == 200, "it answers")
    for path in ("/", "/tasks", "/task?id=1", "/dead", "/settings", "/live"):
        answer = page.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login"), path
    for path in ("/overview", "/tasks", "/settings", "/openapi.json"):
        assert page.get(f"/api/v1{path}").status_code == 401, path
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert page.get("/api/v1/settings", headers=bearer).status_code == 200
    browser, _ = signed_in(page)
    assert browser.get(f"{page.url}/tasks", timeout=60).status_code == 200
    assert page.stop() == 0


def test_a_name_that_leads_here_from_elsewhere_is_not_answered(page: Page) -> None:
    """A web site could give its own name this machine's address, and read along."""
    for path in ("/", "/api/v1/tasks", "/static/page.css"):
        answer = page.get(path, headers={"Host": "rebound.example"})
        assert answer.status_code == 421, path
    assert page.get("/", headers={"Host": "localhost:9"}).status_code == 200


def raw(page: Page, *lines: bytes) -> int:
    """The code that answers a request of these very lines."""
    where = urlsplit(page.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as line:
        line.sendall(b"\r\n".join((*lines, b"Connection: close", b"", b"")))
        return int(line.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("host", [b"127.0.0.1/static", b"127.0.0.1/static/?", b"127.0.0.1/login#"])
def test_a_host_that_holds_a_path_opens_no_door(town: Town, tmp_path: Path, host: bytes) -> None:
    """What is judged is the path that is served, not an address that the client composes."""
    page = Page(tmp_path, town.url, OPERATOR_TOKEN=TOKEN, PAGE_HOST="0.0.0.0")
    page.url = page.url.replace("0.0.0.0", "127.0.0.1")
    until(lambda: page.get("/healthz").status_code == 200, "it answers")
    for path, code in ((b"/settings", 303), (b"/api/v1/settings", 401)):
        assert raw(page, b"GET %s HTTP/1.1" % path, b"Host: %s" % host) == code, path
    assert page.stop() == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((b"GET / HTTP/1.1", b"Host: ["), 421),
        ((b"GET / HTTP/1.1", b"Host: \xff"), 421),
        ((b"POST /login HTTP/1.1", b"Host: localhost", b"Origin: http://["), 403),
        ((b"GET /tasks?search=\xff HTTP/1.1", b"Host: localhost"), 400),
        ((b"GET /task?id=%ff HTTP/1.1", b"Host: localhost"), 404),
        ((b"GET /\xff HTTP/1.1", b"Host: localhost"), 400),
        ((b"GET /%ff HTTP/1.1", b"Host: localhost"), 404),
    ],
)
def test_what_no_browser_sends_is_refused_and_no_error_of_ours(
    page: Page, lines: tuple[bytes, ...], code: int
) -> None:
    assert raw(page, *lines) == code
    assert "Traceback" not in page.lines()


def test_acting_needs_the_very_session_s_word(town: Town, page: Page) -> None:
    browser, word = signed_in(page)
    for wrong in ({}, {"word": "x"}, {"word": signed_in(page)[1]}):
        answer = browser.post(f"{page.url}/do", {**FORM, **wrong}, timeout=60)
        assert answer.status_code == 403
    assert town.store.paused() == {}
    answer = browser.post(f"{page.url}/do", {**FORM, "word": word}, timeout=60)
    assert "Intake is paused" in answer.text
    assert town.store.paused()["why"] == "mischief"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_forms_of_other_sites_are_refused_even_with_cookie_and_word(
    town: Town, page: Page, headers: dict[str, str]
) -> None:
    browser, word = signed_in(page)
    form = {**FORM, "word": word}
    answer = browser.post(f"{page.url}/do", form, headers=headers, timeout=60)
    assert answer.status_code == 403
    assert town.store.paused() == {}


def test_the_api_acts_for_a_token_and_never_for_a_cookie(town: Town, page: Page) -> None:
    browser, _ = signed_in(page)
    answer = browser.post(f"{page.url}/api/v1/pause", timeout=60)
    assert answer.status_code == 401
    assert page.act("/pause", token="wrong-but-long-enough").status_code == 401
    assert town.store.paused() == {}
    assert page.act("/pause").status_code == 200
    assert town.store.paused() != {}


def test_the_cookie_is_for_this_page_alone(page: Page) -> None:
    answer = requests.post(f"{page.url}/login", {"token": TOKEN}, timeout=60, allow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie


def test_signing_out_ends_the_session_on_the_server(page: Page) -> None:
    browser, word = signed_in(page)
    kept = dict(browser.cookies)
    browser.post(f"{page.url}/logout", {"word": word}, timeout=60)
    answer = requests.post(f"{page.url}/do", {**FORM, "word": word}, cookies=kept, timeout=60)
    assert answer.url.startswith(f"{page.url}/login")


def test_after_many_wrong_tokens_even_the_right_one_waits(town: Town, tmp_path: Path) -> None:
    page = Page(tmp_path, town.url, OPERATOR_TOKEN=TOKEN)
    for _ in range(10):
        assert page.act("/resume", token="guess-guess-guess-").status_code in (401, 429)
    assert page.act("/resume").status_code == 429
    with requests.Session() as elsewhere:  # whoever guesses there shuts nobody out here
        elsewhere.mount("http://", From("127.0.0.2"))
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{page.url}/api/v1/pause"
        assert elsewhere.post(url, headers=bearer, timeout=60).status_code == 200
    assert page.stop() == 0


class From(HTTPAdapter):
    """Connects from another address of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *words: Any, **options: Any) -> None:
        """Bind each connection."""
        super().init_poolmanager(*words, source_address=(self._address, 0), **options)


def test_the_addresses_that_are_counted_are_bounded() -> None:
    """Whoever was quiet longest is forgotten, and nobody else."""
    doorman = Doorman(PageSettings("127.0.0.1", 0, Secret(TOKEN)), lambda: 0.0)
    for _ in range(WRONG):
        doorman.right("wrong", "first")
        doorman.right("wrong", "second")
    doorman.right("wrong", "first")  # is not looked at, and so is not counted
    for number in range(GUESSERS - 1):
        doorman.right("wrong", f"other-{number}")
    assert (doorman.tired("first"), doorman.tired("second")) == (False, True)


@pytest.mark.parametrize("going", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_signing_in_leads_to_this_page_alone(page: Page, going: str) -> None:
    answer = requests.post(
        f"{page.url}/login", {"token": TOKEN, "next": going}, timeout=60, allow_redirects=False
    )
    assert answer.headers["location"] == "/"


def test_every_answer_forbids_scripts_and_frames_of_others(page: Page) -> None:
    for path in ("/", "/nothing", "/api/v1/overview", "/static/live.js", "/login"):
        policy = page.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert "frame-ancestors 'none'" in policy, path


def test_a_body_beyond_the_limit_is_refused(page: Page) -> None:
    assert page.act("/tasks", data=b"x" * 200_000).status_code == 413


def test_words_of_an_order_are_text_and_never_markup(town: Town, page: Page) -> None:
    town.store.write("<script>alert(1)</script>", {"status": "failed", "message": "<b>bold</b>"})
    path = "/task?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    until(lambda: "bold" in page.get("/tasks").text, "it is seen")
    for text in (page.get("/tasks").text, page.get(path).text):
        assert "<script>alert" not in text
        assert "<b>bold" not in text
        assert "&lt;script&gt;" in text
