"""What is believed of an unfinished file whose bytes came in any order, after whatever happened."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import Temporary, VolumeFull
from job_image.sources import notes, spans
from job_image.sources.part import Part
from job_image.sources.ranges import Known
from job_image.sources.spans import Run

TOTAL = 5_000_000
KNOWN = Known('"one"', total=TOTAL)
RUNS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda one: tuple(sorted(one)))
)


@given(RUNS)
def test_runs_hold_the_same_bytes_in_any_order(runs: list[Run]) -> None:
    """Joined runs and gaps part the bytes of a file between them, whatever came in which order."""
    held = {at for start, stop in runs for at in range(start, stop)}
    made = spans.joined(runs)
    assert {at for start, stop in made for at in range(start, stop)} == held
    assert spans.size(made) == len(held)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(made))
    free = {at for start, stop in spans.gaps(runs, 60) for at in range(start, stop)}
    assert free == set(range(60)) - held


@pytest.fixture
def scattered(tmp_path: Path) -> Callable[[], Part]:
    """A part with 100,000 bytes from its beginning, and as many after a gap."""

    def make() -> Part:
        part = Part(tmp_path, "key")
        part.begin(KNOWN)
        part.append(b"a" * 100_000)
        part.put(1_000_000, b"b" * 100_000)
        return part

    return make


def again(part: Part) -> Part:
    """The part as a later process finds it; the earlier one was killed."""
    part.close()
    found = Part(part.path.parent, "key")
    found.load()
    return found


def test_a_kill_loses_nothing_that_was_written(scattered: Callable[[], Part]) -> None:
    """Both runs are there, and the gap is not."""
    found = again(scattered())
    assert found.runs == [(0, 100_000), (1_000_000, 1_100_000)]
    assert (found.here, found.offset, found.known) == (200_000, 100_000, KNOWN)


def test_a_power_cut_loses_what_was_not_synced(
    scattered: Callable[[], Part], tmp_path: Path
) -> None:
    """In another boot the journal counts for nothing, then and in all later runs of that boot."""
    part = scattered()
    part.sync()
    part.put(2_000_000, b"c" * 100_000)
    note = tmp_path / "key.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "boot": "another"}))
    found = again(part)
    assert found.runs == [(0, 100_000), (1_000_000, 1_100_000)]
    found.put(100_000, b"d" * 50)
    assert again(found).runs == [(0, 100_050), (1_000_000, 1_100_000)]


def test_the_note_of_a_scattered_file_says_nothing_to_an_older_program(
    scattered: Callable[[], Part], tmp_path: Path
) -> None:
    """It would take the file's size for its bytes; what it cannot read makes it begin anew."""
    scattered().close()
    with pytest.raises(TypeError):
        int(json.loads((tmp_path / "key.json").read_text())["synced"])


def test_the_note_of_an_older_program_is_gone_on_with(tmp_path: Path) -> None:
    """A part and its note as the version before left them."""
    (tmp_path / "key.part").write_bytes(b"a" * 2_000_000)
    known = {"etag": '"one"', "modified": "", "total": 5_000_000}
    note = {"boot": "another", "synced": 1_500_000, "known": known}
    (tmp_path / "key.json").write_text(json.dumps(note))
    part = Part(tmp_path, "key")
    part.load()
    assert (part.offset, part.here, part.known) == (1_500_000, 1_500_000, KNOWN)


def test_a_file_that_is_gone_on_with_elsewhere_is_noted_there(tmp_path: Path) -> None:
    """A volume may come back to the machine it was on: its old note must not count there again."""
    (tmp_path / "key.part").write_bytes(b"a" * 2_000_000)
    note = tmp_path / "key.json"
    notes.write(note, 1_500_000, KNOWN)
    note.write_text(json.dumps({**json.loads(note.read_text()), "boot": "another"}))
    part = Part(tmp_path, "key")
    part.load()
    part.append(b"b" * 100)
    part.close()
    found = notes.read(note)
    assert found == notes.Note(notes.boot(), 1_500_000, KNOWN)
    assert again(part).offset == 1_500_100


@pytest.mark.parametrize("end", [b"99", b"5 6", b"x y\n", b"900000000 900000001\n"])
def test_a_broken_journal_counts_up_to_where_it_is_broken(
    scattered: Callable[[], Part], tmp_path: Path, end: bytes
) -> None:
    """A torn line is none; bytes that the file cannot hold mean that nothing can be believed."""
    part = scattered()
    journal = tmp_path / "key.runs"
    journal.write_bytes(journal.read_bytes().rstrip(b"\0") + end)
    found = again(part)
    believed = [(0, 100_000), (1_000_000, 1_100_000)]
    assert found.runs == (believed if b"900" not in end else [(0, 0)])


def test_a_shortened_file_is_not_believed(scattered: Callable[[], Part]) -> None:
    """Bytes that are noted and not there would be read as zeros."""
    part = scattered()
    with part.path.open("r+b") as file:
        file.truncate(1_000_000)
    assert again(part).here == 0


def test_a_part_that_begins_anew_is_one_run_again(scattered: Callable[[], Part]) -> None:
    """Nothing of the journal is left for the next object."""
    part = scattered()
    part.begin(Known('"two"', total=3_000_000))
    part.append(b"e" * 10)
    found = again(part)
    assert (found.runs, found.known.etag) == ([(0, 10)], '"two"')
    assert not (found.path.parent / "key.runs").exists()


def test_a_finished_file_leaves_nothing_behind(
    scattered: Callable[[], Part], tmp_path: Path
) -> None:
    """Part, note and journal are gone once the file has its name."""
    part = scattered()
    part.become(tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_full_volume_keeps_what_was_written(scattered: Callable[[], Part], volume: Path) -> None:
    """The runs tell of the bytes that still fitted, and of no others."""
    part = Part(volume, "key")
    part.begin(Known('"one"', total=50_000_000))
    part.append(b"a" * 1_000_000)
    with pytest.raises(VolumeFull):
        part.put(20_000_000, b"b" * 20_000_000)
    found = again(part)
    ((_, first), (start, stop)) = found.runs
    assert (first, start) == (1_000_000, 20_000_000)
    assert stop < 40_000_000 and found.path.read_bytes()[start:stop] == b"b" * (stop - start)


@pytest.mark.parametrize("blocked", ["key.runs", "key.json.new"])
def test_a_gap_that_could_not_be_noted_is_noted_the_next_time(tmp_path: Path, blocked: str) -> None:
    """No byte lies behind a gap while the note on the volume lets the file's size count."""
    part = Part(tmp_path, "key")
    part.begin(KNOWN)
    part.append(b"a" * 100_000)
    (tmp_path / blocked).mkdir()
    with pytest.raises(Temporary):
        part.put(1_000_000, b"b" * 100_000)
    assert part.path.stat().st_size == 100_000
    (tmp_path / blocked).rmdir()
    part.put(1_000_000, b"b" * 100_000)
    assert again(part).runs == [(0, 100_000), (1_000_000, 1_100_000)]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A disk that tells once that bytes were not written, as the kernel does; files it told of."""
    told: list[int] = []
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        if told:
            return real(file)
        told.append(file)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return told


def test_bytes_that_could_not_be_synced_are_never_believed(
    failing: list[int], tmp_path: Path
) -> None:
    """One error is enough: whatever later syncs say, the file gets no name and begins anew."""
    part = Part(tmp_path, "key")
    part.begin(KNOWN)
    part.append(b"a" * 2_000_000)
    with pytest.raises(Temporary):
        part.sync()
    part.sync()
    with pytest.raises(Temporary):
        part.append(b"a")
    with pytest.raises(Temporary):
        part.become(tmp_path / "film.mp4")
    with pytest.raises(Temporary):
        part.hand_over()
    assert failing and [path.name for path in tmp_path.iterdir()] == ["key.part"]
    found = again(part)
    assert found.here == 0
    found.begin(KNOWN)
    found.append(b"b" * TOTAL)
    found.become(tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").stat().st_size == TOTAL


def test_a_part_that_begins_anew_forgets_what_could_not_be_synced(
    failing: list[int], tmp_path: Path
) -> None:
    """None of the bytes that are in doubt is left."""
    part = Part(tmp_path, "key")
    part.begin(KNOWN)
    part.append(b"a" * 2_000_000)
    with pytest.raises(Temporary):
        part.sync()
    part.begin(KNOWN)
    part.append(b"b" * 10)
    part.sync()
    assert failing and again(part).here == 10
