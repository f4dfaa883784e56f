"""What the portal's ledger proves about bytes: how many were fetched, and how many twice. Pure.

In: the requests of files as the portal saw them. Out: sums. A request covers the bytes from where
its Range begins for as far as the portal got rid of them, so the sums are those of the side that
gave the bytes away and not of the side that claims to have kept them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from playground.portal.ledger import Visit

Span = tuple[int, int]
"""First byte, and the one behind the last."""
_FULL, _PART = 200, 206


@dataclass(frozen=True, slots=True)
class Tally:
    """Bytes of one file, or of many."""

    fetched: int = 0
    distinct: int = 0

    @property
    def twice(self) -> int:
        """Bytes that were fetched although they had been fetched before."""
        return self.fetched - self.distinct


def start_of(visit: Visit) -> int:
    """Return the first byte that a request was answered with."""
    if visit.status == _FULL or not visit.range:
        return 0
    return int(visit.range.removeprefix("bytes=").partition("-")[0])


def by_target(visits: Iterable[Visit]) -> dict[str, Tally]:
    """Return a tally for every file that gave bytes."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for visit in visits:
        if visit.sent and visit.status in (None, _FULL, _PART):
            start = start_of(visit)
            spans[visit.target].append((start, start + visit.sent))
    return {target: _tally(found) for target, found in spans.items()}


def total(tallies: Mapping[str, Tally]) -> Tally:
    """Return the sum."""
    return Tally(
        sum(one.fetched for one in tallies.values()), sum(one.distinct for one in tallies.values())
    )


def _tally(spans: Sequence[Span]) -> Tally:
    distinct, reached = 0, 0
    for start, stop in sorted(spans):
        distinct += max(0, stop - max(start, reached))
        reached = max(reached, stop)
    return Tally(sum(stop - start for start, stop in spans), distinct)
