"""Who may come in, and who may act: the page's only door.

Goes in: every request. It is let on with `state.operator` set, or refused. The rules:

- bound to this machine alone, everybody who reaches it may look, and only under this machine's own
  names (else any web site could have its name lead here and read along);
- bound beyond, nobody sees anything without OPERATOR_TOKEN but the sign-in form;
- acting needs the token always: by a session's cookie and that session's form word on the page, by
  `Authorization: Bearer` in the API, which takes no cookie and so no other site's forms.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dispatcher.page_settings import PageSettings, is_loopback

API = "/api/"
OPEN = ("/login", "/healthz", "/static/")
"""What may be had by whoever reaches the page: no word of any task is in it."""

KEPT = 12 * 3600.0
"""Seconds that a session lasts: a working day."""

SESSIONS = 100
"""Sessions at once; the oldest goes first."""

WRONG = 10
"""Wrong tokens a minute from one address, after which none from there is looked at for a while."""

GUESSERS = 1000
"""Addresses whose wrong tokens are counted; whoever was quiet longest is forgotten first."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def cookie_of(port: int) -> str:
    """Return the cookie's name: browsers keep the cookies of all ports of a host together."""
    return f"course-runner-session-{port}"


@dataclass(slots=True)
class Session:
    """One operator's browser: its form word, until when it counts, what it is told next."""

    word: str
    until: float
    told: tuple[bool, str] | None = None


class Doorman:
    """Knows the token and the sessions. Used from the event loop alone."""

    def __init__(self, settings: PageSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._wrong: dict[str, deque[float]] = {}

    @property
    def has_token(self) -> bool:
        """Whether anybody can act at all."""
        return self._settings.token is not None

    @property
    def closed(self) -> bool:
        """Whether looking needs the token too."""
        return self._settings.beyond

    def knows_host(self, host: str) -> bool:
        """Whether a request may name this host: on loopback only this machine's own names."""
        found = _split(f"//{host}")
        return found is not None and (self.closed or is_loopback(found.hostname or ""))

    def tired(self, client: str) -> bool:
        """Whether too many wrong tokens came from an address within the last minute."""
        wrong = self._wrong.get(client)
        return wrong is not None and len(wrong) == WRONG and self._clock() - wrong[0] < 60

    def right(self, token: str, client: str) -> bool:
        """Whether this is the token; wrong ones are counted, by the address they come from."""
        known = self._settings.token
        if known is None or self.tired(client):
            return False
        found = hmac.compare_digest(token.strip().encode(), known.reveal().strip().encode())
        if not found:
            self._count(client)
        return found

    def _count(self, client: str) -> None:
        wrong = self._wrong.pop(client, None) or deque(maxlen=WRONG)
        wrong.append(self._clock())
        self._wrong[client] = wrong  # at the end, so that the first is who was quiet longest
        if len(self._wrong) > GUESSERS:
            del self._wrong[next(iter(self._wrong))]

    def open(self) -> str:
        """Begin a session; return its name for the cookie."""
        while len(self._sessions) >= SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = Session(secrets.token_urlsafe(32), self._clock() + KEPT)
        return name

    def session(self, name: str) -> Session | None:
        """Return a session that still counts."""
        found = self._sessions.get(name)
        if found is not None and found.until < self._clock():
            del self._sessions[name]
            return None
        return found

    def end(self, name: str) -> None:
        """End a session."""
        self._sessions.pop(name, None)


class Gate:
    """ASGI middleware that applies the rules and sets the headers."""

    def __init__(self, app: ASGIApp, doorman: Doorman) -> None:
        self._app = app
        self._doorman = doorman

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope)
        answer = self._refusal(request)
        await (answer or self._app)(scope, receive, headed)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is not let on."""
        # The path that is routed; `request.url` is made from the Host header too.
        doorman, path = self._doorman, str(request.scope["path"])
        if not doorman.knows_host(request.headers.get("host", "")):
            text = "This page answers only to this machine's own names, such as localhost."
            return PlainTextResponse(text, 421)
        if not request.scope["query_string"].isascii():
            return PlainTextResponse("The address is not percent-encoded: encode it.", 400)
        session = doorman.session(request.cookies.get(cookie_of(port_of(request)), ""))
        bearer = self._bearer(request)
        request.state.session = session
        request.state.operator = bearer or session is not None
        writes = request.method not in ("GET", "HEAD")
        if path.startswith(API):
            allowed = bearer or (not writes and (session is not None or not doorman.closed))
            return None if allowed else _problem(doorman, client_of(request))
        if writes and not _same_origin(request):
            return PlainTextResponse("Forms of other sites are not taken.", 403)
        if path.startswith(OPEN) or request.state.operator:
            return None
        if doorman.closed or writes:
            return RedirectResponse(f"/login?next={quote(_back(request))}", 303)
        return None

    def _bearer(self, request: Request) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._doorman.right(token, client_of(request))


def _same_origin(request: Request) -> bool:
    """Whether a form comes from this very page, as far as the browser tells."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    found = _split(origin)
    return found is not None and found.netloc == request.headers.get("host")


def _split(address: str) -> SplitResult | None:
    """Return an address in its parts; None for what is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def client_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else "unknown"


def port_of(request: Request) -> int:
    """Return the port that the page is served on."""
    return int((request.scope.get("server") or ("", 0))[1] or 0)


def address_of(request: Request) -> str:
    """Return path and query of what is asked for, as an address has them."""
    query = request.scope["query_string"].decode("ascii")
    return quote(request.scope["path"]) + (f"?{query}" if query else "")


def _back(request: Request) -> str:
    return address_of(request) if request.method == "GET" else "/"


def _problem(doorman: Doorman, client: str) -> Response:
    if doorman.tired(client):
        data = {"error": "Too many wrong tokens came in.", "cure": "Wait a minute."}
        return JSONResponse(data, 429, {"Retry-After": "60"})
    cure = "Send `Authorization: Bearer` with the dispatcher's OPERATOR_TOKEN."
    if not doorman.has_token:
        cure = "Set OPERATOR_TOKEN where the page runs; without it, it is read-only."
    data = {"error": "This needs the operator's token.", "cure": cure}
    return JSONResponse(data, 401, {"WWW-Authenticate": "Bearer"})
