"""How many transfers at once: decided from rates, refusals and the time alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from job_image.sources.width import LONG, REST, SLOW, WINDOW, Sight, Width

LINE = 2_000_000


def run(width: Width, rate: float, seconds: int, *, full: float = 1e12, start: float = 0) -> float:
    """Let every line bring `rate`, all together at most `full`; return the time afterwards."""
    came, now = 0.0, start
    for _ in range(int(seconds / WINDOW) + 1):
        width.look(now, Sight(int(came)))
        came += min(full, rate * width.size) * WINDOW
        now += WINDOW
    return now


def test_lines_that_are_held_back_are_multiplied_up_to_the_limit() -> None:
    """A server that gives each line 2 MB/s is asked on sixteen of them within seconds."""
    width = Width(4, 16)
    run(width, LINE, 4)
    assert width.size == 16


def test_a_fast_line_is_left_alone() -> None:
    """Where each line brings much, no further one is tried."""
    width = Width(4, 16)
    run(width, SLOW, 100)
    assert width.size == 4


def test_lines_that_bring_nothing_are_given_up() -> None:
    """On a wire that is full, more lines last one look and are not tried again at once."""
    width = Width(4, 16)
    came, sizes = 0, []
    for second in range(int(REST)):
        width.look(float(second), Sight(came))
        came += LINE
        sizes.append(width.size)
    assert sizes.count(16) == 1 and width.size == 4


def test_a_number_that_is_asked_for_is_kept_to() -> None:
    """Without room above the start nothing grows."""
    width = Width(2, 2)
    run(width, 1000, 100)
    assert width.size == 2


def test_silence_is_no_reason_for_more() -> None:
    """Where nothing comes at all, more lines are not the cure."""
    width = Width(4, 16)
    run(width, 0, 100)
    assert width.size == 4


def test_a_refusal_halves_and_one_comes_back_at_a_time() -> None:
    """Half at once; then one every half minute, never above the start again."""
    width = Width(4, 16)
    now = run(width, LINE, 4)
    width.refused(now)
    assert width.size == 2
    width.look(now + REST - 1, Sight())
    assert width.size == 2
    width.look(now + REST, Sight())
    assert width.size == 3
    width.look(now + REST + 1, Sight())
    assert width.size == 3
    run(width, LINE, 600, start=now + REST + 1)
    assert width.size == 4


def test_after_a_refusal_no_line_counts_as_slow() -> None:
    """What was measured before is forgotten, and further lines of a file are not tried again."""
    width = Width(4, 16)
    now = run(width, LINE, 4)
    assert width.is_slow
    width.refused(now)
    assert not width.is_slow
    run(width, LINE, 600, start=now)
    assert not width.is_slow


def afar(width: Width, wait: float, share: float, *, worked: float = 0) -> None:
    """Two looks, a quarter of a second apart: fast lines that wait for each answer so long.

    `share` of the lines' time is such waiting; `worked` is the processor's part of the time.
    """
    width.look(0.0, Sight())
    waited = share * 0.25 * width.size
    answers = max(width.size, round(waited / wait))
    width.look(0.25, Sight(SLOW * width.size, answers, wait * answers, worked * 0.25))


def test_lines_that_wait_for_answers_are_multiplied_before_a_rate_is_known() -> None:
    """A long way is seen by the answers, long before half a second of bytes has been counted."""
    width = Width(4, 16)
    afar(width, 0.05, 0.8)
    assert width.size == 16


def test_short_waits_are_no_reason_for_more() -> None:
    """Right beside the server four lines keep its wire busy."""
    width = Width(4, 16)
    afar(width, LONG / 10, 0.8)
    assert width.size == 4


def test_where_the_processor_is_short_no_line_is_tried() -> None:
    """More lines would only share it."""
    width = Width(4, 16)
    afar(width, 0.05, 0.8, worked=0.9)
    assert width.size == 4


@given(
    st.integers(1, 8),
    st.integers(1, 32),
    st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.integers(0, 10**9))),
)
def test_the_number_stays_within_its_limits(
    start: int, most: int, story: list[tuple[bool, float, int]]
) -> None:
    """Whatever happens, at least one thread works and never more than allowed."""
    width, now, came = Width(start, most), 0.0, 0
    for refused, passed, more in story:
        now, came = now + passed, came + more
        if refused:
            width.refused(now)
        width.look(now, Sight(came))
        assert 1 <= width.size <= max(start, most)
