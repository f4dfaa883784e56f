"""Which orders go next: priority first, a fair turn between accounts, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.fairness import (
    AGE_SHARE,
    Waiting,
    choose,
    is_plain,
    read_waiting,
)
from tests.dispatcher.tasks import order

ACCOUNTS = st.sampled_from(["a", "b", "c", None])
PRIORITIES = st.integers(-2, 2)
RUNS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 6))


@st.composite
def windows(draw: st.DrawFn) -> list[Waiting]:
    """Waiting orders, oldest first; each with bytes of its own."""
    kinds = draw(st.lists(st.tuples(ACCOUNTS, PRIORITIES), max_size=40))
    return [Waiting(str(n).encode(), account, p) for n, (account, p) in enumerate(kinds)]


def place(waiting: Waiting) -> int:
    """How many are older."""
    return int(waiting.raw)


@given(windows(), RUNS, st.integers(0, 50), st.integers(0, 5), st.integers(0, 100))
def test_no_order_is_chosen_twice_and_none_is_made_up(
    window: list[Waiting], runs: dict[str, int], wanted: int, limit: int, turn: int
) -> None:
    chosen = choose(window, runs, wanted, limit, turn)
    assert len(set(chosen)) == len(chosen) <= wanted
    assert set(chosen) <= set(window)


@given(windows(), RUNS, st.integers(0, 50), st.integers(1, 5), st.integers(0, 100))
def test_no_account_gets_above_its_limit(
    window: list[Waiting], runs: dict[str, int], wanted: int, limit: int, turn: int
) -> None:
    chosen = choose(window, runs, wanted, limit, turn)
    added = Counter(one.account for one in chosen if one.account is not None)
    assert all(runs.get(account, 0) + count <= limit for account, count in added.items())


@given(windows(), RUNS, st.integers(0, 50), st.integers(0, 5), st.integers(0, 100))
def test_no_slot_is_left_empty_while_an_order_may_go(
    window: list[Waiting], runs: dict[str, int], wanted: int, limit: int, turn: int
) -> None:
    chosen = choose(window, runs, wanted, limit, turn)
    if len(chosen) == wanted:
        return
    counts = Counter(runs) + Counter(one.account for one in chosen if one.account is not None)
    for left in set(window) - set(chosen):
        assert limit
        assert left.account is not None
        assert counts[left.account] >= limit


@given(windows(), RUNS, st.integers(0, 50), st.integers(0, 100))
def test_the_highest_priority_goes_first(
    window: list[Waiting], runs: dict[str, int], wanted: int, turn: int
) -> None:
    chosen = [one.priority for one in choose(window, runs, wanted, 0, turn)]
    assert chosen == sorted((one.priority for one in window), reverse=True)[:wanted]


@given(windows(), RUNS, st.integers(0, 50), st.integers(0, 5), st.integers(0, 100))
def test_of_one_account_and_priority_the_oldest_goes_first(
    window: list[Waiting], runs: dict[str, int], wanted: int, limit: int, turn: int
) -> None:
    chosen = choose(window, runs, wanted, limit, turn)
    for kind in {(one.account, one.priority) for one in chosen}:
        places = [place(one) for one in chosen if (one.account, one.priority) == kind]
        alike = [place(one) for one in window if (one.account, one.priority) == kind]
        assert places == alike[: len(places)]


@given(st.lists(PRIORITIES, max_size=1), st.integers(0, 40), st.integers(0, 50))
def test_one_account_alone_is_served_by_age(priority: list[int], count: int, turn: int) -> None:
    window = [Waiting(str(n).encode(), "a", sum(priority)) for n in range(count)]
    assert choose(window, {"a": 3}, count, 0, turn) == window


def test_five_hundred_orders_of_one_account_do_not_keep_another_s_one_waiting() -> None:
    crowd = [Waiting(str(n).encode(), "crowd") for n in range(500)]
    lone = Waiting(b"500", "lone")
    for turn in range(AGE_SHARE):
        chosen = choose([*crowd, lone], {"crowd": 5}, 2, 0, turn)
        assert lone in chosen


@settings(max_examples=60)
@given(
    windows().filter(len),
    st.data(),
    st.integers(0, 4),
)
def test_nobody_waits_for_ever_whoever_comes_meanwhile(
    window: list[Waiting], data: st.DataObject, turn: int
) -> None:
    """One slot comes free again and again; before each choice a new account joins the queue."""
    plain = [Waiting(one.raw, one.account, 0) for one in window]
    watched = data.draw(st.sampled_from(plain))
    queue, choices = deque(plain), 0
    bound = AGE_SHARE * (place(watched) + 1)
    while watched in queue:
        queue.append(Waiting(f"9{choices:06}".encode(), f"newcomer {choices}"))
        (chosen,) = choose(list(queue), {"a": 9, "b": 9, "c": 9}, 1, 0, turn + choices)
        queue.remove(chosen)
        choices += 1
        assert choices <= bound


def test_only_accounts_limits_and_priorities_ask_for_more_than_age() -> None:
    one, other = Waiting(b"1", "a"), Waiting(b"2", "b")
    assert is_plain([], 0)
    assert is_plain([one, one, Waiting(b"?", None)], 0)
    assert not is_plain([one, other], 0)
    assert not is_plain([one], 1)
    assert not is_plain([Waiting(b"1", "a", 1)], 0)


def test_an_account_is_its_email_however_it_is_written() -> None:
    assert read_waiting(order(1, email=" Test@Example.com")).account == "test@example.com"
    assert read_waiting(order(1)).account == ""
    assert read_waiting(order(1, priority=7)).priority == 7
    assert read_waiting(b"no order").account is None
