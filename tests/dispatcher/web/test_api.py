"""`/api/v1`: what it says is what the command line says, in the shape that it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dispatcher.record import Stand
from tests.dispatcher.own_redis import OwnRedis
from tests.dispatcher.town import QUEUE, Town
from tests.dispatcher.web.page_process import TOKEN, Page
from tests.services import until


def check(document: dict[str, Any], path: str, method: str, code: int, data: Any) -> None:
    """Hold an answer against the schema that the document promises for it."""
    answer = document["paths"][path][method]["responses"][str(code)]
    schema = answer["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(data)


def test_everything_that_can_be_asked_for_has_the_shape_of_the_document(
    town: Town, page: Page
) -> None:
    town.push(1, {"1": "hold"}, email="ann@example.com")
    town.push(2, {"1": "exit 65"})
    town.raw.lpush(QUEUE, "no order")
    town.until_stand(2, Stand.FAILED)
    until(lambda: page.get("/api/v1/tasks/2").json()["row"]["status"] == "failed", "the page sees")
    document = page.get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        if "get" in methods:
            answer = page.get(path.replace("{task}", "2"))
            assert answer.status_code == 200, path
            check(document, path, "get", 200, answer.json())
    missing = page.get("/api/v1/tasks/unknown")
    check(document, "/api/v1/tasks/{task}", "get", 404, missing.json())


def test_a_task_tells_its_state_its_way_and_its_log(town: Town, page: Page) -> None:
    town.push(5, {"1": "hold"}, email="ann@example.com")
    town.until(lambda: town.starts(5), "it runs")
    until(lambda: page.get("/api/v1/tasks/5").json().get("log"), "its log is there")
    until(lambda: page.get("/api/v1/tasks/5").json()["row"]["account"], "the board is read")
    data = page.get("/api/v1/tasks/5").json()
    assert data["row"]["account"] == "ann@example.com"
    assert data["why"].startswith("Task 5 is running")
    assert "running" in [moment["what"] for moment in data["timeline"]]
    assert data["log"] == ["run 1 of task 5"]
    assert data["volume"]["task"] == "5"
    assert page.get("/api/v1/overview").json()["slots"] == 3


def test_items_of_the_manifest_are_shown_with_what_came_since(town: Town, page: Page) -> None:
    """Those that are not complete come first; what the journal has finished counts."""
    town.push(7, {"1": "hold"})
    town.until(lambda: town.starts(7), "it runs")
    state = town.staging / "Task_7" / ".state"
    files = [
        {"key": "a", "kind": "video", "path": "c/1.mp4", "state": "planned", "size": 5},
        {"key": "b", "kind": "video", "path": "c/2.mp4", "state": "planned", "size": 6},
        {"key": "c", "kind": "quiz", "path": "c/3.html", "state": "skipped", "reason": "DRM"},
    ]
    (state / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}))
    (state / "fetched.jsonl").write_text('{"key": "a", "path": "c/1.mp4", "size": 7}\n{"key": ')
    (state / "state.json").write_text('{"done": {"fetch": 100.0}}')
    until(lambda: page.get("/api/v1/tasks/7").json().get("volume"), "its volume is seen")
    data = page.get("/api/v1/tasks/7").json()
    shown = [(i["path"], i["state"], i["size"], i["reason"]) for i in data["items"]]
    assert shown == [
        ("c/3.html", "skipped", None, "DRM"),
        ("c/2.mp4", "planned", 6, ""),
        ("c/1.mp4", "complete", 7, ""),
    ]
    assert data["item_counts"] == {"complete": 1, "planned": 1, "skipped": 1}
    assert data["timeline"][0] == {"at": 100.0, "what": "fetch done", "attempt": None, "detail": ""}
    assert "DRM" in page.get("/task?id=7").text


def test_an_order_that_only_the_queue_holds_is_a_task_too(town: Town, page: Page) -> None:
    town.store.pause("for a look")
    town.push(6, email="bob@example.com")
    until(lambda: page.get("/api/v1/tasks?state=queued").json()["total"] == 1, "it is seen")
    (row,) = page.get("/api/v1/tasks?search=bob").json()["tasks"]
    assert (row["task"], row["status"]) == ("6", "queued")
    overview = page.get("/api/v1/overview").json()
    assert (overview["queued"], overview["paused_why"]) == (1, "for a look")
    assert overview["oldest"]["task"] == "6"
    assert "paused" in page.get("/api/v1/tasks/6").json()["why"]


def test_secrets_are_never_shown(town: Town, tmp_path: Path) -> None:
    secret = "whsec_dGhpcyBpcyBhIHNlY3JldA=="
    own = "tok-of-an-own-loader"
    more = {
        "API_SECRET_KEY": secret,
        "RCLONE_REMOTE": f":s3,secret_access_key={secret}:x",
        "DOWNLOAD_COMMAND": f"load --token {own} {{url}}",
    }
    page = Page(tmp_path, town.url, OPERATOR_TOKEN=TOKEN, **more)
    page.ready()
    text = page.get("/api/v1/settings").text + page.get("/settings").text
    assert page.stop() == 0
    assert secret not in text + page.lines()
    assert own not in text
    assert TOKEN not in text + page.lines()
    rows = [line for line in text.split("{") if "API_SECRET_KEY" in line]
    assert rows and '"value":"set"' in rows[0]


def test_while_redis_is_away_the_last_state_stays_and_says_so(tmp_path: Path) -> None:
    """Looks go on with what was seen, acts are 503, and it is well again by itself."""
    own = OwnRedis(tmp_path / "redis")
    own.start()
    own.client().hset("course-runner:task:8", mapping={"status": "running", "updated": "5"})
    page = Page(tmp_path, own.url, OPERATOR_TOKEN=TOKEN)
    page.ready()
    own.stop()
    until(lambda: page.get("/api/v1/freshness").json()["trouble"], "it notices")
    assert page.get("/api/v1/tasks/8").json()["row"]["status"] == "running"
    assert "Redis unreachable" in page.get("/tasks").text
    assert page.act("/tasks/8/retry").status_code == 503
    assert page.get("/api/v1/dead").status_code == 503
    own.start()
    until(lambda: not page.get("/api/v1/freshness").json()["trouble"], "it is well again")
    assert "Redis unreachable" not in page.get("/tasks").text
    assert page.stop() == 0
    own.stop()


def test_before_redis_has_ever_answered_nothing_is_made_up(tmp_path: Path) -> None:
    page = Page(tmp_path, "redis://127.0.0.1:1/0")
    until(lambda: page.get("/api/v1/freshness").json()["trouble"], "it notices")
    answer = page.get("/api/v1/overview")
    assert answer.status_code == 503
    assert "Redis" in answer.json()["error"]
    assert "Nothing has been seen yet" in page.get("/").text
    assert page.stop() == 0


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/nothing", "/task?id=nobody"])
def test_what_is_not_there_is_404_with_a_cure(page: Page, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == 404
    assert "openapi" in answer.text or "<h1>" in answer.text


def test_half_a_surrogate_pair_in_redis_spoils_no_view(town: Town, page: Page) -> None:
    """A reason given on a command line may be no text; here it is shown as well as can be."""
    town.store.pause("bad \udcff reason")
    overview = "/api/v1/overview"
    until(lambda: page.get(overview).json()["paused_why"].startswith("bad"), "the page sees it")
    assert page.get(overview).json()["paused_why"] == "bad \udcff reason"
    assert "bad ? reason" in page.get("/").text
    assert page.act("/pause", data=b'{"why": "\\ud800"}').status_code == 400
