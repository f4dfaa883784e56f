"""What operators do from the page or the API: the same requests that the command line writes.

Goes in: an action and who asks. Comes out: what came of it, and one line in the log that says who
did what, whatever came of it. The dispatcher carries out what is asked; nothing here touches the
executor.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from contract.errors import BadMessage
from contract.log import Log
from contract.task import Task
from dispatcher.dead_letters import Letter
from dispatcher.store import Store
from dispatcher.web.facts import Done
from dispatcher.web.model import mark_of

ANSWER = 10.0
"""Seconds to wait for a dispatcher before saying that the request is noted."""

LOOK = 0.05
"""Seconds between two looks for its answer."""

ASKS = ("retry", "cancel", "pin", "unpin", "forget", "forget-forced")
"""Requests to the dispatcher about one task."""

LETTER_ACTS = ("requeue", "drop")

NOTED = "The request is noted; no dispatcher has answered yet. It will when it can."


class Hands:
    """Acts. Thread-safe. Each act may raise `StoreUnavailable`."""

    def __init__(self, store: Store, log: Log) -> None:
        self._store = store
        self._log = log

    def ask(self, action: str, task: str, who: str) -> Done | None:
        """Ask the dispatcher about a task; None when it has not answered yet."""
        self._note(who, "asks to %s task %s.", action, task)
        ask_id = self._store.ask(action, task)
        deadline = time.monotonic() + ANSWER
        while (answer := self._store.answer(ask_id)) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(LOOK)
        self._note(who, "was answered: %s", answer.text)
        return Done(answer.done, answer.text)

    def enqueue(self, raw: bytes, who: str) -> Done:
        """Push an order as a backend does. Raise `BadMessage` for what is none."""
        try:
            task = Task.parse(raw)
        except BadMessage as exc:
            self._note(who, "sent what is no order: %s", exc.summary)
            raise
        waiting = self._store.push(raw)
        self._note(who, "ordered task %s.", task.key)
        return Done(True, f"Task {task.key} is in the queue; {waiting} waiting.")

    def pause(self, why: str, who: str) -> Done:
        """Let nothing be claimed."""
        self._store.pause(why)
        self._note(who, "paused intake%s.", f": {why}" if why else "")
        return Done(True, "Intake is paused. What was handed over goes on.")

    def resume(self, who: str) -> Done:
        """Let orders be claimed again."""
        was = self._store.resume()
        self._note(who, "let intake go on.")
        return Done(was, "Intake goes on." if was else "Intake was not paused.")

    def letter(self, action: str, number: int, mark: str, who: str) -> Done:
        """Requeue or drop a dead letter; with `mark`, only that very one."""
        found = [one for one in self._store.letters() if one.number == number]
        if not found or (mark and mark_of(found[0]) != mark):
            self._note(who, "asked to %s dead letter %d, which is gone.", action, number)
            return Done(False, f"Dead letter {number} is not the one you saw any more; look again.")
        act: Callable[[Letter], bool] = getattr(self._store, action)
        done = act(found[0])
        what = "is in the queue again" if action == "requeue" else "is dropped"
        text = f"Dead letter {number} {what}." if done else "Somebody else has taken it."
        self._note(who, "asked to %s dead letter %d: %s", action, number, text)
        return Done(done, text)

    def _note(self, who: str, message: str, *values: object) -> None:
        """Leave the line by which it is known later who did what."""
        self._log.event("OPERATOR", "%s " + message, who, *values)
