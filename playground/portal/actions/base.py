"""The shape of a fault: three steps at which it may interfere.

In: the object, the request, the reply that would be right. Out: the one that is wrong.
Each works by itself on values, so faults combine freely and the order of a script is the order of
their effects.
"""

from dataclasses import dataclass

from playground.portal.catalogue import Stored
from playground.wire import Reply, Request


@dataclass(frozen=True)
class Action:
    """Does nothing; the others override the step they spoil."""

    def on_object(self, stored: Stored) -> Stored:
        """Before the request is read: what is served."""
        return stored

    def on_request(self, request: Request) -> Request:
        """Before the answer is made: what was asked."""
        return request

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        """Before it is sent: what is answered."""
        return reply
