"""Processes that are killed or stopped, machines that fail, and what the next run does."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from job_image.sources.part import Part
from job_image.sources.spans import Run, joined, size
from playground.content import Synthetic
from playground.portal import TOKEN, actions
from playground.portal.courses import Attachment, Chapter, Course, Video
from tests.job_image.fetch.film import COURSE, FILM, NAME, ON, SIZE, whole
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]
Start = Callable[..., subprocess.Popen[bytes]]
MIB = 1024 * 1024
FILMS = {number: Synthetic(f"film {number}", 6_000_000 + number) for number in range(1, 7)}
NOTES = Synthetic("notes", 300_000)
FOUR = Course(
    "many",
    chapters=(
        Chapter(
            "All",
            tuple(
                Video(f"Film {n}", {720: film}, supplements=(Attachment(f"{n}.bin", NOTES),))
                for n, film in FILMS.items()
            ),
        ),
    ),
)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the fetch step as a process; whatever is left of it ends with the test."""
    children: list[subprocess.Popen[bytes]] = []

    def run(order: Order, **more: str) -> subprocess.Popen[bytes]:
        order.out.truncate(0)
        message = {"taskId": 7, "courseUrl": order.portal.course_url(order.slug)}
        values = {"TASK": json.dumps(message), "SANDBOX": str(order.root), "PLATFORM_TOKEN": TOKEN}
        command = [sys.executable, "-m", "tests.job_image.fetch.child"]
        child = subprocess.Popen(
            command,
            env={**os.environ, **values, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        children.append(child)
        return child

    yield run
    for child in children:
        child.kill()
        child.communicate()


def parts(order: Order) -> dict[str, int]:
    """Unfinished files and their sizes."""
    found = (order.root / ".state/parts").glob("*.part")
    return {path.name: path.stat().st_size for path in found}


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return when `what` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "The state was not reached in time."
        time.sleep(0.005)


def test_a_killed_process_loses_no_byte_that_was_written(ordering: Ordering, start: Start) -> None:
    """SIGKILL in the middle of a file; the next run asks for exactly what is missing."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.StallBody(1_234_567))
    child = start(order)
    until(lambda: list(parts(order).values()) == [1_234_567])
    child.kill()
    child.wait()
    fetched = order.fetch()
    assert order.portal.ledger.of(ON).ranges == ["bytes=1234567-"]
    assert order.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched + fetched.bytes_reused == SIZE
    assert "0 of 1 files are complete (0 bytes), 1 goes on at 1.2 MiB." in order.log


def test_killed_again_and_again_at_any_time(ordering: Ordering, start: Start) -> None:
    """Eight kills at random moments: at most 1 MiB is fetched twice per kill and open file."""
    order = ordering(FOUR)
    order.portal.faults.add("cdn:*", actions.Rate(4_000_000), times=None)
    moments = random.Random(20260112)
    kills = 0
    while kills < 8:
        before = order.portal.ledger.total("cdn:").sent
        child = start(order)
        until(lambda before=before: order.portal.ledger.total("cdn:").sent > before)
        try:
            assert child.wait(moments.uniform(0.0, 0.8)) == 0
            break
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
    order.portal.faults.clear()
    order.fetch()
    for number, film in FILMS.items():
        assert order.read(f"01 - All/{number:03d} Film {number}.mp4") == whole(film)
        assert order.read(f"01 - All/{number:03d} {number}.bin") == whole(NOTES)
        overlaps = twice(order, f"cdn:many/{number:03d}/720.mp4")
        assert all(overlap <= MIB for overlap in overlaps), overlaps
    assert kills >= 3


def twice(order: Order, target: str) -> list[int]:
    """Bytes that were fetched before each further request for a file and are asked for again."""
    seen: list[Run] = []
    found = []
    for visit in order.portal.ledger.visits(target):
        start = int(re.findall(r"\d+", visit.range or "bytes=0-")[0])
        before, seen = seen, joined([*seen, (start, start + visit.sent)])
        found.append(size(before) + visit.sent - size(seen))
    return found


LONG = Synthetic("long film", 24_000_000)
SINGLE = Course("single", chapters=(Chapter("Only", (Video("Film", {720: LONG}),)),))


def test_killed_with_several_lines_at_one_film(ordering: Ordering, start: Start) -> None:
    """A film that idle threads help with, killed at random: at most 1 MiB a line comes twice."""
    order = ordering(SINGLE)
    order.portal.faults.add("cdn:*", actions.Rate(2_000_000), times=None)
    moments, target = random.Random(20261125), "cdn:single/001/720.mp4"
    for kill in range(3):
        child = start(order)
        until(lambda kill=kill: lines(order, target) > 2)
        with suppress(subprocess.TimeoutExpired):
            child.wait(moments.uniform(0.0, 0.8))
        child.kill()
        child.wait()
        order.portal.ledger.settle(target)
        assert size(runs(order)) >= order.portal.ledger.of(target).sent - (kill + 1) * 16 * MIB // 4
    order.portal.faults.clear()
    fetched = order.fetch()
    assert order.read("01 - Only/001 Film.mp4") == whole(LONG)
    assert fetched.bytes_reused > 2_000_000


def test_killed_as_a_second_line_begins(ordering: Ordering, start: Start) -> None:
    """The note says that bytes may lie behind a gap before the first of them does."""
    order = ordering(SINGLE)
    order.portal.faults.add("cdn:*", actions.Rate(2_000_000), times=None)
    child = start(order, COURSE_RUNNER_FAULT="fetch:spread")
    assert child.wait(30) == -signal.SIGKILL
    ((first, there),) = runs(order)
    assert first == 0 and there > 0
    order.portal.faults.clear()
    fetched = order.fetch()
    assert order.read("01 - Only/001 Film.mp4") == whole(LONG)
    assert fetched.bytes_reused == there


def lines(order: Order, target: str) -> int:
    return order.portal.ledger.of(target).running


def runs(order: Order) -> list[Run]:
    """What a later run finds of the one unfinished file."""
    (path,) = (order.root / ".state/parts").glob("*.part")
    part = Part(path.parent, path.stem)
    part.load()
    return part.runs


def test_told_to_stop_it_ends_soon_and_keeps_everything(ordering: Ordering, start: Start) -> None:
    """SIGTERM while the server is silent: exit 143 within seconds, nothing is fetched twice."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.StallBody(1_500_000))
    child = start(order)
    until(lambda: list(parts(order).values()) == [1_500_000])
    began = time.monotonic()
    child.terminate()
    assert child.wait(10) == 143
    assert time.monotonic() - began < 5
    assert note(order)[1]["synced"] == 1_500_000  # nothing is lost if the node goes away now
    order.fetch()
    assert order.portal.ledger.of(ON).ranges == ["bytes=1500000-"]
    assert order.read(NAME) == whole(FILM)


@pytest.mark.parametrize("target", ["api:subscribed-courses", "api:curriculum/one-film", ON])
def test_told_to_stop_while_nothing_is_answered(
    ordering: Ordering, start: Start, target: str
) -> None:
    """SIGTERM while any request waits for its answer: exit 143 within seconds."""
    order = ordering(COURSE)
    order.portal.faults.add(target, actions.Delay(60))
    child = start(order)
    order.portal.ledger.wait(lambda ledger: ledger.of(target).running == 1)
    began = time.monotonic()
    child.terminate()
    assert child.wait(15) == 143
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("point", ["planned", "noted", "recorded", "named"])
def test_killed_at_the_worst_moment(ordering: Ordering, start: Start, point: str) -> None:
    """Killed before its first byte, its rename, or its end: a film is fetched once."""
    order = ordering(COURSE)
    child = start(order, COURSE_RUNNER_FAULT=f"fetch:{point}")
    assert child.wait(30) == -signal.SIGKILL
    came = max(parts(order).values(), default=0) if point != "named" else SIZE
    assert came == {"planned": 0, "noted": 0, "recorded": SIZE, "named": SIZE}[point]
    fetched = order.fetch()
    assert order.read(NAME) == whole(FILM)
    assert fetched.bytes_fetched == SIZE - came and fetched.bytes_reused == came
    assert list((order.root / ".state/parts").iterdir()) == []


def note(order: Order) -> tuple[Path, dict[str, object]]:
    """The one note beside an unfinished file, and what it says."""
    (path,) = (order.root / ".state/parts").glob("*.json")
    return path, json.loads(path.read_text())


@pytest.fixture
def stopped(ordering: Ordering, start: Start) -> Callable[[], Order]:
    """An order whose process was killed with 1.5 MB of its film on the volume."""

    def prepare() -> Order:
        order = ordering(COURSE)
        order.portal.faults.add(ON, actions.StallBody(1_500_000))
        child = start(order)
        until(lambda: list(parts(order).values()) == [1_500_000])
        child.kill()
        child.wait()
        return order

    return prepare


def test_after_a_power_cut_only_synced_bytes_are_trusted(stopped: Callable[[], Order]) -> None:
    """In another boot the bytes after the last sync may be anything, and are fetched again."""
    order = stopped()
    path, said = note(order)
    path.write_text(json.dumps({**said, "boot": "another", "synced": 1_100_000}))
    part = path.with_suffix(".part")
    with part.open("r+b") as file:
        file.seek(1_100_000)
        file.write(bytes(400_000))
    order.fetch()
    assert order.portal.ledger.of(ON).ranges == ["bytes=1100000-"]
    assert order.read(NAME) == whole(FILM)


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"boot": 1}', '{"known": {"total": "x"}}'])
def test_a_broken_note_counts_as_none(stopped: Callable[[], Order], broken: str) -> None:
    """Bytes that nothing vouches for are not appended to."""
    order = stopped()
    note(order)[0].write_text(broken)
    order.fetch()
    assert order.portal.ledger.of(ON).ranges == []
    assert order.read(NAME) == whole(FILM)


def test_a_file_longer_than_its_object_counts_as_none(stopped: Callable[[], Order]) -> None:
    """A part that cannot be right is dropped."""
    order = stopped()
    with note(order)[0].with_suffix(".part").open("r+b") as file:
        file.truncate(SIZE + 1)
    order.fetch()
    assert order.portal.ledger.of(ON).ranges == []
    assert order.read(NAME) == whole(FILM)


def test_a_whole_part_needs_only_its_name(stopped: Callable[[], Order]) -> None:
    """Killed between the last byte and the rename, the next run asks for no byte."""
    order = stopped()
    part = note(order)[0].with_suffix(".part")
    part.write_bytes(whole(FILM))
    order.portal.ledger.reset()
    order.fetch()
    assert order.portal.ledger.visits("cdn:") == []
    assert order.read(NAME) == whole(FILM)


def test_a_replaced_object_between_two_runs_is_taken_whole(stopped: Callable[[], Order]) -> None:
    """Half of one version and half of another never make a film."""
    order = stopped()
    other = Synthetic("other", SIZE)
    order.portal.replace("one-film/001/720.mp4", other)
    order.fetch()
    assert order.read(NAME) == whole(other)
