"""A dispatcher is killed at every step of a cancel; the next one ends it and tells the row once."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from contract import names
from contract.env import Secret
from dispatcher.store import Store, connect
from tests.dispatcher.tasks import order
from tests.dispatcher.test_crash_points import LIMIT, QUEUE, ROOT, Machine
from tests.services import until


def queued(machine: Machine) -> None:
    """It waits in the queue, twice: the second one has another account."""
    machine.redis.lpush(QUEUE, order(1), order(1, email="b@example.com"))


def claimed(machine: Machine) -> None:
    """It is in the claimed list of the dispatcher that comes back."""
    machine.redis.lpush(names.claimed_list(QUEUE, "d1"), order(1))


def running(machine: Machine) -> None:
    """It runs."""
    machine.redis.lpush(QUEUE, order(1, do={"1": "hold"}))


def waiting(machine: Machine) -> None:
    """It waits for its next try."""
    machine.redis.lpush(QUEUE, order(1, do={"1": "exit 75"}))


def failed(machine: Machine) -> None:
    """It has failed for good."""
    machine.redis.lpush(QUEUE, order(1, do={"1": "told 65"}))


REACHED = {"running": "running", "waiting": "waiting", "failed": "failed"}
STORIES = [
    ("cancel:volume", queued),
    ("cancel:volume", claimed),
    ("cancel:marked", queued),
    ("cancel:marked", running),
    ("cancel:stopped", running),
    ("cancel:told", waiting),
    ("cancel:told", failed),
    ("cancel:withdrawn", claimed),
]


def live(machine: Machine, point: str, stage: Callable[[Machine], None]) -> Machine:
    """One order at a stage, a request to cancel it, one death at the point, a successor."""
    stage(machine)
    client = connect(Secret(machine.url))
    store = Store(client, QUEUE, "operator")
    reached = REACHED.get(stage.__name__)
    if reached is None:  # asked for before anybody is there to hand the order over
        store.ask("cancel", "1")
    settings = {"COURSE_RUNNER_FAULT": point, "RETRY_SCHEDULE": "1h"}
    with machine.dispatcher(**settings) as process:
        if reached is not None:
            until(lambda: machine.journal(), "its run has begun", LIMIT)
            until(lambda: machine.status("1") == reached, f"it is {reached}", LIMIT)
            store.ask("cancel", "1")
        process.wait(LIMIT)
        assert process.returncode == -signal.SIGKILL, machine.log()
    assert len(store.asks()) == 1
    with machine.dispatcher(RETRY_SCHEDULE="1h"):
        until(lambda: not store.asks(), "the request is answered", LIMIT)
        until(lambda: ended(machine), "the closing run has ended", LIMIT)
        machine.until_ended({"1": "cancelled"})
    client.close()
    return machine


def ended(machine: Machine) -> bool:
    """Whether a closing run has ended and its verdict is on the volume."""
    ends = [e for e in machine.journal() if e["kind"] == "report" and e["event"] == "end 0"]
    return bool(ends) and names.EXPIRES_AT in machine.marks("1")


@pytest.fixture(scope="module")
def machines(
    redis7: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Future[Machine]]:
    """The machine of every story, at its end."""

    def start(number: int, point: str, stage: Callable[[Machine], None]) -> Machine:
        url = f"{redis7.rpartition('/')[0]}/{number}"
        return live(Machine(tmp_path_factory.mktemp("machine"), url), point, stage)

    with ThreadPoolExecutor(4) as pool:
        return {
            (point, stage.__name__): pool.submit(start, number, point, stage)
            for number, (point, stage) in enumerate(STORIES, 1)
        }


@pytest.mark.parametrize(("point", "stage"), [(p, s.__name__) for p, s in STORIES])
def test_a_cancel_is_carried_out_once_wherever_the_dispatcher_died(
    machines: dict[tuple[str, str], Future[Machine]], point: str, stage: str
) -> None:
    machine = machines[point, stage].result()
    started = [(e["kind"], e["attempt"]) for e in machine.journal() if e["event"] == "start"]
    assert [kind for kind, _ in started].count("run") == (stage in REACHED)
    reports = [e for e in machine.journal() if e["event"] == "start" and e["kind"] == "report"]
    assert [report["report"]["category"] for report in reports] == ["cancelled"]
    assert json.loads(machine.marks("1")[names.OUTCOME])["category"] == "cancelled"
    assert machine.left() == 0
    assert machine.redis.ttl(names.task_hash("1")) > 0  # type: ignore[operator]
    machine.redis.close()


def test_every_point_of_a_cancel_is_tried() -> None:
    code = (ROOT / "dispatcher" / "asks.py").read_text()
    points = set(re.findall(r'fault\.point\("([^"]+)"\)', code))
    assert points == {point for point, _ in STORIES}
