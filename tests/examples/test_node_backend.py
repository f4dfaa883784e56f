"""The example backend in Node.js: its own tests, and the whole way with `course-runner local`.

The stage is the documented command itself, `try.sh`: a portal, course-runner and the backend, each
a process. Webhooks that nobody sent are signed here by the code that signs the real ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect, sync_playwright

from contract import webhook
from tests.services import absent, free_port, until

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLE = REPOSITORY / "examples" / "node-backend"
SECRET = "body-secret"
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LIMIT = 120.0


@pytest.fixture(scope="module")
def installed(node: str) -> Path:
    """The example with the packages that its lock pins; nothing is done when they are there."""
    if shutil.which("npm") is None:
        absent("npm")
    done = subprocess.run([EXAMPLE / "install.sh"], capture_output=True, text=True, timeout=200)
    if done.returncode != 0:  # an older Node.js, or no registry
        absent(f"what the example needs ({(done.stderr or done.stdout).strip()[-500:]})")
    return EXAMPLE


def test_the_lock_records_no_download_addresses() -> None:
    """It must serve a mirror as well as the public registry: names, versions, hashes."""
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    assert [name for name, said in packages.items() if "resolved" in said] == []
    assert [name for name, said in packages.items() if name and "integrity" not in said] == []


def test_what_is_installed_already_is_not_installed_again(installed: Path) -> None:
    """By the lock's content: the second time says and fetches nothing."""
    done = subprocess.run([installed / "install.sh"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_own_tests_pass(installed: Path, valkey9: str) -> None:
    """`node --test` with a real Redis and webhooks that the Python code has signed."""
    environment = {
        **os.environ,
        "TEST_REDIS_URL": valkey9.removesuffix("/0") + "/7",
        "PYTHON": sys.executable,
    }
    done = subprocess.run(
        ["npm", "test", "--silent"],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.findall(r"^\S+ pass (\d+)$", done.stdout, re.MULTILINE)[0]) >= 20
    assert re.findall(r"^\S+ skipped (\d+)$", done.stdout, re.MULTILINE) == ["0"]


def test_faults_of_its_settings_are_told_together(installed: Path, tmp_path: Path) -> None:
    """Each by name, before anything starts, with course-runner's own exit code."""
    environment = {"PATH": os.environ["PATH"], "PORT": "x", "STATE": str(tmp_path)}
    done = subprocess.run(
        ["node", "src/server.js"], cwd=installed, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 64
    named = [line.split()[1] for line in done.stderr.splitlines()]
    assert named == ["PORT", "API_SECRET_KEY", "REDIS_URL"]


# --- the whole way --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Stage:
    """Where the parts of a running try are."""

    backend: str
    portal: str
    folder: Path
    courses: dict[str, str]

    def order(self, course: str) -> str:
        """Order a course as a user does; returns the order's id."""
        answer = requests.post(f"{self.backend}/api/orders", json={"courseUrl": course}, timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def look(self, order: str) -> dict[str, Any]:
        """What the backend says of an order."""
        found: dict[str, Any] = requests.get(
            f"{self.backend}/api/orders/{order}", timeout=30
        ).json()
        return found

    def announce(self, event: webhook.Event, *, secret: str = SECRET, now: float = 0) -> Any:
        """Send a webhook, signed as course-runner signs."""
        payload, key = webhook.body(event, secret), webhook.signing_key(KEY)
        headers = webhook.headers(event, payload, key, now=int(now or time.time()))
        return requests.post(
            f"{self.backend}/webhook", data=payload, headers=dict(headers), timeout=30
        )

    def hold(self, on: str) -> None:
        """Let the portal send slowly enough for progress to show, on however many lines."""
        rules = [{"on": on, "do": "rate", "bytes_per_second": 100_000, "times": None}]
        requests.post(f"{self.portal}/_control/faults", json=rules, timeout=30).raise_for_status()

    def release(self) -> None:
        """Let it behave again: what is still under way slowly is taken over by faster lines."""
        requests.delete(f"{self.portal}/_control/faults", timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def stage(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """`try.sh`, until the tests of this module are through; then nothing of it may be left."""
    place, port = tmp_path_factory.mktemp("try"), free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "TMPDIR": str(place),
        "PORT": str(port),
        "API_SECRET_KEY": SECRET,
        "WEBHOOK_SIGNING_KEY": KEY,
    }
    log = place / "said"
    with log.open("w") as out:
        process = subprocess.Popen([installed / "try.sh"], env=environment, stdout=out, stderr=out)
    try:
        until(lambda: process.poll() is not None or "the page:" in log.read_text(), "it is up", 90)
        said = log.read_text()
        assert process.poll() is None, said
        folder = Path(re.findall(r"everything is in (\S+)", said)[0])
        courses = {
            url.rstrip("/").rpartition("/")[2]: url for url in re.findall(r"to order: (\S+)", said)
        }
        portal = re.findall(r"the portal: (\S+)", said)[0]
        yield Stage(f"http://127.0.0.1:{port}", portal, folder, courses)
    finally:
        process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
    assert ended == 0
    until(lambda: at_work_in(folder) == [], "nothing is left running")


def at_work_in(folder: Path) -> list[str]:
    """Processes whose working folder is below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            place = (entry / "cwd").readlink()
        except OSError:
            continue
        if place.is_relative_to(folder):
            found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


def test_a_course_ordered_from_the_backend_shows_progress_and_comes_to_its_end(
    stage: Stage,
) -> None:
    """Ordered by HTTP; running, with its percent, while the portal holds it; ended by webhook."""
    stage.hold("cdn:test-course/*")
    with requests.get(f"{stage.backend}/api/events", stream=True, timeout=LIMIT) as live:
        order = stage.order(stage.courses["test-course"])
        lines = (line for line in live.iter_lines(chunk_size=1) if line.startswith(b"data: "))
        heard = (json.loads(line.removeprefix(b"data: ")) for line in lines)
        moved = next(one for one in heard if float(one["progress"].get("percent", 0)) > 0)
    assert moved["id"] == order
    seen = stage.look(order)
    assert (seen["state"], seen["progress"]["status"]) == ("ordered", "running")
    assert seen["progress"]["phase"] == "fetch"
    assert 0 < float(seen["progress"]["percent"]) < 70

    stage.release()
    until(lambda: stage.look(order)["state"] == "completed", "the webhook has come", LIMIT)
    until(
        lambda: stage.look(order)["progress"]["status"] == "completed", "the board says so", LIMIT
    )
    done = stage.look(order)
    assert (done["folder"], done["webhooks"]) == ("test-course", "1")
    assert done["progress"]["percent"] == "100.0"
    assert list((stage.folder / "remote" / "test-course").rglob("*.mp4"))


def test_what_is_sent_again_or_forged_changes_nothing(stage: Stage) -> None:
    """The very event again is known; a replay after its time and a wrong secret are refused."""
    order = stage.order(stage.courses["short-course"])
    until(lambda: stage.look(order)["state"] == "completed", "the webhook has come", LIMIT)
    before = stage.look(order)
    real = webhook.Event(int(order), before["folder"], int(before["announced"]))
    again = stage.announce(real)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert stage.announce(real, now=time.time() - 3600).status_code == 401
    news = webhook.Event(int(order), "forged", 1)
    assert stage.announce(news, secret="guessed").status_code == 401
    assert stage.announce(news, now=time.time() + 3600).status_code == 401
    after = stage.look(order)
    assert (after["folder"], after["webhooks"]) == (before["folder"], "1")


def test_what_cannot_be_done_is_told_with_its_reason(stage: Stage) -> None:
    """A course that the account does not have: a failure event, signed like the others."""
    order = stage.order(stage.courses["short-course"].replace("short-course", "no-such-course"))
    until(lambda: stage.look(order)["state"] == "failed", "the failure is told", LIMIT)
    assert stage.look(order)["error"]


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of Debian's browser."""
    return shutil.which("chromium") or absent("chromium")


def test_the_page_orders_a_course_and_follows_it_to_the_end(stage: Stage, chromium: str) -> None:
    """In a real browser: the form, the row that appears, its bar, and the end; no errors."""
    faults: list[str] = []
    stage.hold("cdn:test-course/*")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(LIMIT * 1000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(stage.backend, wait_until="load")
        page.fill("[name=courseUrl]", stage.courses["test-course"])
        page.click("button")
        expect(page.locator("#said")).to_have_text(re.compile("^Order "), timeout=LIMIT * 1000)
        order = page.inner_text("#said").removeprefix("Order ")
        row = f"tr[data-order='{order}']"
        bar = expect(page.locator(f"{row} progress"))  # asks without eval, which the page forbids
        bar.not_to_have_js_property("value", 0, timeout=LIMIT * 1000)
        assert page.inner_text(f"{row} [data-cell=state]") == "ordered"
        assert "running · fetch" in page.inner_text(f"{row} [data-cell=doing]")
        stage.release()
        page.wait_for_selector(f"{row} [data-cell=state]:has-text('completed: test-course')")
        bar.to_have_js_property("value", 100, timeout=LIMIT * 1000)
        browser.close()
    assert faults == []
