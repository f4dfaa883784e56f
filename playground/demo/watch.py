"""The eye on the board: shows how far the orders are, remembers what was seen, lets others wait.

In: the board, a few looks a second. Out: progress on the screen, sentences when a task changes, and
the history of each task. Nothing is concluded here; the checks look at the things themselves.
"""

import threading
import time
from collections.abc import Callable, Sequence

from playground.demo.backend import Board, Sight
from playground.demo.family import Family
from playground.demo.folder import DemoError
from playground.demo.orders import Order
from playground.demo.screen import Screen

EVERY = 0.2
"""Seconds between two looks."""


class Watch:
    """Looks at the board from a thread of its own until told to stop."""

    def __init__(
        self, board: Board, orders: Sequence[Order], screen: Screen, parent: Family
    ) -> None:
        self._board = board
        self._orders = orders
        self._screen = screen
        self._family = parent
        self._changed = threading.Condition()
        self._seen: dict[str, list[tuple[float, Sight]]] = {order.key: [] for order in orders}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def history(self, key: str) -> list[tuple[float, Sight]]:
        """Return what was seen of a task, with the Unix times, when anything but its percent
        changed.
        """
        with self._changed:
            return list(self._seen[key])

    def wait(
        self, what: str, until: Callable[[], bool], seconds: float, check: Callable[[], None]
    ) -> None:
        """Return once `until` holds; `check` may raise. Raise `DemoError` when it takes too
        long.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while not until():
                check()
                if time.monotonic() > deadline:
                    raise DemoError(f"{what} has not happened in {seconds:.0f} s.")
                self._changed.wait(EVERY)

    def last(self, key: str) -> Sight:
        """Return what was seen last of a task."""
        with self._changed:
            return self._seen[key][-1][1] if self._seen[key] else Sight()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self._family.reap()
            for order in self._orders:
                sight = self._board.look(order.key)
                if sight:
                    self._see(order, sight)

    def _see(self, order: Order, sight: Sight) -> None:
        with self._changed:
            seen = self._seen[order.key]
            before = seen[-1][1] if seen else Sight()
            if _differ(before, sight) or not seen:
                seen.append((time.time(), sight))
                self._changed.notify_all()
        if before.status != sight.status and sight.status == "waiting":
            self._screen.say(f"Task {order.key} waits: {sight.message}")
        self._screen.progress(f"Task {order.key}", _stand(sight), sight.percent)


def _differ(before: Sight, now: Sight) -> bool:
    def kept(sight: Sight) -> tuple[str, ...]:
        return sight.status, sight.phase, sight.attempt, sight.message

    return kept(before) != kept(now)


def _stand(sight: Sight) -> str:
    doing = sight.phase if sight.status in ("running", "") else ""
    run = f", run {sight.attempt}" if sight.attempt not in ("", "1") else ""
    return f"{doing or sight.status}{run}"
