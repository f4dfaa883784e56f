"""The audit finds what is in no place, and what is in a place for nobody; and mends what it may."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from contract import names
from dispatcher.audit import (
    BEHIND,
    CROWDED,
    ETERNAL,
    LOST,
    NOBODY,
    ORPHAN,
    PLACES,
    SILENT,
    UNLISTED,
    UNREADABLE,
    Audit,
    Finding,
    Snapshot,
    audit,
)
from dispatcher.auditor import confirmed
from dispatcher.executors import Holding, Phase
from dispatcher.loop import Pace
from dispatcher.record import Stand
from dispatcher.settings import Limits
from dispatcher.views import View, view
from tests.dispatcher.tasks import done, hold, judged, order, run, task, volume
from tests.dispatcher.town import QUEUE, Town


def seen(key: str, holding: Holding) -> View:
    """A view of a task's holding under its own name."""
    return view(replace(holding, name=names.object_name(key)))


def active(key: str = "1", *, closing: bool = False) -> View:
    """A task that runs."""
    return seen(key, hold(volume(task(key)), run(closing=closing)))


def waiting(key: str = "1") -> View:
    """A task that waits for its next run."""
    return seen(key, hold(volume(task(key), outcome=judged("temporary"), retry_at="9999999999")))


def failed(key: str = "1", **marks: str) -> View:
    """A task that has failed."""
    marks = {"outcome": judged("auth_expired"), "expires_at": "9999999999", **marks}
    return seen(key, hold(volume(task(key), **marks)))


WELL: dict[str, Any] = {"alive": {"d1"}, "listed": {"d1"}}


def kinds(**parts: Any) -> list[str]:
    """What kinds of findings a snapshot gives."""
    return [finding.kind for finding in audit(Snapshot(**{**WELL, **parts})).findings]


# --- the law --------------------------------------------------------------------------------------
def test_every_order_is_counted_in_the_furthest_of_its_places() -> None:
    found = audit(
        Snapshot(
            queued={"1", "2", "3", "4"},
            claimed={"d1": ["2", "3"]},
            board={"3": "running", "5": "waiting", "6": "completed", "7": ""},
            views=[active("3"), waiting("5")],
            dead=2,
            **WELL,
        )
    )
    expected = {"queued": 2, "claimed": 1, "active": 1, "waiting": 1, "finished": 1, "dead": 2}
    assert found.counts == {**expected, LOST: 0}
    assert found.findings == ()


KEYS = st.sets(st.sampled_from("abcdefgh"))
STATUSES = st.sampled_from(["running", "waiting", "reporting", "start", "completed", "failed", ""])


@given(KEYS, KEYS, st.dictionaries(st.sampled_from("abcdefgh"), STATUSES), KEYS, KEYS)
def test_no_order_is_in_two_places_or_in_none(
    queued: set[str], claimed: set[str], board: dict[str, str], runs: set[str], waits: set[str]
) -> None:
    views = [*map(active, sorted(runs)), *map(waiting, sorted(waits - runs))]
    found = audit(Snapshot(queued, {"d1": sorted(claimed)}, {"d1"}, {"d1"}, board, views))
    known = queued | claimed | runs | waits
    told = {key for key, status in board.items() if status}
    assert set(found.counts) == set(PLACES)
    assert sum(found.counts.values()) == len(known | told)
    lost = {finding.about for finding in found.findings if finding.kind == LOST}
    ended = {key for key in told if board[key] in ("completed", "failed")}
    assert lost == told - known - ended


# --- what is found --------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["running", "waiting", "reporting", "start"])
def test_a_task_that_only_the_board_knows_as_under_way_is_lost(status: str) -> None:
    assert kinds(board={"1": status}) == [LOST]
    assert kinds(board={"1": status}, queued={"1"}) == []


def test_what_a_silent_dispatcher_has_claimed_is_found_and_an_empty_list_is_not() -> None:
    assert kinds(claimed={"d2": ["1"]}, listed={"d1", "d2"}) == [SILENT]
    assert kinds(claimed={"d2": ["1"]}) == [UNLISTED]
    assert kinds(claimed={"d2": []}) == []


@pytest.mark.parametrize(
    ("one", "right"),
    [
        (active(), "running"),
        (active(closing=True), "reporting"),
        (waiting(), "waiting"),
        (failed(), "failed"),
        (failed(outcome=judged("cancelled")), "cancelled"),
        (seen("1", replace(done(9e9), name="")), "completed"),
    ],
)
def test_a_board_that_says_something_else_is_behind(one: View, right: str) -> None:
    assert one.record is not None
    assert one.record.task is not None
    key = one.record.task.key
    assert kinds(views=[one], board={key: right}) == []
    assert kinds(views=[one], board={key: "dancing"}) == [BEHIND]
    assert kinds(views=[one]) == [BEHIND]


def test_a_task_between_two_states_may_be_called_anything() -> None:
    ended = seen("1", hold(volume(task("1")), run(phase=Phase.FAILED)))
    start = seen("2", hold(volume(task("2"))))
    assert kinds(views=[ended, start], board={"1": "running", "2": "start"}) == []


def test_strays_are_found() -> None:
    orphan = view(hold(None, run()))
    unreadable = view(hold(volume(message="?")))
    assert kinds(views=[orphan, unreadable]) == [ORPHAN, UNREADABLE]
    going = view(hold(replace(volume(message="?"), deleting=True)))
    assert kinds(views=[going]) == []


def test_a_volume_that_never_goes_is_found_unless_it_is_pinned() -> None:
    marks: dict[str, Any] = {"expires_at": None}
    assert kinds(views=[failed(**marks)], board={"1": "failed"}) == [ETERNAL]
    assert kinds(views=[failed(**marks, pinned="true")], board={"1": "failed"}) == []


def test_more_runs_than_slots_are_found() -> None:
    two = {"views": [active("1"), active("2")], "board": {"1": "running", "2": "running"}}
    assert kinds(**two, max_active=1) == [CROWDED]
    assert kinds(**two, max_active=2) == []


def test_orders_without_a_dispatcher_are_found() -> None:
    assert kinds(queued={"1"}, alive=set()) == [NOBODY]
    assert kinds(alive=set()) == []


def test_only_what_two_looks_have_found_is_believed() -> None:
    one, other = (Finding(LOST, key, "", "") for key in "12")
    first, second = Audit({}, (one,)), Audit({"queued": 1}, (one, other))
    assert confirmed(first, second) == Audit({"queued": 1}, (one,))


# --- inside the dispatcher ------------------------------------------------------------------------
@pytest.fixture
def town(redis7: str, tmp_path: Path) -> Iterator[Town]:
    """A town whose dispatcher audits all the time; not started."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
    made = Town(redis7, tmp_path, Limits(max_active=4, min_age=0))
    made.pace = Pace(block=0.05, beat=0.5, adopt=0.2, reap=0.05, audit=0.1, recheck=0.1)
    yield made
    made.leave()


def verdict(town: Town) -> dict[str, Any]:
    """The last audit's counts, with how many were found."""
    last = town.store.audit()
    return {**last.get("counts", {}), "found": last.get("found")}


def test_a_busy_dispatcher_is_well_and_says_where_every_order_is(town: Town) -> None:
    town.push(5, {"1": "exit 75"}, priority=1)
    for number in (1, 2, 3, 4):
        town.push(number, {"1": "hold"})
    town.raw.lpush(QUEUE, "no json")
    town.start(max_active=2)
    wanted = {"queued": 2, "claimed": 0, "active": 2, "waiting": 1, "finished": 0, "dead": 1}
    town.until(lambda: verdict(town) == {**wanted, LOST: 0, "found": 0}, "all are in their place")
    for number in (1, 2, 3, 4):
        town.open(number)
        town.until_ended(number, "completed")
    town.until(lambda: verdict(town)["finished"] == 4, "all are finished")
    assert town.log("Audit:") == 0


def test_a_volume_that_other_hands_removed_is_told_once_and_well_again_when_mended(
    town: Town,
) -> None:
    town.start()
    town.push(1, {"1": "exit 75"})
    town.until_stand(1, Stand.WAITING)
    shutil.rmtree(town.staging / "Task_1")
    town.until(lambda: town.log("no volume, queue or claimed list has it"), "it is told")
    town.until(lambda: verdict(town)["found"] == 1, "and kept")
    town.turns(10)
    assert town.log("no volume, queue or claimed list has it") == 1
    town.push(1)
    town.until_ended(1, "completed")
    town.until(lambda: town.log("every order is in its place again"), "it is well again")


def told(fields: dict[str, str]) -> dict[str, str]:
    """What the board says, but for when it was written."""
    return {name: text for name, text in fields.items() if text and name != "updated"}


def test_a_board_that_was_lost_is_written_again_from_the_volumes(town: Town) -> None:
    town.start()
    town.push(1, {"1": "exit 75"})
    town.push(2, {"1": "told 65"}, email="a@b.c")
    town.push(3)
    town.push(4, {"1": "hold"})
    town.until_stand(1, Stand.WAITING)
    town.until_stand(2, Stand.FAILED)
    town.until_stand(3, Stand.DONE)
    town.until(lambda: town.starts(4), "it runs")
    before = {n: town.store.show(str(n)) for n in (1, 2, 3, 4)}
    town.raw.flushall()
    for number, status in ((1, "waiting"), (2, "failed"), (3, "completed"), (4, "running")):
        town.until_ended(number, status)
        assert told(town.store.show(str(number))) == told(before[number])
    assert town.raw.ttl(names.task_hash("3")) > 0  # type: ignore[operator]
    assert town.raw.ttl(names.task_hash("1")) == -1


# --- the command ----------------------------------------------------------------------------------
def doctor(town: Town, *words: str) -> subprocess.CompletedProcess[str]:
    """`course-runner doctor` on the town's machine."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    environment |= {"REDIS_URL": town.url, "QUEUE": QUEUE, "MAX_ACTIVE": "4"}
    environment |= {"EXECUTOR": "local", "STAGING_DIR": str(town.staging)}
    command = [sys.executable, "-m", "dispatcher.cli", "doctor", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_well_system_ends_with_0_and_names_the_places(town: Town) -> None:
    town.start()
    town.push(1)
    town.until_ended(1, "completed")
    town.until_stand(1, Stand.DONE)
    done = doctor(town)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 orders = 0 queued + 0 claimed + 0 active + 0 waiting + 1 finished" in done.stdout
    assert "Every order is in its place." in done.stdout
    town.until(lambda: verdict(town)["finished"] == 1, "the dispatcher has made an audit")
    assert doctor(town, "--last").returncode == 0


def test_an_ailing_system_ends_with_1_says_what_and_changes_nothing(town: Town) -> None:
    town.raw.lpush(QUEUE, order(1))
    town.raw.lpush(names.claimed_list(QUEUE, "gone"), order(2))
    town.store.write("3", {"status": "running"})
    done = doctor(town, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {finding["kind"] for finding in found["findings"]} == {LOST, UNLISTED, NOBODY}
    assert found["counts"] == {
        **dict.fromkeys(PLACES, 0),
        "queued": 1,
        "claimed": 1,
        "lost": 1,
    }
    assert town.store.listed() == set()
    assert town.status(3) == "running"
    text = doctor(town).stdout
    assert "LOST: Task 3 is running by the board" in text
    assert "Push its order again." in text


def test_before_the_first_audit_there_is_no_last_one(town: Town) -> None:
    done = doctor(town, "--last")
    assert done.returncode == 1
    assert "no dispatcher has made an audit yet" in done.stderr
