"""The one door to HTTP: requests that carry the token to the platform and to nobody else.

Goes in: an address and headers. Comes out: an `Answer` whose body is read piece by piece, or an
error of this product without the query of the address. It stands on urllib3 itself: half the
processor time per small file of the friendlier library on top of it, and nothing that follows a
redirect or adds credentials by itself. Redirects are followed here, by hand: the token goes along
only while the origin stays the platform's own; the platform's second header would otherwise
survive a redirect to a stranger.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError, SSLError

from contract.env import Secret
from contract.errors import Misconfigured
from job_image.sources import address
from job_image.sources.pace import Pace, Unanswered

HOPS = 5
"""Redirects followed for one request."""

AGENT = "course-runner"
"""The honest name; the platform may well refuse it, and then it is not worked around."""

_REDIRECTS = (301, 302, 303, 307, 308)


class Answer:
    """One answer, its body unread. Close it; `Wire.open` does."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.host = address.host(url)
        self.decode = True
        """Whether `read` undoes a Content-Encoding."""

    def read(self, most: int) -> bytes:
        """Return what has come, at most `most` bytes; b"" at the proper end of the body.

        Raise `Unanswered` when the body broke off before its end.
        """
        try:
            return self._response.read1(most, decode_content=self.decode)
        except (HTTPError, OSError, ValueError) as exc:
            raise _unanswered(self.host, exc) from exc

    def body(self, limit: int) -> bytes:
        """Return the body, cut at about `limit` bytes."""
        pieces, size = [], 0
        while size < limit and (piece := self.read(min(65536, limit - size))):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def abort(self) -> None:
        """Let a `read` that waits in another thread fail now."""
        with suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()

    def close(self) -> None:
        """Give the connection back if the body was read, else end it."""
        self._response.close()


class Wire:
    """Connections to the platform and its CDN. Thread-safe."""

    def __init__(self, base: str, token: Secret, pace: Pace, parallel: int) -> None:
        self.base = base
        self._home = address.origin(base)
        self._token = token
        self._timeout = urllib3.Timeout(connect=pace.connect, read=pace.read)
        self._parallel = parallel
        self._lock = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._proxies: dict[tuple[str, str], str] = {}
        self._running: set[Answer] = set()

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str], *, stay: bool = False) -> Iterator[Answer]:
        """Ask for `url` and give the answer, whatever its status.

        `stay`: a redirect away from the platform raises `Misconfigured` instead of being followed.
        """
        answer = self._ask(url, headers, stay)
        with self._lock:
            self._running.add(answer)
        try:
            yield answer
        finally:
            with self._lock:
                self._running.discard(answer)
            answer.close()

    def abort(self) -> None:
        """Let every read that waits fail now."""
        with self._lock:
            running = list(self._running)
        for answer in running:
            answer.abort()

    def is_home(self, url: str) -> bool:
        """Whether `url` lies on the platform's own origin, or on the same one made safer."""
        scheme, host, port = self._home
        upgraded = ("https", host, 443) if (scheme, port) == ("http", 80) else self._home
        return address.origin(url) in (self._home, upgraded)

    def _ask(self, url: str, headers: Mapping[str, str], stay: bool) -> Answer:
        with_token = self.is_home(url)
        for _ in range(HOPS + 1):
            answer = Answer(self._request(url, headers, with_token), url)
            target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            if target is None:
                return answer
            answer.close()
            url = address.join(url, target)
            if not url:
                raise Unanswered(f"{answer.host} redirects to what is no http address.")
            with_token = with_token and self.is_home(url)
            if stay and not with_token:
                raise _sent_away(answer.host, url)
        raise Unanswered(f"{answer.host} redirects in circles.")

    def _request(
        self, url: str, headers: Mapping[str, str], with_token: bool
    ) -> urllib3.BaseHTTPResponse:
        sent = {"User-Agent": AGENT, **headers}
        if with_token:
            bearer = f"Bearer {self._token.reveal()}"
            sent |= {"Authorization": bearer, "X-Udemy-Authorization": bearer}
        try:
            return self._pool(url).request(
                "GET",
                url,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=self._timeout,
            )
        except (HTTPError, OSError, ValueError) as exc:
            raise _unanswered(address.host(url), exc) from exc

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = address.parts(url)
        place = (parts.scheme, parts.hostname or "")
        with self._lock:
            if place not in self._proxies:  # asking the environment costs a tenth of a small file
                self._proxies[place] = _proxy(*place)
            proxy = self._proxies[place]
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: str) -> urllib3.PoolManager:
        bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE")
        if not proxy:
            return urllib3.PoolManager(maxsize=self._parallel, ca_certs=bundle or certifi.where())
        user = address.parts(proxy)
        login = f"{user.username}:{user.password}" if user.username else None
        return urllib3.ProxyManager(
            proxy,
            maxsize=self._parallel,
            ca_certs=bundle or certifi.where(),
            proxy_headers=urllib3.make_headers(proxy_basic_auth=login),
        )


def _proxy(scheme: str, host: str) -> str:
    """Return the proxy that the environment names for a host; "" for none."""
    return "" if proxy_bypass(host) else getproxies().get(scheme, "")


def _sent_away(host: str, url: str) -> Misconfigured:
    place = address.place(url)
    return Misconfigured(
        f"The platform at {host} sends its clients to {place}; the token does not go there.",
        advice=f"Set PLATFORM_URL to {place} if that is the right platform.",
    )


def _unanswered(host: str, error: Exception) -> Unanswered | Misconfigured:
    """Return the error for what urllib3 reports, without its text: that holds the whole address."""
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Misconfigured(
            f"The certificate of {host} is not trusted.",
            advice="Put the issuer's certificate into a bundle and set SSL_CERT_FILE to it.",
        )
    return Unanswered(f"{host} {_reason(error)}.")


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"could not be reached or broke off ({cause.strerror})"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, ConnectTimeoutError):
        return "did not take the connection in time"
    if isinstance(error, ReadTimeoutError):
        return "fell silent"
    return f"broke off ({type(error).__name__})"
