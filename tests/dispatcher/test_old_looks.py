"""Two dispatchers, of which one acts by an old look: what the other has decided meanwhile stays.

The old look is kept by an executor that looks at its files once a minute; everything else is real.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.handoff import Assignment
from contract.log import Log, Redactor, set_up
from contract.task import Task
from dispatcher.crew import Crew
from dispatcher.executors import Phase
from dispatcher.executors.local import LocalExecutor
from dispatcher.intake import Intake
from dispatcher.record import CANCELLED, Judged, Stand, stamp
from dispatcher.settings import Limits
from dispatcher.slots import Slots
from dispatcher.starts import Starts
from dispatcher.store import Store, connect
from dispatcher.supervisor import LOOK, Supervisor
from dispatcher.views import View, Views
from tests.dispatcher.tasks import order
from tests.dispatcher.town import LIMIT, PROGRAM, QUEUE, Clock
from tests.services import until

TASK = Task.parse(order(1, do={"1": "exit 75", "2": "hold", "3": "hold"}))
NAME = names.object_name(TASK.key)
LIMITS = Limits(max_active=3)
CANCEL = {
    names.OUTCOME: Judged(CANCELLED, "Cancelled by an operator.", report=True).dump(),
    names.ATTEMPT: "3",
}


@dataclass
class Dispatcher:
    """What of a dispatcher cares for handed over tasks, taking its steps when told to."""

    executor: LocalExecutor
    supervisor: Supervisor
    starts: Starts
    intake: Intake
    raw: redis.Redis
    slots: Slots
    crew: Crew
    clock: Clock

    @property
    def views(self) -> tuple[View, ...]:
        """What it sees now."""
        return tuple(Views().look(self.executor.holdings()))

    def push(self, message: bytes | str) -> None:
        """Queue an order."""
        self.raw.lpush(QUEUE, message)

    def take(self) -> int:
        """Claim orders and handle them; return how many went well."""
        slots = self.slots.free(self.views)
        return self.intake.take(slots)

    def start_due(self, views: tuple[View, ...]) -> int:
        """Start what is due by a look."""
        return self.starts.start_due(views, self.slots.free(views))


@pytest.fixture
def lines() -> io.StringIO:
    """What is logged."""
    text = io.StringIO()
    set_up("text", Redactor(), text)
    return text


@pytest.fixture
def two(redis7: str, tmp_path: Path, lines: io.StringIO) -> Iterator[tuple[Dispatcher, Dispatcher]]:
    """One that sees everything at once, and one that sees what others do a minute later.

    The second one has to be told to look for the first time.
    """
    with redis.Redis.from_url(redis7) as raw:
        raw.flushall()
    made = [dispatcher(redis7, tmp_path, *one) for one in (("d1", 0.05), ("d2", 60.0))]
    made[0].executor.start()
    made[0].executor.ensure_volume(TASK)
    yield made[0], made[1]
    (tmp_path / "Staging" / f"journal.open-{TASK.key.encode().hex()}").touch()
    quick = made[0].executor
    until(lambda: not _is_alive(quick), "runs end", LIMIT)
    for one in made:
        one.crew.close()
        one.executor.close()
        one.raw.close()


def dispatcher(url: str, folder: Path, identity: str, interval: float) -> Dispatcher:
    """Put one together."""
    executor = LocalExecutor(folder / "Staging", {}, PROGRAM, grace=2.0, interval=interval)
    store, clock = Store(connect(Secret(url)), QUEUE, identity), Clock()
    crew, slots = Crew(Log.for_task(), clock), Slots(store, LIMITS.max_active, identity)
    log = Log.for_task()
    supervisor = Supervisor(store, executor, LIMITS, crew, log, clock)
    starts = Starts(store, executor, LIMITS, crew, log, slots, clock)
    intake = Intake(store, executor, crew, log, slots)
    raw = redis.Redis.from_url(url)
    return Dispatcher(executor, supervisor, starts, intake, raw, slots, crew, clock)


def _is_alive(executor: LocalExecutor) -> bool:
    holding = executor.holdings()[NAME]
    return holding.run is not None and holding.run.phase is Phase.ACTIVE


def marks(one: Dispatcher) -> Mapping[str, str]:
    """The record of the task, as that dispatcher sees it."""
    volume = one.executor.holdings()[NAME].volume
    assert volume is not None
    return volume.marks


def category(one: Dispatcher) -> str:
    """The verdict on the volume, as that dispatcher sees it."""
    return str(json.loads(marks(one)[names.OUTCOME])["category"])


def let_wait(quick: Dispatcher) -> None:
    """Let the task wait for a run that is due."""
    outcome = Judged("temporary", "503", run="gone").dump()
    marks = {names.OUTCOME: outcome, names.RETRY_AT: stamp(1.0), names.ATTEMPT: "2"}
    quick.executor.mark(NAME, marks)


def let_end(quick: Dispatcher) -> None:
    """Let the first run fail in passing."""
    quick.executor.start_run(Assignment(TASK, 1))
    until(lambda: quick.views[0].stand is Stand.ENDED, "it has ended", LIMIT)


def test_a_due_run_of_a_task_that_another_cancelled_meanwhile_is_not_started(
    two: tuple[Dispatcher, Dispatcher], lines: io.StringIO
) -> None:
    """The cancel is not undone, nobody is told of trouble, and the next look knows better."""
    quick, slow = two
    let_wait(quick)
    slow.executor.start()
    old = slow.views
    assert old[0].stand is Stand.WAITING
    quick.executor.mark(NAME, CANCEL)
    assert slow.start_due(old) == 0
    assert slow.views[0].stand is Stand.REPORT
    assert category(slow) == CANCELLED
    assert slow.executor.holdings()[NAME].run is None
    assert lines.getvalue() == ""


def test_a_forced_order_by_an_old_look_revives_nothing_that_another_cancelled(
    two: tuple[Dispatcher, Dispatcher],
) -> None:
    """The order stays claimed, and the next look settles it: what is cancelled is not run again."""
    quick, slow = two
    failed = Judged("bad-input", "No such course.").dump()
    quick.executor.mark(NAME, {names.OUTCOME: failed, names.EXPIRES_AT: stamp(2e9)})
    slow.executor.start()
    assert slow.views[0].stand is Stand.FAILED
    quick.executor.mark(NAME, CANCEL)
    slow.push(order(1, do={"1": "exit 75"}, force=True))
    assert slow.take() == 0
    assert category(slow) == CANCELLED
    slow.clock.shift = LOOK  # it has rested
    assert slow.take() == 1
    assert category(slow) == CANCELLED


def test_a_verdict_by_an_old_look_is_not_given(two: tuple[Dispatcher, Dispatcher]) -> None:
    """What was cancelled meanwhile stays cancelled, and what was judged is counted once."""
    quick, slow = two
    let_end(quick)
    slow.executor.start()
    old = slow.views
    assert old[0].stand is Stand.ENDED
    quick.executor.mark(NAME, CANCEL)
    assert slow.supervisor.give_verdicts(old) == 0
    assert category(slow) == CANCELLED


def test_of_two_dispatchers_that_judge_one_run_one_gives_the_verdict(
    two: tuple[Dispatcher, Dispatcher],
) -> None:
    quick, slow = two
    let_end(quick)
    slow.executor.start()
    old = slow.views
    assert quick.supervisor.give_verdicts(quick.views) == 1
    given = marks(quick)
    assert slow.supervisor.give_verdicts(old) == 0
    assert marks(slow) == given
    assert json.loads(given[names.FAILURES]) == {"temporary": 1}


def test_a_run_that_an_old_look_started_of_a_cancelled_task_is_ended(
    two: tuple[Dispatcher, Dispatcher],
) -> None:
    """A first run has no mark to clear, so that it may begin; then it is told to stop."""
    quick, slow = two
    quick.executor.mark(NAME, {names.ATTEMPT: "2"})
    slow.executor.start()
    old = slow.views
    assert old[0].stand is Stand.START
    quick.executor.mark(NAME, CANCEL)
    assert slow.start_due(old) == 1
    assert slow.views[0].stand is Stand.ACTIVE
    until(lambda: quick.views[0].stand is Stand.ACTIVE, "both see it", LIMIT)
    slow.supervisor.end_late(slow.views)
    slow.clock.shift = LOOK
    assert slow.supervisor.end_late(slow.views) == 1
    until(lambda: quick.views[0].stand is Stand.REPORT, "it is stopped", LIMIT)
    assert category(quick) == CANCELLED
