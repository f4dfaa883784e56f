"""Orders on a real cluster, through the chart: `helm install` in a namespace that admits restricted
pods alone, network policies enforced.

All scenarios but one share a release, as the orders of a user do; each has tasks of its own.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from contract import fault, names
from playground.receiver import Answer
from tests.e2e.desk import Desk, desk
from tests.e2e.kube import until
from tests.e2e.watcher import most_at_once
from tests.e2e.world import LONG, STALLED_AT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

MIB = 1 << 20


def test_an_order_becomes_files_a_row_a_webhook_and_a_released_volume(shop: Desk) -> None:
    """(a) Pushed once, everything is done once, and nothing is left in the cluster; (h) its log
    tells the story.
    """
    world = shop.world
    shop.order(101, "course-1")
    shop.until_status(101, "completed")

    story = shop.story(101)

    uploaded = world.uploaded("course-1")
    assert uploaded["01 - Start/002 The long one.mp4"] == world.served("course-1", LONG)
    assert world.backend.states(101) == ["queued", "running", "completed"]
    [delivery] = world.deliveries(101)
    assert delivery.genuine
    assert delivery.json["folder_name"] == "course-1"
    assert world.portal.ledger.credentials_at_cdn == []
    for words in (
        "[SANDBOX] Using /sandbox for task 101.",
        "[ATTEMPT 1/3] Downloading course...",
        "[UPLOAD]",
        "[DB]",
        "[WEBHOOK]",
        "[SUCCESS] Task 101 is done.",
    ):
        assert words in story
    until(lambda: not shop.claims(101) and not shop.jobs(101), "claim and Job are gone")


def test_a_deleted_pod_is_followed_by_one_that_goes_on(shop: Desk) -> None:
    """(b) The pod is deleted in mid-download: the next one fetches at most 1 MiB twice."""
    key = shop.world.stall("course-2")
    shop.order(102, "course-2")
    _in_the_middle(shop, 102, key)
    [pod] = shop.release.pods(102)
    shop.kube.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
    shop.until_status(102, "completed", 180)
    _fetched_once(shop, key)
    assert shop.world.backend.row(102) == "completed"


def test_a_killed_container_is_followed_by_one_that_goes_on(shop: Desk) -> None:
    """(c) The container's process is killed with SIGKILL: the same."""
    key = shop.world.stall("course-3")
    shop.order(103, "course-3")
    _in_the_middle(shop, 103, key)
    os.kill(_process_of(103), signal.SIGKILL)
    shop.until_status(103, "completed", 180)
    _fetched_once(shop, key)
    assert len(shop.world.deliveries(103)) == 1


def test_an_undelivered_webhook_keeps_the_claim_and_is_delivered_later(shop: Desk) -> None:
    """(d) The receiver is down: the claim is kept, and the run that delivers later fetches and
    uploads nothing.
    """
    world = shop.world
    world.receiver.answer_with(Answer(500, times=2))
    shop.order(104, "course-4")
    shop.until_status(104, "waiting")
    asked = world.portal.ledger.total("cdn:").requests
    [claim] = shop.claims(104)
    assert "webhook" in claim["metadata"]["annotations"][names.OUTCOME]
    assert world.backend.row(104) == "completed"
    uploaded = {p: p.stat().st_mtime_ns for p in (world.remote / "courses").rglob("*")}

    shop.until_status(104, "completed")

    assert world.portal.ledger.total("cdn:").requests == asked
    assert {p: p.stat().st_mtime_ns for p in (world.remote / "courses").rglob("*")} == uploaded
    deliveries = world.deliveries(104)
    assert [d.verdicts.status for d in deliveries] == [200, 200, 200]  # all were genuine
    assert len({d.json["timestamp"] for d in deliveries}) == 1
    assert "Already done: fetch, upload, verify, record." in shop.story(104)


def test_a_dispatcher_that_dies_between_claim_and_job_makes_one_job(shop: Desk) -> None:
    """(e) It dies after the claim exists, before the Job does; the next makes exactly one."""
    faults = {fault.POINT: "intake:volume", fault.ONCE: "/tmp/died"}
    extra = {"extraEnv": [{"name": name, "value": value} for name, value in faults.items()]}
    with desk(shop.world, shop.kube, "mortal", dispatcher=extra) as mortal:
        mortal.order(105, "course-5")
        mortal.until_status(105, "completed", 180)
        [name] = mortal.release.parts("dispatcher")
        [pod] = [p for p in shop.kube.items("pods") if p["metadata"]["name"] == name]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        events = shop.kube.items("events")
        made = [e for e in events if e["reason"] == "SuccessfulCreate" and _about(e, "course-105")]
        assert len(made) == 1
        assert len(shop.world.deliveries(105)) == 1
        assert not shop.world.redis.keys(f"{mortal.queue}:claimed:*")


def test_never_more_than_max_active_jobs(shop: Desk) -> None:
    """(f) Three orders, two slots: never more than two Jobs at work."""
    with most_at_once(shop.kube, shop.release.name) as most:
        for number in (6, 7, 8):
            shop.order(100 + number, f"course-{number}")
        for number in (6, 7, 8):
            shop.until_status(100 + number, "completed", 240)
    assert most() == 2


def test_malformed_and_repeated_messages(shop: Desk) -> None:
    """(g) What is no order goes to the dead list as it was; an order pushed twice runs once."""
    broken = b'{"taskId": 109, "courseUrl": "nowhere\xff"}'
    again = {"taskId": 109, "courseUrl": shop.world.portal.course_url("course-9")}
    shop.push(broken)
    shop.push({"taskId": 110})
    shop.order(109, "course-9")
    shop.push(again)
    shop.until_status(109, "completed")
    shop.await_empty_queue()
    shop.push(again)
    shop.await_empty_queue()
    until(lambda: _says_why(shop, 109), "it says why the order is not run again")
    reasons = {letter["reason"][:11] for letter in shop.dead()}
    assert reasons == {"The message", 'Field "cour'}
    assert len(shop.world.deliveries(109)) == 1


def test_an_order_without_a_row_fails_at_once_and_names_table_and_id(shop: Desk) -> None:
    """Before a byte is fetched, the outcome says which table has no row with which id."""
    url = shop.world.portal.course_url("course-11")
    shop.push({"taskId": 111, "courseUrl": url})
    shop.until_status(111, "failed")
    [claim] = shop.claims(111)
    outcome = claim["metadata"]["annotations"][names.OUTCOME]
    assert "Table tasks has no row with id = 111." in outcome
    assert not shop.world.uploaded("course-11") and not shop.world.deliveries(111)
    assert shop.world.portal.ledger.total("cdn:course-11/").requests == 0


def _says_why(shop: Desk, task: int) -> bool:
    lines = shop.release.log().splitlines()
    return any(f"Task {task} " in line and "to run it again" in line for line in lines)


def _in_the_middle(shop: Desk, task: int, key: str) -> None:
    """Wait until the run has read all that the portal sent before it stalled."""
    shop.world.await_stall(key)
    [pod] = shop.release.pods(task)
    look = (
        "import pathlib; parts = pathlib.Path('/sandbox').rglob('*.part'); "
        "print(max(part.stat().st_size for part in parts))"
    )
    name = pod["metadata"]["name"]
    size = ("exec", name, "--", "python", "-c", look)
    until(lambda: int(shop.kube.run(*size)) >= STALLED_AT - MIB, "the run has read what was sent")


def _fetched_once(shop: Desk, key: str) -> None:
    """The second request went on where the first one had stopped, within 1 MiB."""
    ranges = shop.world.portal.ledger.of(key).ranges
    assert ranges, "the large lecture was asked for once only"
    begins = int(ranges[-1].removeprefix("bytes=").split("-")[0])
    assert STALLED_AT - MIB <= begins <= STALLED_AT


def _process_of(task: int) -> int:
    """The process of a task's container, found by its environment: this machine runs the node."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        mine = any(v.startswith(b"CLAIM=course-%d" % task) for v in environment)
        if mine and b"job_image" in command:
            return int(folder.name)
    pytest.fail(f"no process of task {task} is to be seen from here")


def _about(event: dict[str, Any], name: str) -> bool:
    return bool(event["involvedObject"].get("name") == name)
