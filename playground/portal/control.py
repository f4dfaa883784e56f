"""The control API: what a test in the same process does by method, other processes do here by JSON.

In: requests under /_control/. Out: JSON. It asks for no password: a portal is for a test bench and
nothing else.
"""

import json
from collections.abc import Callable
from typing import Any, Protocol

from playground.content import Content, sha256
from playground.portal import faults as script
from playground.portal.accounts import ALL, Accounts, missing
from playground.portal.catalogue import Catalogue
from playground.portal.contents import ContentError, content_from
from playground.portal.faults import FaultError, Faults
from playground.portal.ledger import Ledger
from playground.portal.signing import Clock
from playground.wire import Reply, Request
from playground.wire.reply import document


class Controlled(Protocol):
    """The part of a portal the control API works on."""

    faults: Faults
    ledger: Ledger
    clock: Clock
    catalogue: Catalogue
    accounts: Accounts

    def replace(self, key: str, content: Content, *, keep_etag: bool = False) -> None:
        """Publish other bytes under a key."""

    def expire_links(self) -> None:
        """Let every link given out so far be over."""

    def release(self) -> None:
        """Let every stalled answer go on."""


class Control:
    """Answers requests under /_control/."""

    def __init__(self, portal: Controlled) -> None:
        self._portal = portal
        self._doors: dict[tuple[str, str], Callable[[Any, Request], Any]] = {
            ("GET", "health"): lambda value, request: {"ok": True},
            ("GET", "ledger"): self._read_ledger,
            ("DELETE", "ledger"): lambda value, request: portal.ledger.reset(),
            ("GET", "faults"): lambda value, request: portal.faults.as_json(),
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): lambda value, request: portal.faults.clear(),
            ("POST", "release"): lambda value, request: portal.release(),
            ("GET", "objects"): self._list_objects,
            ("POST", "objects"): self._replace_object,
            ("DELETE", "objects"): lambda value, request: portal.catalogue.objects.remove(
                value["key"]
            ),
            ("GET", "clock"): lambda value, request: self._time(),
            ("POST", "clock"): self._set_clock,
            ("POST", "expire"): lambda value, request: portal.expire_links(),
            ("POST", "tokens"): self._set_token,
        }

    def answer(self, request: Request) -> Reply:
        """The reply: 200 with the result, 400 with what was wrong, 404 for an unknown door."""
        door = self._doors.get(
            (request.method, request.path.removeprefix("/_control/").rstrip("/"))
        )
        if door is None:
            return missing()
        try:
            result = door(json.loads(request.body or b"{}"), request)
        except (FaultError, ContentError) as error:
            return document({"detail": str(error)}, 400)
        except (KeyError, TypeError, ValueError) as error:
            return document({"detail": f"{type(error).__name__}: {error}"}, 400)
        return document({"ok": True} if result is None else result)

    def _read_ledger(self, value: Any, request: Request) -> Any:
        return self._portal.ledger.as_json(visits=request.query.get("visits") != "0")

    def _add_faults(self, value: Any, request: Request) -> None:
        rules = [script.parse(one) for one in (value if isinstance(value, list) else [value])]
        for rule in rules:
            self._portal.faults.put(rule)

    def _list_objects(self, value: Any, request: Request) -> Any:
        digests = request.query.get("sha256") == "1"
        listing = {}
        for key in self._portal.catalogue.objects:
            if stored := self._portal.catalogue.objects.get(key):
                digest = {"sha256": sha256(stored.content)} if digests else {}
                listing[key] = {"size": stored.content.size, "etag": stored.etag, **digest}
        return listing

    def _replace_object(self, value: Any, request: Request) -> None:
        content = content_from(value["content"])
        self._portal.replace(value["key"], content, keep_etag=bool(value.get("keep_etag")))

    def _set_clock(self, value: Any, request: Request) -> Any:
        clock = self._portal.clock
        clock.shift += float(value.get("shift", 0))
        clock.ttl = float(value.get("ttl", clock.ttl))
        return self._time()

    def _time(self) -> Any:
        clock = self._portal.clock
        return {"now": clock.now(), "shift": clock.shift, "ttl": clock.ttl}

    def _set_token(self, value: Any, request: Request) -> None:
        if "revoke" in value:
            self._portal.accounts.revoke(value["revoke"])
        if "grant" in value:
            self._portal.accounts.grant(value["grant"], value.get("courses", ALL))
