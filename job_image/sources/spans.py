"""Which bytes of a file are there, when they come in any order: sorted runs of offsets. Pure.

Goes in: runs (start, stop), stop not included, in any order. Comes out: the same with neighbours
joined, and what lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Run = tuple[int, int]


def joined(runs: Iterable[Run]) -> list[Run]:
    """Return the runs in order, those that touch or overlap made one."""
    found: list[Run] = []
    for start, stop in sorted(runs):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        elif start < stop:
            found.append((start, stop))
    return found


def size(runs: Iterable[Run]) -> int:
    """Return how many bytes joined runs hold."""
    return sum(stop - start for start, stop in runs)


def gaps(runs: Iterable[Run], total: int) -> list[Run]:
    """Return what of `total` bytes no run holds, in order."""
    found, at = [], 0
    for start, stop in [*joined(runs), (total, total)]:
        if at < min(start, total):
            found.append((at, min(start, total)))
        at = max(at, stop)
    return found


def are_good(runs: Sequence[Run], total: int) -> bool:
    """Whether joined runs may be those of an unfinished file: its beginning, and none too far."""
    return bool(runs) and runs[0][0] == 0 and runs[-1][1] <= total
