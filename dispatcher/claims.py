"""From the queue to the claimed list: by age where that is all, else what `fairness` chooses.

Goes in: how many orders are wanted, how many runs each account has. The oldest orders are read,
the chosen ones are moved in one atomic step each, and the backlog stays in the queue. The cost is
that of a window (one or two LRANGE at the old end, at most a mebibyte), however long the queue is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dispatcher.fairness import WINDOW, Waiting, choose, is_plain, may_run, read_waiting
from dispatcher.sightings import Sightings
from dispatcher.store import Store


class Claims:
    """Claims orders for one dispatcher. Called from one thread."""

    def __init__(
        self, store: Store, per_account: int = 0, sightings: Sightings | None = None
    ) -> None:
        self._store = store
        self._sightings = sightings or Sightings()
        self._per_account = per_account
        self._known: dict[bytes, Waiting] = {}
        self._turn = 0
        self.held_back = False
        """Whether orders wait that may not go now: then waiting for any order is no waiting."""

    def claim(self, wanted: int, runs: Mapping[str, int]) -> int:
        """Claim at most `wanted` orders; return how many."""
        oldest = self._store.window(WINDOW)
        self._sightings.queued(oldest)
        window = self._read(oldest)
        if is_plain(window, self._per_account):
            self.held_back = False
            return self._store.claim(wanted) if window else 0
        chosen = choose(window, runs, wanted, self._per_account, self._turn)
        self.held_back = len(chosen) < min(wanted, len(window))
        self._turn += len(chosen)
        return self._store.claim_these([order.raw for order in chosen])

    def fits(self, raw: bytes, runs: Counter[str]) -> bool:
        """Whether a claimed order's account may have a run; if so, it is counted in `runs`."""
        order = self._known.get(raw) or read_waiting(raw)
        if not may_run(order.account, runs, self._per_account):
            self.held_back = True
            return False
        if order.account is not None:
            runs[order.account] += 1
        return True

    def _read(self, window: Iterable[bytes]) -> list[Waiting]:
        """Read messages, each once as long as it is in the window."""
        known, self._known = self._known, {}
        found = []
        for raw in window:
            order = known.get(raw) or read_waiting(raw)
            self._known[raw] = order
            found.append(order)
        return found
