"""Which of the waiting orders go next. Pure.

Goes in: the oldest orders of the queue (a window), how many runs each account has. Comes out: the
chosen ones, in the order in which they go. The rules, first to last:

1. An account at its limit (MAX_ACTIVE_PER_ACCOUNT) waits, whatever its priority.
2. The highest `priority` goes first, strictly.
3. Of equal priority, the account with the fewest runs goes first, so that 500 orders of one do not
   keep another's one waiting; of one account, the oldest order.
4. Every fifth choice goes to the oldest order of that priority instead. Without this, ever new
   accounts could keep an order waiting for ever; with it, an order with n older ones of its
   priority is chosen within 5 (n + 1) choices, whoever comes.

When nothing in the window asks for more, all this is plain first come, first served.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contract.errors import BadMessage
from contract.task import Task

WINDOW = 1000
"""Orders that are looked at: what stands behind them waits its turn by age alone."""

AGE_SHARE = 5
"""Every so many-th choice goes by age alone."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One waiting order. `account` is None for what is no order: it takes no slot from anybody."""

    raw: bytes
    account: str | None
    priority: int = 0


def account_of(task: Task) -> str:
    """Return whose order it is; all orders without an email are the default account's."""
    return (task.email or "").strip().lower()


def read_waiting(raw: bytes) -> Waiting:
    """Read a message as far as the choice needs it."""
    try:
        task = Task.parse(raw)
    except BadMessage:
        return Waiting(raw, None)
    return Waiting(raw, account_of(task), task.priority)


def is_plain(window: Iterable[Waiting], per_account: int) -> bool:
    """Whether first come, first served is all that is asked for."""
    found = {(order.account, order.priority) for order in window if order.account is not None}
    return not per_account and len(found) <= 1 and all(not priority for _, priority in found)


def may_run(account: str | None, runs: Mapping[str, int], per_account: int) -> bool:
    """Whether an account may have one more run. `per_account` 0 means no limit."""
    return not per_account or account is None or runs.get(account, 0) < per_account


def choose(
    window: Sequence[Waiting],
    runs: Mapping[str, int],
    wanted: int,
    per_account: int = 0,
    turn: int = 0,
) -> list[Waiting]:
    """Return at most `wanted` orders of `window` (oldest first), in the order in which they go.

    `runs`: runs that each account has already. `turn`: how many choices were made before.
    """
    lines = _lines(window)
    counts = Counter(runs)
    chosen: list[Waiting] = []
    while len(chosen) < wanted:
        place = _next(lines, counts, per_account, (turn + len(chosen)) % AGE_SHARE == AGE_SHARE - 1)
        if place is None:
            break
        order = window[place]
        lines[order.priority][order.account].popleft()
        chosen.append(order)
        if order.account is not None:
            counts[order.account] += 1
    return chosen


_Lines = dict[int, dict[str | None, deque[int]]]
"""Places in the window by priority, highest first, and account."""


def _lines(window: Sequence[Waiting]) -> _Lines:
    lines: _Lines = {p: {} for p in sorted({order.priority for order in window}, reverse=True)}
    for place, order in enumerate(window):
        lines[order.priority].setdefault(order.account, deque()).append(place)
    return lines


def _next(lines: _Lines, counts: Counter[str], per_account: int, by_age: bool) -> int | None:
    for accounts in lines.values():
        heads = [
            (0 if by_age or account is None else counts[account], places[0])
            for account, places in accounts.items()
            if places and may_run(account, counts, per_account)
        ]
        if heads:
            return min(heads)[1]
    return None
