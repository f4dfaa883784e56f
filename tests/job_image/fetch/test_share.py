"""Who brings which bytes of one file: decided without a network, with real parts on a volume."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import Temporary
from job_image.sources.line import Line, Via
from job_image.sources.part import Part
from job_image.sources.ranges import Known
from job_image.sources.share import LONG, Range, Share
from job_image.stop import Stop

LEAST = 100_000
TOTAL = 3_000_000
KNOWN = Known('"one"', total=TOTAL)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """A share of a file of which nothing is there."""
    return Share(Part(tmp_path, "key"), LEAST)


def begun(share: Share, first: int = LEAST) -> Range:
    """The owner's range, `first` bytes of it there, further lines welcome."""
    mine = owned(share)
    share.begin(mine, KNOWN)
    share.write(mine, memoryview(b"a" * first))
    share.allow(True)
    return mine


def owned(share: Share) -> Range:
    """What the file's own thread is to bring."""
    mine = share.next(Stop())
    assert mine is not None
    return mine


def spared(share: Share) -> Range:
    """What a further line is to bring."""
    mine = share.spare()
    assert mine is not None
    return mine


def test_no_line_helps_before_the_first_byte(share: Share) -> None:
    """An answer whose body never begins is nobody's to share; from its first byte on it is."""
    mine = begun(share, 0)
    assert share.spare() is None
    share.write(mine, memoryview(b"a"))
    assert spared(share).stop == TOTAL


def test_an_end_without_a_beginning_is_no_whole_file(share: Share, tmp_path: Path) -> None:
    """Bytes behind a gap at the very start do not count as the beginning, now or after a kill."""
    part = share.part
    part.begin(KNOWN)
    part.put(TOTAL - 10, b"b" * 10)
    assert (part.offset, part.here) == (0, 10)
    assert owned(share).at == 0
    part.close()
    found = Part(tmp_path, "key")
    found.load()
    assert (found.offset, found.here) == (0, 0)


def test_a_refusal_for_good_outlasts_the_success_of_another_line(share: Share) -> None:
    """Once a server has shown that ranges are not to be had, no line is tried again."""
    begun(share)
    refused, other = spared(share), spared(share)
    share.helped(refused, for_good=True)
    share.helped(other)
    assert not share.allow(True)
    assert share.spare() is None


def test_a_file_that_begins_anew_comes_on_one_line(share: Share) -> None:
    """Where bytes had to be thrown away, more lines would throw away more."""
    mine = begun(share)
    share.begin(mine, KNOWN)
    assert not share.allow(True)


def test_a_file_that_was_dropped_comes_on_one_line(share: Share) -> None:
    """The same when the next answer is what begins it."""
    begun(share)
    share.drop()
    share.begin(owned(share), KNOWN)
    assert not share.allow(True)


def test_the_owner_hears_what_the_volume_refused_to_another_line(
    share: Share, tmp_path: Path
) -> None:
    """A further line keeps errors to itself; one of the volume is the file's own all the same."""
    mine = begun(share)
    other = spared(share)
    (tmp_path / "key.runs").mkdir()
    with pytest.raises(Temporary) as first:
        share.write(other, memoryview(b"b" * 10))
    (tmp_path / "key.runs").rmdir()
    share.helped(other, failed=True)
    with pytest.raises(Temporary) as then:
        share.write(mine, memoryview(b"a"))
    share.leave(mine)
    with pytest.raises(Temporary) as last:
        share.next(Stop())
    assert first.value is then.value is last.value


@pytest.fixture
def silent() -> Iterator[Line]:
    """A line on which nothing comes."""
    here, there = socket.socketpair()
    with here, there:
        yield Line(here, Via())


def test_each_take_over_asks_for_more_patience(tmp_path: Path, silent: Line) -> None:
    """Two lines do not take a range, slow in beginning, from each other for ever."""
    share = Share(Part(tmp_path, "key"), TOTAL, 0.05, 0.4)
    mine, waits = begun(share), []
    for _ in range(5):
        began = time.monotonic()
        share.watch(mine, silent)
        while (found := share.spare()) is None:
            assert time.monotonic() < began + 30
            time.sleep(0.005)
        mine = found
        waits.append(time.monotonic() - began)
    assert all(wait >= least for wait, least in zip(waits, (0.05, 0.1, 0.2, 0.4, 0.4), strict=True))


def test_a_slow_volume_is_no_silence_of_the_other_lines(
    tmp_path: Path, silent: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written meanwhile counts from the end of the write that took long."""
    share = Share(Part(tmp_path, "key"), TOTAL // 3, LONG)
    mine = begun(share)
    other = spared(share)
    share.watch(other, silent)
    real = os.pwrite

    def slow(file: int, data: bytes, at: int) -> int:
        time.sleep(1.2 * LONG)
        return real(file, data, at)

    monkeypatch.setattr(os, "pwrite", slow)
    share.write(mine, memoryview(b"a"))
    assert share.spare() is None
    assert other.left > 0
