"""Who may see what: tokens and the courses of their accounts.

In: tokens with slugs, and requests. Out: the account, or the refusal. Both headers must carry the
same bearer token.
"""

import hmac
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from playground.wire import Reply, Request
from playground.wire.reply import document

ALL = ("*",)
HEADERS = ("authorization", "x-udemy-authorization")


@dataclass(frozen=True)
class Account:
    """An account; "*" among its courses means all."""

    courses: frozenset[str]

    def owns(self, slug: str) -> bool:
        """Whether the account may have that course."""
        return slug in self.courses or "*" in self.courses


class Accounts:
    """Accounts by token; may be changed while the portal runs."""

    def __init__(self, tokens: Mapping[str, Collection[str]]) -> None:
        self._lock = threading.Lock()
        self._accounts = {token: Account(frozenset(slugs)) for token, slugs in tokens.items()}

    def grant(self, token: str, slugs: Collection[str] = ALL) -> None:
        """Accept a token from now on, with these courses."""
        with self._lock:
            self._accounts[token] = Account(frozenset(slugs))

    def revoke(self, token: str) -> None:
        """Refuse a token from now on."""
        with self._lock:
            self._accounts.pop(token, None)

    def appear_in(self, value: str) -> bool:
        """Whether a text holds the token of any account."""
        with self._lock:
            return any(token in value for token in self._accounts)

    def of(self, request: Request) -> Account | None:
        """The account whose token both headers carry."""
        sent = {_bearer(request.headers.get(name, "")) for name in HEADERS}
        if len(sent) != 1:
            return None
        return self._find(sent.pop().encode())

    def _find(self, token: bytes) -> Account | None:
        with self._lock:
            known = list(self._accounts.items())
        return next((one for name, one in known if hmac.compare_digest(name.encode(), token)), None)


def unauthorised() -> Reply:
    """401 in the platform's words."""
    return document({"detail": "Invalid token."}, 401).with_header("WWW-Authenticate", "Bearer")


def forbidden() -> Reply:
    """403 in the platform's words."""
    return document({"detail": "You do not have permission to perform this action."}, 403)


def missing() -> Reply:
    """404 in the platform's words."""
    return document({"detail": "Not found."}, 404)


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
