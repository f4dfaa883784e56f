"""Each view in a real browser: by the rules of axe-core, by keyboard, on a phone, live."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.dispatcher.own_redis import OwnRedis
from tests.dispatcher.town import QUEUE, Town
from tests.dispatcher.web.browser import LIMIT, Open, progress, violations
from tests.dispatcher.web.page_process import Page

VIEWS = ("/", "/tasks", "/task?id=2", "/volumes", "/dead", "/settings", "/doctor", "/login")


# --- each view ------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", VIEWS)
def test_no_view_breaks_a_rule_of_accessibility(life: Town, open_: Open, path: str) -> None:
    """All rules in light, and in dark those that colours can break."""
    life.raw.lpush(QUEUE, "no order")
    life.until(lambda: life.store.dead_count(), "a letter is dead")
    tab = open_(path, act=path != "/login", color_scheme="light")
    for more in tab.locator("summary").all():
        more.click()
    assert violations(tab) == []
    tab.emulate_media(color_scheme="dark")
    assert violations(tab, {"runOnly": {"type": "rule", "values": ["color-contrast"]}}) == []


def test_on_a_phone_nothing_runs_out_of_the_screen(life: Town, open_: Open) -> None:
    tab = open_("/", act=True, viewport={"width": 360, "height": 740})
    for path in VIEWS:
        tab.goto(tab.url.split("?")[0].rsplit("/", 1)[0] + path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_the_keyboard_reaches_the_content_and_every_hand(life: Town, open_: Open) -> None:
    tab = open_("/task?id=2", act=True)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "To the content"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    names = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        names.append(tab.evaluate("document.activeElement.textContent.trim()"))
    assert {"Retry", "Pin", "Cancel…", "Forget…"} <= set(names)


def test_the_page_is_whole_without_script(life: Town, open_: Open) -> None:
    tab = open_("/tasks", java_script_enabled=False)
    expect(tab.get_by_role("row", name=re.compile("^2 "))).to_contain_text("failed")
    tab.get_by_label("Search").fill("bob")
    tab.get_by_role("button", name="Show").click()
    expect(tab.locator("tbody tr")).to_have_count(1)


# --- live -----------------------------------------------------------------------------------------
def test_progress_moves_without_a_reload(life: Town, open_: Open) -> None:
    tab = open_("/task?id=1")
    tab.evaluate("window.mine = 1")
    life.store.write("1", progress(41.0, 410_000_000))
    expect(tab.locator("#task")).to_contain_text("41.0 %", timeout=LIMIT)
    life.store.write("1", progress(62.5, 625_000_000))
    expect(tab.locator("#task")).to_contain_text("62.5 %", timeout=LIMIT)
    expect(tab.locator("#task")).to_contain_text("left", timeout=LIMIT)
    assert tab.evaluate("window.mine") == 1


def test_what_somebody_types_and_where_they_are_stays_through_updates(
    life: Town, open_: Open
) -> None:
    tab = open_("/task?id=1", act=True)
    tab.get_by_text("Cancel…", exact=True).click()
    tab.get_by_role("link", name="All tasks").focus()
    life.store.write("1", progress(63.0, 630_000_000))
    expect(tab.locator("#task")).to_contain_text("63.0 %", timeout=LIMIT)
    expect(tab.get_by_role("button", name="Yes, cancel", exact=True)).to_be_visible()
    assert tab.evaluate("document.activeElement.textContent") == "All tasks"


def test_a_new_order_shows_up_in_an_open_list(life: Town, open_: Open) -> None:
    life.store.pause("a new order is to be seen")
    tab = open_("/tasks?state=queued&search=late")
    expect(tab.locator("#tasks")).to_contain_text("No task fits")
    life.push("late-1")
    expect(tab.locator("tbody")).to_contain_text("late-1", timeout=LIMIT)


def test_an_answer_that_is_an_error_is_told_and_keeps_what_is_shown(
    life: Town, open_: Open
) -> None:
    """Such as of a page that is too busy: what is on the screen is old from then on."""

    def busy(route: Route) -> None:
        live = "x-live" in route.request.headers
        route.fulfill(status=503, body="Come again.") if live else route.continue_()

    tab = open_("/tasks?search=ann")
    tab.route("**/tasks?**", busy)
    life.store.write("1", progress(64.0, 640_000_000))
    expect(tab.locator("#lost")).to_be_visible(timeout=LIMIT)
    expect(tab.locator("tbody tr")).to_have_count(1)


def test_redis_away_is_told_since_when_and_passes_by_itself(tmp_path: Path, open_: Open) -> None:
    own = OwnRedis(tmp_path / "redis")
    own.start()
    page = Page(tmp_path, own.url)
    page.ready()
    tab = open_("/tasks", where=page)
    expect(tab.locator("#tasks")).to_contain_text("No tasks are known")
    own.stop()
    banner = tab.locator("#banner")
    expect(banner).to_contain_text(re.compile(r"Redis unreachable since \d\d:\d\d"), timeout=LIMIT)
    assert violations(tab) == []
    own.start()
    expect(banner).not_to_contain_text("Redis unreachable", timeout=LIMIT)
    assert page.stop() == 0
    expect(tab.locator("#lost")).to_be_visible(timeout=LIMIT)
    own.stop()
