"""The crew: one task's trouble is its own; what is a bug is everybody's."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator

import pytest

from contract.errors import Misconfigured, Stopped, Temporary
from contract.log import Log, Redactor, set_up
from contract.task import Task
from dispatcher.complaints import AGAIN
from dispatcher.crew import GRACE, HELD, REST, WORKERS, Crew
from dispatcher.executors import Busy, Unavailable


class Clock:
    """Time that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The crew's clock."""
    return Clock()


@pytest.fixture
def lines() -> io.StringIO:
    """What is logged."""
    stream = io.StringIO()
    set_up("text", Redactor(), stream)
    return stream


@pytest.fixture
def crew(clock: Clock, lines: io.StringIO) -> Iterator[Crew]:
    """A crew."""
    made = Crew(Log.for_task(), clock)
    yield made
    made.close()


def test_the_troubled_one_rests_and_the_others_are_done(
    crew: Crew, clock: Clock, lines: io.StringIO
) -> None:
    done: list[str] = []

    def act(item: str) -> None:
        if item == "b":
            raise Temporary("b is away.")
        done.append(item)

    assert crew.each(["a", "b", "c"], str, act) == 2
    assert sorted(done) == ["a", "c"]
    assert "b: b is away." in lines.getvalue()
    assert crew.resting("b")
    assert not crew.resting("a")
    assert crew.each(["b"], str, act) == 0
    assert lines.getvalue().count("b is away.") == 1  # it was left alone
    clock.now += REST
    assert not crew.resting("b")


def test_a_rest_is_as_long_as_was_asked_for(crew: Crew, clock: Clock) -> None:
    def act(item: str) -> None:
        raise Temporary("Later.", retry_after=30)

    crew.each(["a"], str, act)
    clock.now += 29
    assert crew.resting("a")
    clock.now += 1
    assert not crew.resting("a")


def test_what_is_wrong_for_good_does_not_stop_the_others_either(crew: Crew) -> None:
    def act(item: str) -> None:
        if item == "a":
            raise Misconfigured("No.")

    assert crew.each(["a", "b"], str, act) == 1


def test_a_bug_is_not_swallowed(crew: Crew) -> None:
    def act(item: str) -> None:
        raise KeyError(item)

    with pytest.raises(KeyError):
        crew.each(["a"], str, act)


def test_several_are_at_work_at_once(crew: Crew) -> None:
    """All workers must meet at the barrier, or it breaks."""
    barrier = threading.Barrier(WORKERS, timeout=10)
    assert crew.each(range(WORKERS), str, lambda _: barrier.wait() and None) == WORKERS


# --- an outage ------------------------------------------------------------------------------------
def refuse(item: str) -> None:
    """Be away."""
    raise Unavailable(f"No answer about course-{item}.", advice="Look at the network.")


def test_an_outage_is_said_once_for_all_with_its_cure_and_again_a_minute_later(
    crew: Crew, clock: Clock, lines: io.StringIO
) -> None:
    def of(item: str) -> Task:
        return Task(int(item), "https://c.example/course/x/")

    items = [str(number) for number in range(720, 740)]
    for _ in range(3):
        crew.each(items, str, refuse, of)
        clock.now += REST
    (line,) = lines.getvalue().splitlines()
    assert "[KEEP] Task 7" in line
    assert line.endswith("Look at the network.")
    clock.now += AGAIN
    crew.each(items[:1], str, refuse, of)
    assert "59 more times" in lines.getvalue().splitlines()[1]


def test_the_log_of_machines_names_the_task(crew: Crew) -> None:
    stream = io.StringIO()
    set_up("json", Redactor(), stream)
    crew.each(["{raw"], str, refuse, lambda _: Task(720, "https://c.example/course/x/"))
    assert json.loads(stream.getvalue())["task_id"] == 720
    assert "{raw" not in json.loads(stream.getvalue())["msg"].split(":")[0]


def test_what_is_one_tasks_own_trouble_is_said_of_each(crew: Crew, lines: io.StringIO) -> None:
    def act(item: str) -> None:
        raise Busy(f"Task {item} waits.")

    crew.each(["1", "2"], str, act)
    assert len(lines.getvalue().splitlines()) == 2


def test_that_nothing_gets_through_is_told_until_something_does(crew: Crew, clock: Clock) -> None:
    assert crew.trouble() == ""
    crew.each(["1", "2"], str, refuse)
    assert crew.trouble().startswith("No answer")
    assert crew.trouble().startswith("No answer")  # while they rest
    crew.each(["3"], str, lambda _: None)
    assert crew.trouble() == ""
    crew.each(["4"], str, refuse)
    crew.each(["5"], str, lambda _: None)
    assert crew.trouble() == ""  # one of them got through
    crew.each(["6"], str, refuse)
    assert crew.trouble() != ""
    clock.now += HELD + 1
    assert crew.trouble() == ""  # nothing is left that would tell


# --- being told to stop ---------------------------------------------------------------------------
def test_told_to_stop_it_leaves_an_act_that_hangs_and_begins_no_other(clock: Clock) -> None:
    stop, free = threading.Event(), threading.Event()
    begun: list[int] = []

    def hang(item: int) -> None:
        begun.append(item)
        stop.set()
        free.wait(60)

    crew = Crew(Log.for_task(), clock, stop)
    started = time.monotonic()
    with pytest.raises(Stopped):
        crew.each(range(WORKERS + 5), str, hang)
    assert GRACE <= time.monotonic() - started < GRACE + 5
    assert not crew.close()
    free.set()
    assert sorted(begun) == list(range(WORKERS))


def test_told_to_stop_it_still_ends_what_ends_soon(clock: Clock) -> None:
    stop = threading.Event()
    stop.set()
    crew = Crew(Log.for_task(), clock, stop)
    assert crew.each(range(50), str, lambda _: None) == 50
    assert crew.close()
