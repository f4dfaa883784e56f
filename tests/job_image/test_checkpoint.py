"""The checkpoint: durable, honest about another order, never in the way when it is broken."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import Misconfigured, Temporary
from contract.log import Log, Redactor, set_up
from contract.task import Task
from job_image.checkpoint import STEPS, Checkpoint, apart, fingerprint, load
from job_image.sandbox import Sandbox

TASK = Task(999, "https://host/course/x/", quality="720")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged."""
    stream = io.StringIO()
    logger = set_up("text", Redactor(), stream)
    yield stream
    logger.handlers.clear()


@pytest.fixture
def sandbox(tmp_path: Path, lines: io.StringIO) -> Sandbox:
    """An empty volume."""
    made = Sandbox(tmp_path)
    made.prepare()
    return made


def loaded(sandbox: Sandbox, task: Task = TASK) -> Checkpoint:
    """The order's checkpoint."""
    return load(sandbox, task, Log.for_task())


def test_a_new_volume_has_no_marks(sandbox: Sandbox) -> None:
    fresh = loaded(sandbox)
    assert (fresh.done, fresh.folder, fresh.runs, fresh.finished_at) == ({}, "", 0, 0)
    assert list(sandbox.state.iterdir()) == []  # reading writes nothing


def test_what_is_marked_is_read_again(sandbox: Sandbox) -> None:
    first = loaded(sandbox)
    first.folder, first.finished_at, first.failed_at, first.runs = "x – ü", 17, 18, 2
    first.mark("fetch")
    again = loaded(sandbox)
    assert again.has("fetch")
    assert not again.has("upload")
    assert (again.folder, again.finished_at, again.failed_at, again.runs) == ("x – ü", 17, 18, 2)


def test_a_dropped_mark_is_gone_for_good(sandbox: Sandbox) -> None:
    first = loaded(sandbox)
    for step in STEPS[:3]:
        first.mark(step)
    first.drop("upload", "verify")
    assert list(loaded(sandbox).done) == ["fetch"]


def test_a_write_that_is_cut_short_leaves_the_old_content(sandbox: Sandbox) -> None:
    """What a crash in the middle of a write leaves is the scratch file beside the whole old one."""
    first = loaded(sandbox)
    first.mark("fetch")
    (sandbox.state / "state.json.new").write_bytes(b'{"sche')
    assert loaded(sandbox).has("fetch")
    first.mark("upload")
    assert loaded(sandbox).has("upload")


@pytest.mark.parametrize(
    "other",
    [
        Task(998, TASK.course_url, quality="720"),
        Task(999, "https://host/course/y/", quality="720"),
        Task(999, TASK.course_url, quality="360"),
        Task(999, TASK.course_url, quality="720", captions="en"),
    ],
    ids=["id", "course", "quality", "captions"],
)
def test_the_marks_of_another_order_are_refused_and_left_untouched(
    sandbox: Sandbox, other: Task
) -> None:
    loaded(sandbox).mark("fetch")
    before = (sandbox.state / "state.json").read_bytes()
    with pytest.raises(Misconfigured, match="999"):
        loaded(sandbox, other)
    assert (sandbox.state / "state.json").read_bytes() == before


def test_another_account_or_force_is_the_same_order(sandbox: Sandbox) -> None:
    loaded(sandbox).mark("fetch")
    same = Task("999", TASK.course_url, email="b@example.com", quality="720", force=True)
    assert loaded(sandbox, same).has("fetch")
    assert fingerprint(same) == fingerprint(TASK)


BROKEN = [b"", b"{", b"null", b"[]", b"\xff", b"[" * 5000, b'{"schema":1}', b"{}\x00"]
GOOD = {"task": "999", "fingerprint": fingerprint(TASK), "runs": 1, "folder": "x"}
GOOD |= {"finished_at": 0, "failed_at": 0, "done": {}}
BROKEN += [json.dumps({**GOOD, name: [1]}).encode() for name in GOOD]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content[:30]))
def test_a_broken_checkpoint_is_set_aside_and_the_work_begins_anew(
    sandbox: Sandbox, lines: io.StringIO, content: bytes
) -> None:
    (sandbox.state / "state.json").write_bytes(content)
    assert loaded(sandbox).done == {}
    assert (sandbox.state / "state.json.bad").read_bytes() == content
    assert not (sandbox.state / "state.json").exists()
    assert "[RESUME] state.json is broken" in lines.getvalue()


def test_a_checkpoint_from_before_a_field_was_added_still_counts(sandbox: Sandbox) -> None:
    old = {name: value for name, value in GOOD.items() if name != "failed_at"}
    old["done"] = {"fetch": 1.0, "a step of another version": 2.0}
    (sandbox.state / "state.json").write_text(json.dumps(old))
    assert list(loaded(sandbox).done) == ["fetch"]


def test_a_volume_that_cannot_be_read_is_a_passing_failure(sandbox: Sandbox) -> None:
    (sandbox.state / "state.json").mkdir()
    with pytest.raises(Temporary, match=r"state\.json"):
        loaded(sandbox)


def test_marks_apart_are_written_nowhere(sandbox: Sandbox) -> None:
    marks = apart(TASK)
    marks.mark("fetch")
    assert marks.has("fetch")
    assert list(sandbox.state.iterdir()) == []


@given(
    st.sets(st.sampled_from(STEPS)),
    st.text(max_size=20),
    st.integers(0, 2**40),
    st.integers(0, 1000),
)
def test_any_marks_survive_being_written(
    tmp_path_factory: pytest.TempPathFactory, done: set[str], folder: str, at: int, runs: int
) -> None:
    sandbox = Sandbox(tmp_path_factory.mktemp("volume"))
    sandbox.prepare()
    first = loaded(sandbox)
    first.folder, first.finished_at, first.runs = folder, at, runs
    first.done = dict.fromkeys(done, 1.5)
    first.save()
    again = loaded(sandbox)
    assert (again.done, again.folder, again.finished_at, again.runs) == (
        first.done,
        folder,
        at,
        runs,
    )
