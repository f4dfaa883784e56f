"""The cache against a model: whatever the order of news, nothing newer is undone by older."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dispatcher.executors import Holding, Phase, Run, Volume
from dispatcher.executors.kubernetes.cache import ENDS, Cache, Shelf

NAMES = st.sampled_from(["a", "b", "c"])


def a_run(run_id: str, attempt: int = 1) -> Run:
    """A run of that id."""
    return Run(run_id, attempt, Phase.ACTIVE)


class Server(RuleBasedStateMachine):
    """A server with one kind of object, a watch that lags behind it, and our own writes.

    `history` holds every event (version, kind, name, state); the watch has brought it up to
    `heard`. What an own write answered, or a list, is in the cache at once.
    """

    @initialize()
    def begin(self) -> None:
        """Nothing is there."""
        self.cache = Cache()
        self.version = 10
        self.objects: dict[str, tuple[int, Run]] = {}
        self.history: list[tuple[int, str, str, Run]] = []
        self.heard = 0
        self.count = 0
        self.proven: dict[str, int] = {}

    def tell(self, kind: str, name: str, run: Run) -> int:
        """Write into the server's history."""
        self.version += 1
        self.history.append((self.version, kind, name, run))
        if kind == "DELETED":
            del self.objects[name]
        else:
            self.objects[name] = (self.version, run)
        return self.version

    @rule(name=NAMES, own=st.booleans())
    def write(self, name: str, own: bool) -> None:
        """Somebody makes or changes an object; if it was us, the answer is taken at once."""
        known = self.objects.get(name)
        self.count += 1
        run = a_run(known[1].id if known else f"u{self.count}", self.count)
        version = self.tell("PUT", name, run)
        if own:
            self.cache.put(self.cache.runs, name, version, run)
            self.proven[name] = version

    @rule(name=NAMES, own=st.booleans())
    def remove(self, name: str, own: bool) -> None:
        """Somebody removes an object; if it was us, the answer is taken at once.

        We can remove only what we have seen: a removal carries the id.
        """
        known = self.objects.get(name)
        if known is None:
            return
        shown = self.cache.holdings().get(name)
        own = own and shown is not None and shown.run is not None and shown.run.id == known[1].id
        version = self.tell("DELETED", name, known[1])
        if own:
            self.cache.forget(self.cache.runs, name, known[1].id)
            self.proven[name] = version

    @rule(count=st.integers(1, 5))
    def hear(self, count: int) -> None:
        """The watch brings the next events."""
        for version, kind, name, run in self.history[self.heard : self.heard + count]:
            if kind == "DELETED":
                self.cache.drop(self.cache.runs, name, version, run.id)
            else:
                self.cache.put(self.cache.runs, name, version, run)
        self.heard = min(len(self.history), self.heard + count)

    @rule(late=st.integers(0, 3))
    def list_anew(self, late: int) -> None:
        """A list is read that was true `late` events ago, though not before what was heard."""
        upto = max(self.heard, len(self.history) - late)
        objects: dict[str, tuple[int, Run]] = {}
        for version, kind, name, run in self.history[:upto]:
            objects.pop(name, None)
            if kind == "PUT":
                objects[name] = (version, run)
        version = self.history[upto - 1][0] if upto else 10
        self.cache.replace(self.cache.runs, objects, version)
        self.heard = upto

    @invariant()
    def own_writes_stay_seen(self) -> None:
        """No name ever shows a state that is older than our last own write to it."""
        held = self.cache.holdings()
        for name, version in self.proven.items():
            states = {
                run
                for at, kind, who, run in self.history
                if (who, kind) == (name, "PUT") and at >= version
            }
            shown = held.get(name)
            if shown is not None:
                assert shown.run in states, (
                    f"{name} shows {shown.run}, older than version {version}"
                )
            else:
                gone = any(
                    who == name and kind == "DELETED" and at >= version
                    for at, kind, who, _ in self.history
                )
                assert gone, f"{name} is not shown, though we made it at {version}"

    @invariant()
    def in_the_end_it_is_level(self) -> None:
        """Once everything has been heard, the cache shows just what the server has."""
        if self.heard < len(self.history):
            return
        shown = {name: holding.run for name, holding in self.cache.holdings().items()}
        assert shown == {name: run for name, (_, run) in self.objects.items()}


TestAgainstModel = Server.TestCase
TestAgainstModel.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_holding_joins_volume_and_run() -> None:
    """Both halves of a name show as one holding; the last half takes the name with it."""
    cache = Cache()
    volume, run = Volume("v", 1.0, {}), a_run("r")
    cache.put(cache.volumes, "a", 1, volume)
    cache.put(cache.runs, "a", 1, run)
    assert dict(cache.holdings()) == {"a": Holding("a", volume, run)}
    cache.forget(cache.volumes, "a", "v")
    assert dict(cache.holdings()) == {"a": Holding("a", None, run)}
    cache.drop(cache.runs, "a", 2, "r")
    assert dict(cache.holdings()) == {}


def test_an_answer_that_comes_after_the_news_of_the_end_brings_nothing_back() -> None:
    """The watch is sometimes quicker than the answer to the very request that ended an object."""
    cache, dying = Cache(), replace(a_run("u1"), deleting=True)
    cache.put(cache.runs, "a", 5, a_run("u1"))
    cache.drop(cache.runs, "a", 7, "u1")
    cache.put(cache.runs, "a", 6, dying)
    assert cache.holdings() == {}
    cache.put(cache.runs, "a", 9, a_run("u2"))
    assert cache.holdings()["a"].run == a_run("u2")


def test_an_answer_that_comes_after_a_list_without_its_object_brings_nothing_back() -> None:
    """A watch that begins anew tells an end only by leaving it out."""
    cache, dying = Cache(), replace(a_run("u1"), deleting=True)
    cache.put(cache.runs, "a", 5, a_run("u1"))
    cache.replace(cache.runs, {}, 7)
    cache.put(cache.runs, "a", 6, dying)
    assert cache.holdings() == {}
    cache.put(cache.runs, "a", 9, a_run("u2"))
    assert cache.holdings()["a"].run == a_run("u2")


def test_ends_are_remembered_only_for_a_while() -> None:
    """Ten thousand tasks a day must not be remembered for ever."""
    shelf: Shelf[Run] = Shelf()
    for number in range(3 * ENDS):
        shelf.put("a", 2 * number, a_run(f"u{number}"))
        shelf.drop("a", 2 * number + 1, f"u{number}")
    assert shelf.remembered == ENDS


def test_a_snapshot_does_not_change() -> None:
    """What was handed out stays as it was, and nothing is copied while nothing changes."""
    cache = Cache()
    cache.put(cache.runs, "a", 1, a_run("r"))
    before = cache.holdings()
    assert cache.holdings() is before
    cache.put(cache.runs, "b", 2, a_run("s"))
    assert list(before) == ["a"]
    assert sorted(cache.holdings()) == ["a", "b"]


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    """A server whose versions cannot be compared is believed in the order of its news."""
    cache = Cache()
    cache.put(cache.runs, "a", -1, a_run("r", 1))
    cache.put(cache.runs, "a", -1, a_run("r", 2))
    assert cache.holdings()["a"].run == a_run("r", 2)
    cache.drop(cache.runs, "a", -1, "r")
    assert dict(cache.holdings()) == {}


def test_waiting_ends_with_a_change_and_only_with_one() -> None:
    """A change wakes who waits, also one before the wait; the same state again is no change."""
    cache = Cache()
    assert cache.wait(0.01) is False
    cache.put(cache.runs, "a", 1, a_run("r"))
    assert cache.wait(0) is True
    cache.put(cache.runs, "a", 2, a_run("r"))
    assert cache.wait(0.01) is False
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(cache.wait(30)))
    began = time.monotonic()
    thread.start()
    cache.put(cache.runs, "a", 3, a_run("r", 2))
    thread.join()
    assert woken == [True]
    assert time.monotonic() - began < 15
