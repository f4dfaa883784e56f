"""What tests in a browser share: how to open a view, sign in, and ask axe-core."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from dispatcher.web.gate import cookie_of
from tests.dispatcher.web.page_process import TOKEN, Page

LIMIT = 30_000
"""Milliseconds until a wait in the browser is a failure."""

AXE = Path(__file__).parent / "vendor/axe-core/axe.min.js"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

Open = Callable[..., Tab]


def sign_in(tab: Tab, url: str) -> None:
    """Sign in as a person does."""
    tab.goto(f"{url}/login")
    tab.get_by_label("Operator's token").fill(TOKEN)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("button", name="Sign out")).to_be_visible(timeout=LIMIT)


def pass_of(page: Page) -> tuple[str, str]:
    """A session's cookie, name and value; that people can sign in by hand has its own test."""
    answer = requests.post(f"{page.url}/login", {"token": TOKEN}, allow_redirects=False, timeout=60)
    name = cookie_of(urlsplit(page.url).port or 0)
    return name, str(answer.cookies[name])


def violations(tab: Tab, rules: object = RULES) -> list[str]:
    """What axe-core finds amiss. It is run past the page's policy, which lets no script in."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE.read_text(encoding="utf-8") + "; undefined")
    found = tab.evaluate(f"axe.run(document, {json.dumps(rules)})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


def progress(percent: float, count: int) -> dict[str, str]:
    """An update as a run sends it."""
    return {
        "phase": "fetch",
        "percent": str(percent),
        "bytes": str(count),
        "total_bytes": "1000000000",
        "items_done": "12",
        "items_total": "31",
    }
