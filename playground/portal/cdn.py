"""The CDN: signed objects with ranges, on an origin of its own.

In: a GET for a key with a signed query. Out: the bytes, whole or in part. It needs no account and
must never be shown one: a credential that arrives here is noted in the ledger, for the client has
then given it to a stranger. Only single ranges are served; several at once get the whole object, as
the standard allows.
"""

import re
from dataclasses import replace
from email.utils import formatdate

from playground.portal.accounts import Accounts
from playground.portal.catalogue import Objects, Stored
from playground.portal.faults import Faults
from playground.portal.ledger import Ledger
from playground.portal.playlists import Playlists
from playground.portal.refusals import denied, unsatisfiable
from playground.portal.signing import Signer
from playground.wire import Reply, Request
from playground.wire.reply import document

RANGE = re.compile(r"bytes=(\d*)-(\d*)")
CREDENTIAL = re.compile(r"authorization|cookie|x-.*-(authorization|token)")


class Cdn:
    """Answers requests for objects."""

    def __init__(
        self,
        objects: Objects,
        playlists: Playlists,
        signer: Signer,
        accounts: Accounts,
        faults: Faults,
        ledger: Ledger,
    ) -> None:
        self._objects, self._playlists = objects, playlists
        self._signer, self._accounts = signer, accounts
        self._faults, self._ledger = faults, ledger

    def answer(self, request: Request) -> Reply:
        """The reply to one request, faults included."""
        key = request.path.lstrip("/")
        target = f"cdn:{key}"
        watcher = self._ledger.begin(target, request)
        self._note_credentials(key, request)
        actions = self._faults.take(target, request)
        stored = self._find(key)
        for action in actions:
            stored = stored and action.on_object(stored)
            request = action.on_request(request)
        reply = self._reply(request, stored)
        for action in actions:
            reply = action.on_reply(request, reply)
        return replace(reply, watch=watcher)

    def _find(self, key: str) -> Stored | None:
        return self._objects.get(key) or self._playlists.get(key)

    def _reply(self, request: Request, stored: Stored | None) -> Reply:
        if request.method not in ("GET", "HEAD"):
            return document({"detail": "Only GET and HEAD."}, 405)
        if stored is None:
            return document({"detail": "No such object."}, 404)
        if not stored.public and not self._signer.accepts(request.path, request.query):
            return denied()
        return serve(request, stored)

    def _note_credentials(self, key: str, request: Request) -> None:
        for name, value in request.headers.items():
            if CREDENTIAL.fullmatch(name) or self._accounts.appear_in(value):
                self._ledger.saw_credential(f"{request.method} {key}: {name}")
        if self._accounts.appear_in(request.target):
            self._ledger.saw_credential(f"{request.method} {key}: the URL")


def serve(request: Request, stored: Stored) -> Reply:
    """The object, or the part of it that was asked for."""
    headers = _headers(stored)
    wanted = _range(request, stored)
    if wanted is None:
        return Reply(200, headers, stored.content)
    start, stop = wanted
    if start >= stop:
        return unsatisfiable(stored.content.size)
    claim = ("Content-Range", f"bytes {start}-{stop - 1}/{stored.content.size}")
    return Reply(206, (*headers, claim), stored.content, start, stop)


def _headers(stored: Stored) -> tuple[tuple[str, str], ...]:
    named = {
        "Content-Type": stored.media_type,
        "Accept-Ranges": "bytes",
        "Date": formatdate(usegmt=True),
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "ETag": stored.etag,
    }
    return tuple((name, value) for name, value in named.items() if value)


def _range(request: Request, stored: Stored) -> tuple[int, int] | None:
    found = RANGE.fullmatch(request.headers.get("range", ""))
    if not found or found[0] == "bytes=-" or not _condition_holds(request, stored):
        return None
    size = stored.content.size
    if not found[1]:
        return max(0, size - int(found[2])), size
    start = int(found[1])
    if found[2] and int(found[2]) < start:
        return None
    return start, min(int(found[2]) + 1, size) if found[2] else size


def _condition_holds(request: Request, stored: Stored) -> bool:
    condition = request.headers.get("if-range")
    if condition is None:
        return True
    if condition.startswith(("W/", '"')):
        return condition == stored.etag and not condition.startswith("W/")
    return condition == formatdate(stored.modified, usegmt=True)
