"""The crew: one task's trouble is its own; what is a bug is everybody's."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from contract.errors import Misconfigured, Temporary
from contract.log import Log, Redactor, set_up
from dispatcher.crew import REST, WORKERS, Crew


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
