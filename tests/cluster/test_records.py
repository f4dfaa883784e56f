"""Processes are ended by their record and nothing else is.

In: real child processes. Out: proof that a recycled id or another boot's record is never signalled.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.commands import wait_for
from tests.cluster.records import Record, alive, found, signal_process

STALE: tuple[Callable[[Record], Record], ...] = (
    lambda record: replace(record, started=1),
    lambda record: replace(record, boot="another"),
)


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of our own that lives until it is told otherwise."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def record(sleeper: "subprocess.Popen[bytes]") -> Record:
    """The sleeper's record, as found in the process table by its name and argument."""
    return next(each for each in found("sleep", "600") if each.pid == sleeper.pid)


def test_a_recorded_process_is_ended(sleeper: "subprocess.Popen[bytes]", record: Record) -> None:
    """A live process counts as alive, is ended by its record, and counts as dead as a zombie."""
    assert alive(record)
    signal_process(record, signal.SIGKILL)
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not alive(record)


def test_a_zombie_counts_as_dead(sleeper: "subprocess.Popen[bytes]", record: Record) -> None:
    """A process that ended but was not waited for yet keeps nobody waiting."""
    sleeper.kill()
    stat = Path(f"/proc/{sleeper.pid}/stat")
    wait_for("zombie", lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", 10)
    assert not alive(record)


@pytest.mark.parametrize("change", STALE, ids=["start", "boot"])
def test_another_process_with_the_same_id_is_spared(
    sleeper: "subprocess.Popen[bytes]", record: Record, change: Callable[[Record], Record]
) -> None:
    """An id that now belongs to another process, or comes from another boot, is not signalled."""
    stale = change(record)
    assert not alive(stale)
    signal_process(stale, signal.SIGKILL)
    assert sleeper.poll() is None
    assert alive(record)


def test_a_record_of_nobody_is_no_error(record: Record) -> None:
    """Signalling a process that is long gone does nothing."""
    nobody = replace(record, pid=2**22 + 1)
    signal_process(nobody, signal.SIGKILL)
    assert not alive(nobody)
