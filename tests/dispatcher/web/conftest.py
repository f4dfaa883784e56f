"""A dispatcher at work with its page, and a real Chromium to look at it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from playwright.sync_api import Page as Tab

from contract.env import Secret
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from tests.dispatcher.town import QUEUE, Town
from tests.dispatcher.web.browser import LIMIT, Open, pass_of, progress
from tests.dispatcher.web.page_process import TOKEN, Page
from tests.services import absent, until

LIMITS = Limits(max_active=3, keep_completed=300, min_age=60)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def place(valkey9: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Page]]:
    """One dispatcher and one page for a module: each test uses tasks of its own."""
    with redis.Redis.from_url(valkey9) as client:
        client.flushdb()  # of this database alone: another holds the crowd
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. While it is there, this thread can have no other event loop."""
    program = shutil.which("chromium") or absent("Chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_(chromium: Browser, page: Page) -> Iterator[Open]:
    """Opens a view in a fresh browser; whatever its console complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(path: str, *, act: bool = False, where: Page = page, **options: Any) -> Tab:
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        context.set_default_timeout(LIMIT)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda m: complaints.append(m.text) if _is_ours(m.text) else None)
        if act:
            name, value = pass_of(where)
            context.add_cookies([{"name": name, "value": value, "url": where.url}])
        tab.goto(where.url + path)
        return tab

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def _is_ours(text: str) -> bool:
    """What the browser says of a line that ended is no complaint about the page."""
    return "Content Security Policy" in text or "Uncaught" in text


@pytest.fixture(scope="module")
def lives(place: tuple[Town, Page]) -> Town:
    """Tasks of every kind."""
    town, page = place
    town.push(1, {"1": "hold"}, email="ann@example.com")
    town.push(2, {"1": "exit 65"}, email="bob@example.com")
    town.push(3)
    town.until_stand(2, Stand.FAILED)
    town.until_stand(3, Stand.DONE)
    town.until(lambda: town.starts(1), "one runs")
    town.store.write("1", progress(40.0, 400_000_000))
    until(lambda: page.get("/api/v1/tasks?state=failed").json()["total"] >= 1, "the page sees it")
    return town


@pytest.fixture
def life(lives: Town, town: Town) -> Town:
    """The same, with nothing in the way from the test before."""
    return lives


MANY = 10_000


@pytest.fixture(scope="module")
def crowd(valkey9: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on ten thousand tasks of its own Redis database, as a dispatcher at work leaves it."""
    url = valkey9.removesuffix("0") + "3"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        fill(client)
    store = Store(connect(Secret(url)), QUEUE, "dispatcher-1", 3600.0)
    store.beat()
    store.say_state({"active": 1000, "max_active": 1000, "at": time.time()})
    page = Page(tmp_path_factory.mktemp("crowd"), url)
    page.ready()
    yield page
    assert page.stop() == 0


def fill(client: redis.Redis) -> None:
    """Write them as dispatcher and runs would."""
    states = ("running", "waiting", "failed", *("completed",) * 7)
    pipe, now = client.pipeline(transaction=False), time.time()
    for number in range(MANY):
        status = states[number % len(states)]
        percent = 100.0 if status == "completed" else number % 97
        fields = {
            **progress(percent, number * 1000),
            "status": status,
            "attempt": "1",
            "message": "The access token has expired." if status == "failed" else "",
            "email": f"user{number % 50}@example.com",
            "course": f"https://courses.example/course/course-{number}/",
            "updated": f"{now - number * 1.2:.3f}",
        }
        pipe.hset(f"course-runner:task:{number}", mapping=fields)
    pipe.execute()
