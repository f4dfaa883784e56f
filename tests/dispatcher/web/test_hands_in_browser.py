"""Each hand as a person uses it: signed in, by buttons, with what came of it told on the page."""

from __future__ import annotations

from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from dispatcher.record import Stand
from tests.dispatcher.tasks import URL
from tests.dispatcher.town import QUEUE, Town
from tests.dispatcher.web.browser import LIMIT, Open, sign_in
from tests.dispatcher.web.page_process import Page
from tests.services import until


def test_without_signing_in_there_is_nothing_to_act_with(life: Town, open_: Open) -> None:
    for path in ("/", "/task?id=2", "/dead"):
        tab = open_(path)
        assert tab.locator("form[action='/do']").count() == 0, path
    tab.get_by_role("link", name="Sign in to act").click()
    tab.get_by_label("Operator's token").fill("not-the-token-at-all")
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("alert")).to_contain_text("not the operator's token")
    sign_in(tab, tab.url.rsplit("/", 1)[0])


def test_a_course_is_ordered_from_the_overview(life: Town, open_: Open) -> None:
    tab = open_("/", act=True)
    tab.get_by_text("Order a course…").click()
    tab.get_by_label("Task id").fill("77")
    tab.get_by_label("Address of the course").fill(URL)
    tab.get_by_label("Account (email)").fill("eve@example.com")
    tab.get_by_role("button", name="Order", exact=True).click()
    expect(tab.get_by_role("alert")).to_contain_text("Task 77 is in the queue")
    life.until_stand(77, Stand.DONE)
    assert life.journal("start", 77)[0]["message"]["email"] == "eve@example.com"


def test_intake_is_paused_and_resumed(life: Town, open_: Open) -> None:
    tab = open_("/", act=True)
    tab.get_by_label("Reason").fill("the disk is changed")
    tab.get_by_role("button", name="Pause intake").click()
    expect(tab.locator("#overview")).to_contain_text("the disk is changed", timeout=LIMIT)
    assert life.store.paused()["why"] == "the disk is changed"
    tab.reload()
    tab.get_by_role("button", name="Resume intake").click()
    expect(tab.get_by_role("alert")).to_contain_text("Intake goes on")
    assert life.store.paused() == {}


def test_a_task_is_pinned_unpinned_retried_cancelled_and_forgotten(
    life: Town, page: Page, open_: Open
) -> None:
    life.push(50, {"1": "exit 65", "3": "hold"})
    life.until_stand(50, Stand.FAILED)
    until(lambda: page.get("/task?id=50").status_code == 200, "the page knows it")
    tab = open_("/task?id=50", act=True)
    for button, told in (("Pin", "is pinned"), ("Unpin", "no longer pinned"), ("Retry", "retried")):
        until(lambda name=button: shows(tab, name), f"{button} is offered")
        tab.get_by_role("button", name=button, exact=True).click()
        expect(tab.get_by_role("alert")).to_contain_text(told)
    life.until(lambda: ("run", 3) in life.starts(50), "it runs again")
    for name, told in (("Cancel", "is cancelled"), ("Forget", "removed")):
        if name == "Forget":
            life.until(lambda: life.stand(50) is Stand.FAILED, "that has been passed on")
        tab.get_by_text(f"{name}…", exact=True).click()
        tab.get_by_role("button", name=f"Yes, {name.lower()}", exact=True).click()
        expect(tab.get_by_role("alert")).to_contain_text(told)
    life.until(lambda: life.holding(50) is None, "its volume is gone")


def shows(tab: Tab, button: str) -> bool:
    """Whether the page, loaded again, offers a button."""
    tab.reload()
    return tab.get_by_role("button", name=button, exact=True).count() == 1


def test_a_queued_task_is_cancelled_and_forgotten_in_one(
    life: Town, page: Page, open_: Open
) -> None:
    life.push(51, {"1": "hold"})
    life.until(lambda: life.starts(51), "it runs")
    until(lambda: page.get("/task?id=51").status_code == 200, "the page knows it")
    tab = open_("/task?id=51", act=True)
    tab.get_by_text("Cancel and forget…").click()
    tab.get_by_role("button", name="Yes, cancel and forget").click()
    expect(tab.get_by_role("alert")).to_be_visible()
    life.until(lambda: life.holding(51) is None, "its volume is gone")


def test_a_dead_letter_is_requeued_and_dropped(life: Town, open_: Open) -> None:
    life.raw.lpush(QUEUE, "neither one")
    life.until(lambda: life.store.dead_count() == 1, "it is dead")
    tab = open_("/dead", act=True)
    expect(tab.locator("article pre")).to_have_text("neither one")
    tab.get_by_role("button", name="Requeue").click()
    expect(tab.get_by_role("alert")).to_contain_text("is in the queue again")
    life.until(lambda: life.store.dead_count() == 1, "it is dead again")
    tab.goto(tab.url)
    tab.get_by_text("Drop…").click()
    tab.get_by_role("button", name="Yes, drop").click()
    expect(tab.get_by_role("alert")).to_contain_text("is dropped")
    assert life.store.dead_count() == 0
