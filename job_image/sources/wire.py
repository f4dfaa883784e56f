"""The one door to HTTP: requests that carry the token to the platform and to nobody else.

Goes in: an address and headers. Comes out: an `Answer` whose body is read piece by piece, or an
error of this product without the query of the address. It stands on lines and exchanges of its
own (`line`, `exchange`): a third of the processor time per small file of the leanest ready
library, and nothing that follows a redirect or adds credentials by itself. Redirects are followed
here, by hand: the token goes along only while the origin stays the platform's own; the platform's
second header would otherwise survive a redirect to a stranger.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from urllib.parse import quote

from contract.env import Secret
from contract.errors import Misconfigured
from job_image.sources import address, exchange
from job_image.sources.dial import Dialer, authority
from job_image.sources.exchange import Exchange
from job_image.sources.line import Broken, Line, Place, Torn
from job_image.sources.pace import BrokenOff, Pace, Unanswered

HOPS = 5
"""Redirects followed for one request."""

AGENT = "course-runner"
"""The honest name; the platform may well refuse it, and then it is not worked around."""

_SAFE = "%/:=&?~#+!$,;'@()*[]|"
"""What stays as it is in a path and a query."""

Watch = Callable[[Line | None], None]
"""Told of the line that a request is on, for another thread may have to end it."""

_PLAIN = re.compile(r"[A-Za-z0-9._~%/:=&?+,-]+")
"""What needs no quoting."""

_REDIRECTS = (301, 302, 303, 307, 308)

_TORN = (Torn, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
"""What tells of a connection that was there and is not any more."""


class Answer:
    """One answer, its body unread. Close it; `Wire.open` does."""

    def __init__(self, line: Line, found: Exchange, to: Place, url: str) -> None:
        self.line = line
        self._exchange = found
        self.to = to
        self.url = url
        """The address that answered, redirects followed."""
        self.status = found.status
        self.headers: Mapping[str, str] = found.headers
        self.host = to.host
        self.decode = True
        """Whether reading undoes a Content-Encoding."""

    def piece(self, most: int) -> memoryview:
        """Return what has come, at most `most` bytes, good until the next call; empty at the end.

        Raise `Unanswered` when the body broke off before its end.
        """
        try:
            read = self._exchange.unpacked if self.decode else self._exchange.piece
            return read(most)
        except (OSError, ValueError) as exc:
            raise _unanswered(self.host, exc) from exc

    def read(self, most: int) -> bytes:
        """Return what has come, as `piece` does, for keeps."""
        return bytes(self.piece(most))

    def body(self, limit: int) -> bytes:
        """Return the body, cut at about `limit` bytes."""
        pieces, size = [], 0
        while size < limit and (piece := self.read(min(65536, limit - size))):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def is_reusable(self) -> bool:
        """Whether the line is fit for another request."""
        return self._exchange.settle()


class Opened:
    """An answer to be put away after use. A class, because it is paid for at every small file."""

    __slots__ = ("_answer", "_put_away", "_watch")

    def __init__(self, answer: Answer, watch: Watch, put_away: Callable[[Answer], None]) -> None:
        self._answer, self._watch, self._put_away = answer, watch, put_away

    def __enter__(self) -> Answer:
        return self._answer

    def __exit__(self, *_: object) -> None:
        self._watch(None)
        self._put_away(self._answer)


class Wire:
    """Connections to the platform and its CDN. Thread-safe."""

    def __init__(self, base: str, token: Secret, pace: Pace, parallel: int) -> None:
        self.base = base
        self._home = address.origin(base)
        self._token = token
        self._parallel = parallel
        self._dialer = Dialer(pace.connect, pace.read)
        self._lock = threading.Lock()
        self._idle: dict[Place, list[Line]] = defaultdict(list)
        self._busy: set[Line] = set()
        self.answers = 0
        self.waited = 0.0
        """Seconds from the requests for all these answers to their beginnings, dialling included.
        """

    def open(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        stay: bool = False,
        watch: Watch | None = None,
    ) -> Opened:
        """Ask for `url` and give the answer, whatever its status.

        `stay`: a redirect away from the platform raises `Misconfigured` instead of being followed.
        `watch` is given each line before it is asked, and None before it may serve others.
        """
        watch = watch or _nobody
        return Opened(self._ask(url, headers, stay, watch), watch, self._put_away)

    def abort(self) -> None:
        """Let every read that waits fail now."""
        with self._lock:
            busy = list(self._busy)
        for line in busy:
            line.abort()

    def is_home(self, url: str) -> bool:
        """Whether `url` lies on the platform's own origin, or on the same one made safer."""
        scheme, host, port = self._home
        upgraded = ("https", host, 443) if (scheme, port) == ("http", 80) else self._home
        return address.origin(url) in (self._home, upgraded)

    def _ask(self, url: str, headers: Mapping[str, str], stay: bool, watch: Watch) -> Answer:
        with_token = self.is_home(url)
        for _ in range(HOPS + 1):
            answer = self._request(url, headers, with_token, watch)
            target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            if target is None:
                return answer
            watch(None)
            self._put_away(answer)
            url = address.join(url, target)
            if not url:
                raise Unanswered(f"{answer.host} redirects to what is no http address.")
            with_token = with_token and self.is_home(url)
            if stay and not with_token:
                raise _sent_away(answer.host, url)
        raise Unanswered(f"{answer.host} redirects in circles.")

    def _request(
        self, url: str, headers: Mapping[str, str], with_token: bool, watch: Watch
    ) -> Answer:
        sent = {"User-Agent": AGENT, **headers}
        if with_token:
            bearer = f"Bearer {self._checked_token()}"
            sent |= {"Authorization": bearer, "X-Udemy-Authorization": bearer}
        to, target = _target(url)
        began = time.monotonic()
        try:
            line = self._line(to)
        except (OSError, ValueError) as exc:
            raise _unanswered(to.host, exc) from exc
        watch(line)
        try:
            answer = self._exchange(line, url, to, target, sent)
        except (OSError, ValueError) as exc:
            watch(None)
            self._drop(line)
            raise _unanswered(to.host, exc) from exc
        self._count(time.monotonic() - began)
        return answer

    def _count(self, waited: float) -> None:
        with self._lock:
            self.answers += 1
            self.waited += waited

    def _checked_token(self) -> str:
        """Return the token. Raise `Misconfigured` for one that no header can carry."""
        token = self._token.reveal()
        if not (token.isascii() and token.isprintable()):
            raise Misconfigured(
                "The access token holds a line break or letters that no header can carry.",
                advice="Put it into PLATFORM_TOKEN or the tokens file again, without them.",
            )
        return token

    def _exchange(
        self, line: Line, url: str, to: Place, target: str, sent: dict[str, str]
    ) -> Answer:
        via = line.via
        if via.login:
            sent = {**sent, "Proxy-Authorization": via.login}
        line.send(exchange.request(via.prefix + target, authority(to), sent))
        return Answer(line, Exchange(line), to, url)

    def _line(self, to: Place) -> Line:
        """Return a line that lies idle and has not been ended meanwhile, or a new one."""
        while (line := self._idle_line(to)) is not None:
            if line.is_quiet():
                return line
            self._drop(line)
        line = self._dialer.dial(to)
        with self._lock:
            self._busy.add(line)
        return line

    def _idle_line(self, to: Place) -> Line | None:
        with self._lock:
            line = self._idle[to].pop() if self._idle[to] else None
            if line is not None:
                self._busy.add(line)
            return line

    def _put_away(self, answer: Answer) -> None:
        """Keep the line of an answer if it is fit for another request, else end it."""
        line = answer.line
        if not answer.is_reusable() or len(self._idle[answer.to]) >= self._parallel:
            self._drop(line)
            return
        with self._lock:
            self._busy.discard(line)
            self._idle[answer.to].append(line)

    def _drop(self, line: Line) -> None:
        with self._lock:
            self._busy.discard(line)
        line.close()


def _nobody(_: Line | None) -> None:
    """Watch nothing."""


def _target(url: str) -> tuple[Place, str]:
    """Return the server of an address, and what is asked of it."""
    parts = address.parts(url)
    scheme, host, port = address.origin(url)
    query = f"?{parts.query}" if parts.query else ""
    asked = (parts.path or "/") + query
    return Place(scheme, host, port or 0), asked if _PLAIN.fullmatch(asked) else quote(asked, _SAFE)


def _sent_away(host: str, url: str) -> Misconfigured:
    place = address.place(url)
    return Misconfigured(
        f"The platform at {host} sends its clients to {place}; the token does not go there.",
        advice=f"Set PLATFORM_URL to {place} if that is the right platform.",
    )


def _unanswered(host: str, error: Exception) -> Unanswered | Misconfigured:
    """Return the error for a failure below, without its text where that may hold the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Misconfigured(
            f"The certificate of {host} is not trusted.",
            advice="Put the issuer's certificate into a bundle and set SSL_CERT_FILE to it.",
        )
    kind = BrokenOff if isinstance(error, _TORN) else Unanswered
    return kind(f"{host} {_reason(error)}.")


def _reason(error: Exception) -> str:
    if isinstance(error, Broken):
        return str(error)
    if isinstance(error, BlockingIOError | TimeoutError):
        return "fell silent"
    if isinstance(error, OSError) and error.strerror:
        return f"could not be reached or broke off ({error.strerror})"
    return f"broke off ({type(error).__name__})"
