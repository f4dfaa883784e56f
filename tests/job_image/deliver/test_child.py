"""Children: nobody outlives a step, and what they say comes in lines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import Stopped
from job_image.child import BAR_INTERVAL, GRACE, LINE_LIMIT, Child, Lines
from job_image.stop import Stop
from tests.job_image.deliver.run import alive, group, until

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
FAMILY = "sleep 300 & sleep 300 & echo ready; wait"


def started(script: str, stop: Stop | None = None) -> Child:
    """A shell script as a child."""
    return Child(["sh", "-c", script], os.environ, stop or Stop())


def said(child: Child) -> list[str]:
    """All lines of a child until it has ended."""
    return [line for line in child.lines() if line is not None]


def first(child: Child) -> str:
    """The first line of a child."""
    return next(line for line in child.lines() if line is not None)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 75", 75), ("kill -9 $$", -9), ("kill -15 $$", -15)]
)
def test_the_exit_code_is_told(script: str, code: int) -> None:
    with started(script) as child:
        assert said(child) == []
        assert child.code() == code


def test_output_and_errors_come_in_their_order() -> None:
    with started("echo a; echo b >&2; printf c") as child:
        assert said(child) == ["a", "b", "c"]


def test_a_child_that_closes_its_output_is_waited_for() -> None:
    with started("exec >&- 2>&-; sleep 0.5; exit 3") as child:
        assert said(child) == []
        assert child.code() == 3


def test_there_is_nothing_to_read_from_its_input() -> None:
    with started("read line; echo got $?") as child:
        assert said(child) == ["got 1"]


def test_leaving_ends_the_whole_family() -> None:
    with started(FAMILY) as child:
        assert first(child) == "ready"
        assert len(group(child.group)) == 3
    assert group(child.group) == []


def test_who_is_left_behind_is_ended_and_not_waited_for() -> None:
    with started("sleep 300 & echo done; exit 4") as child:
        start = time.monotonic()
        assert said(child) == ["done"]
        assert time.monotonic() - start < 30
        assert child.code() == 4
    until(lambda: group(child.group) == [], "the one left behind is gone")


def test_a_stubborn_one_is_killed_after_the_grace() -> None:
    with started(STUBBORN) as child:
        assert first(child) == "ready"
        start = time.monotonic()
    assert GRACE <= time.monotonic() - start < GRACE + 10
    assert group(child.group) == []


def test_an_obedient_one_has_time_to_tidy_up(tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    script = (
        f"trap 'sleep 0.3; touch {tidied}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    )
    with started(script) as child:
        assert first(child) == "ready"
    assert tidied.exists()


def test_a_stop_is_seen_while_the_child_is_silent() -> None:
    stop = Stop()
    with pytest.raises(Stopped), started("echo ready; sleep 300", stop) as child:
        assert first(child) == "ready"
        threading.Timer(0.1, stop.request).start()
        said(child)
    assert group(child.group) == []


def test_an_error_in_the_block_ends_the_child_too() -> None:
    with pytest.raises(KeyError), started(FAMILY) as child:
        first(child)
        raise KeyError
    assert group(child.group) == []


def test_silence_is_told_by_ticks() -> None:
    with started("sleep 1") as child:
        assert set(child.lines()) == {None}


@pytest.mark.parametrize("name", ["RCLONE_CONFIG_MY-REMOTE_TYPE", "a.b", "2", "PLAIN"])
def test_the_environment_arrives_whatever_its_names(name: str) -> None:
    """A remote of rclone's may have a hyphen in its name, and so in that of its settings."""
    environment = {name: "local", "PATH": os.environ["PATH"]}
    with Child(["env"], environment, Stop()) as child:
        assert f"{name}=local" in said(child)


def test_a_program_that_is_not_there_cannot_be_started() -> None:
    with Child(["/no/such/program"], os.environ, Stop()) as child:
        lines = said(child)
        assert child.code() == 127
    assert "/no/such/program" in " ".join(lines)


def test_the_kernel_ends_the_child_of_a_killed_program() -> None:
    program = (
        "import os; from job_image.child import Child; from job_image.stop import Stop\n"
        "with Child(['sleep', '300'], os.environ, Stop()) as child:\n"
        "    print(child.group, flush=True); list(child.lines())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid), "the child is gone")


# --- lines ----------------------------------------------------------------------------------------
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_where_a_stream_is_cut_changes_no_line(data: bytes, cuts: list[int]) -> None:
    data = data.replace(b"\r", b"")
    whole, pieces = Lines(), Lines()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    expected = whole.feed(data, 0) + whole.rest()
    got = [line for start, end in pairwise(edges) for line in pieces.feed(data[start:end], 0)]
    assert got + pieces.rest() == expected


def test_of_a_progress_bar_a_state_now_and_then_is_kept() -> None:
    lines = Lines()
    shown = []
    for second in range(30):
        shown += lines.feed(b"%d%%\r" % second, float(second))
    shown += lines.feed(b"100%\nnext\n", 30.0)
    assert shown == ["0%", "10%", "20%", "100%", "next"]
    assert BAR_INTERVAL == 10


def test_a_bar_that_stands_in_front_of_its_line_ends_is_one_line() -> None:
    assert Lines().feed(b"1%\r2%\r3%\n", 0) == ["3%"]
    assert Lines().feed(b"windows\r\nends\r\n", 0) == ["windows", "ends"]


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    lines = Lines()
    got = [line for _ in range(5) for line in lines.feed(b"x" * (LINE_LIMIT // 2), 0)]
    assert sum(len(line) for line in [*got, *lines.rest()]) == 5 * (LINE_LIMIT // 2)
    assert max(len(line) for line in got) <= 2 * LINE_LIMIT


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert Lines().feed(b"caf\xe9\n", 0) == ["caf\ufffd"]
