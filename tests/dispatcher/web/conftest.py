"""A dispatcher at work with its page, and a real Chromium to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import redis
from playwright.sync_api import Browser, sync_playwright

from dispatcher.settings import Limits
from tests.dispatcher.town import Town
from tests.dispatcher.web.page_process import TOKEN, Page
from tests.services import absent

LIMITS = Limits(max_active=3, keep_completed=300, min_age=60)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def place(valkey9: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Page]]:
    """One dispatcher and one page for a module: each test uses tasks of its own."""
    with redis.Redis.from_url(valkey9) as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("place")
    made = Town(valkey9, folder, LIMITS)
    made.start()
    page = Page(folder, valkey9, OPERATOR_TOKEN=TOKEN)
    page.ready()
    yield made, page
    code = page.stop()
    made.leave()
    assert code == 0, page.lines()


@pytest.fixture
def town(place: tuple[Town, Page]) -> Iterator[Town]:
    """A dispatcher at work, with nothing in its way from the test before."""
    made, _ = place
    yield made
    made.store.resume()
    for letter in made.store.letters():
        made.store.drop(letter)


@pytest.fixture
def page(place: tuple[Town, Page]) -> Page:
    """Its page, ready, for whoever has the token."""
    return place[1]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium") or absent("Chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()
