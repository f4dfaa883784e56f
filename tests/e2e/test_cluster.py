"""Orders on a real cluster: the dispatcher in a pod, in a namespace that admits restricted pods."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from contract import fault, names
from playground.portal import actions
from playground.receiver import Answer
from tests.e2e.kube import until
from tests.e2e.watcher import most_at_once
from tests.e2e.world import BIG, Desk, Town

pytestmark = pytest.mark.cluster

LONG = "002"
"""Number of the large lecture in each course."""

MIB = 1 << 20


def test_an_order_becomes_files_a_row_a_webhook_and_a_released_volume(town: Town) -> None:
    """(a) Pushed once, everything is done once, and nothing is left in the cluster; (h) its log
    tells the story.
    """
    with town.dispatcher() as desk:
        desk.order(101, "course-1")
        desk.until_status(101, "completed")

        story = town.kube.run("logs", f"--selector={names.LABEL_TASK}=101", "--tail=-1")

        assert town.uploaded("course-1")["01 - Start/002 The long one.mp4"] == town.served(
            "course-1", LONG
        )
        assert town.row(101) == "completed"
        [delivery] = town.deliveries(101)
        assert delivery.genuine
        assert delivery.json["folder_name"] == "course-1"
        assert town.portal.ledger.credentials_at_cdn == []
        for words in (
            "[SANDBOX] Using /sandbox for task 101.",
            "[ATTEMPT 1/3] Downloading course...",
            "[UPLOAD]",
            "[DB]",
            "[WEBHOOK]",
            "[SUCCESS] Task 101 is done.",
        ):
            assert words in story
        until(lambda: not desk.claims() and not desk.jobs(), "claim and Job are gone")


def test_a_deleted_pod_is_followed_by_one_that_goes_on(town: Town) -> None:
    """(b) The pod is deleted in mid-download: the next one fetches at most 1 MiB twice."""
    key = _stall(town, "course-2")
    with town.dispatcher() as desk:
        desk.order(102, "course-2")
        _in_the_middle(desk, 102, key)
        [pod] = desk.pods(102)
        town.kube.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
        desk.until_status(102, "completed", 180)
        _fetched_once(town, key)
        assert town.row(102) == "completed"


def test_a_killed_container_is_followed_by_one_that_goes_on(town: Town) -> None:
    """(c) The container's process is killed with SIGKILL: the same."""
    key = _stall(town, "course-3")
    with town.dispatcher() as desk:
        desk.order(103, "course-3")
        _in_the_middle(desk, 103, key)
        os.kill(_process_of(103), signal.SIGKILL)
        desk.until_status(103, "completed", 180)
        _fetched_once(town, key)
        assert len(town.deliveries(103)) == 1


def test_an_undelivered_webhook_keeps_the_claim_and_is_delivered_later(town: Town) -> None:
    """(d) The receiver is down: the claim is kept, and the run that delivers later fetches and
    uploads nothing.
    """
    with town.dispatcher(WEBHOOK_SCHEDULE="8s,8s,8s") as desk:
        town.receiver.answer_with(Answer(500, times=2))
        desk.order(104, "course-4")
        desk.until_status(104, "waiting")
        asked = town.portal.ledger.total("cdn:").requests
        [claim] = desk.claims()
        assert "webhook" in claim["metadata"]["annotations"][names.OUTCOME]
        assert town.row(104) == "completed"
        uploaded = {p: p.stat().st_mtime_ns for p in (town.remote / "courses").rglob("*")}

        desk.until_status(104, "completed")

        assert town.portal.ledger.total("cdn:").requests == asked
        assert {p: p.stat().st_mtime_ns for p in (town.remote / "courses").rglob("*")} == uploaded
        deliveries = town.deliveries(104)
        assert [d.verdicts.status for d in deliveries] == [200, 200, 200]  # all were genuine
        assert len({d.json["timestamp"] for d in deliveries}) == 1
        story = town.kube.run("logs", f"--selector={names.LABEL_TASK}=104", "--tail=-1")
        assert "Already done: fetch, upload, verify, record." in story


def test_a_dispatcher_that_dies_between_claim_and_job_makes_one_job(town: Town) -> None:
    """(e) It dies after the claim exists, before the Job does; the next makes exactly one."""
    faults = {fault.POINT: "intake:volume", fault.ONCE: "/tmp/died"}
    with town.dispatcher(**faults) as desk:
        desk.order(105, "course-5")
        desk.until_status(105, "completed", 180)
        [pod] = town.kube.items("pods", f"app={desk.name}")
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        events = town.kube.items("events")
        made = [e for e in events if e["reason"] == "SuccessfulCreate" and _about(e, "course-105")]
        assert len(made) == 1
        assert len(town.deliveries(105)) == 1
        assert not town.redis.keys(f"{desk.queue}:claimed:*")


def test_never_more_than_max_active_jobs(town: Town) -> None:
    """(f) Three orders, two slots: never more than two Jobs at work."""
    with town.dispatcher(MAX_ACTIVE="2") as desk:
        with most_at_once(town.kube, desk.name) as most:
            for number in (6, 7, 8):
                desk.order(100 + number, f"course-{number}")
            for number in (6, 7, 8):
                desk.until_status(100 + number, "completed", 240)
        assert most() == 2


def test_malformed_and_repeated_messages(town: Town) -> None:
    """(g) What is no order goes to the dead list as it was; an order pushed twice runs once."""
    broken = b'{"taskId": 109, "courseUrl": "nowhere\xff"}'
    with town.dispatcher() as desk:
        desk.push(broken)
        desk.push({"taskId": 110})
        desk.order(109, "course-9")
        desk.push({"taskId": 109, "courseUrl": town.portal.course_url("course-9")})
        desk.until_status(109, "completed")
        until(lambda: not town.redis.llen(desk.queue), "the queue is empty")
        desk.push({"taskId": 109, "courseUrl": town.portal.course_url("course-9")})
        until(lambda: not town.redis.llen(desk.queue), "the queue is empty again")
        until(lambda: "is completed" in desk.log() or "was completed" in desk.log(), "it says why")
        letters = _dead(desk)
        assert {letter["reason"][:11] for letter in letters} == {"The message", 'Field "cour'}
        assert len(town.deliveries(109)) == 1


def _stall(town: Town, slug: str) -> str:
    """Let the large lecture stop in the middle, once."""
    key = f"cdn:{slug}/{LONG}/720.mp4"
    town.portal.faults.add(key, actions.StallBody(after=BIG // 2), times=1)
    return key


def _in_the_middle(desk: Desk, task: int, key: str) -> None:
    """Wait until the run has read all that the portal sent before it stalled."""
    desk.town.portal.ledger.wait(lambda ledger: ledger.of(key).stalled, timeout=90)
    [pod] = desk.pods(task)
    look = (
        "import pathlib; parts = pathlib.Path('/sandbox').rglob('*.part'); "
        "print(max(part.stat().st_size for part in parts))"
    )
    name = pod["metadata"]["name"]
    size = ("exec", name, "--", "python", "-c", look)
    until(
        lambda: int(desk.town.kube.run(*size)) >= BIG // 2 - MIB, "the run has read what was sent"
    )


def _fetched_once(town: Town, key: str) -> None:
    """The second request went on where the first one had stopped, within 1 MiB."""
    ranges = town.portal.ledger.of(key).ranges
    assert ranges, "the large lecture was asked for once only"
    begins = int(ranges[-1].removeprefix("bytes=").split("-")[0])
    assert BIG // 2 - MIB <= begins <= BIG // 2


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


def _dead(desk: Desk) -> list[dict[str, Any]]:
    found = desk.town.redis.lrange(names.dead_list(desk.queue), 0, -1)
    return [json.loads(item) for item in found]  # type: ignore[union-attr]
