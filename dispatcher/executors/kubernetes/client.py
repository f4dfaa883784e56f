"""The one door to the API server: plain JSON over pooled connections.

Goes in: a method, a path, an object. Comes out: the object that the server answers with, or an
error of the project's tree (`answers`); nothing of urllib3 leaves this module. Objects stay dicts,
which is what makes a dispatcher as fast as a bare HTTP client. Every call has a timeout. A call is
repeated only if the server cannot have acted on it, or if acting twice is acting once.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from contract.errors import CourseRunnerError
from contract.log import Log
from dispatcher.executors import Unavailable
from dispatcher.executors.kubernetes.answers import Throttled, Unauthorized, translate
from dispatcher.tally import API_ERRORS, TALLY

if TYPE_CHECKING:
    from dispatcher.executors.kubernetes.access import Access

Json = dict[str, Any]

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds for an answer. A list of 500 objects takes well under one; admission may take ten."""

TRIES = 3
"""Tries of a call that may be repeated."""

LONGEST_WAIT = 5.0
"""Seconds that a call waits before it is repeated; if the server asks for more, the caller waits,
who knows what else there is to do."""

WARNINGS_KEPT = 100
"""Different warnings remembered, so that each is said once."""

JSON_TYPE = "application/json"
MERGE_PATCH = "application/merge-patch+json"

_encode = json.JSONEncoder(separators=(",", ":")).encode

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_REPEATABLE = frozenset({"GET", "DELETE", "PATCH"})
"""DELETE carries a uid and PATCH sets values: twice is once."""


class Unreachable(Unavailable):
    """No connection: the server cannot have acted."""


class Client:
    """Calls of one API server. Safe to use from many threads."""

    def __init__(self, kubeconfig: str, log: Log) -> None:
        self._kubeconfig = kubeconfig
        self._log = log
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._closed = threading.Event()
        self._warned: set[str] = set()

    def open(self) -> None:
        """Find the server and our credentials. Raise `Misconfigured` when there are none."""
        self._connected()

    def close(self) -> None:
        """End waits and let go of idle connections."""
        self._closed.set()
        with self._lock:
            if self._access is not None:
                self._access.close()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, tries: int = TRIES) -> Json:
        """Return the object or list at `path`."""
        return _object(self._call("GET", path, query, tries=tries), f"GET {path}")

    def create(self, path: str, body: Json, query: Mapping[str, str] | None = None) -> Json:
        """Create `body` in the collection at `path`; return it as the server has it now."""
        return _object(self._call("POST", path, query, body), f"POST {path}")

    def patch(self, path: str, body: Json) -> Json:
        """Merge `body` into the object at `path`; return it as the server has it now."""
        return _object(self._call("PATCH", path, None, body), f"PATCH {path}")

    def delete(self, path: str, options: Json) -> Json:
        """Delete the object at `path`; return it if it is still there, else a Status."""
        return _object(self._call("DELETE", path, None, options), f"DELETE {path}")

    def lines(self, path: str, query: Mapping[str, str], silence: float) -> Lines:
        """Open the endless answer at `path`. `silence`: seconds without a byte that end it."""
        answer = self._call("GET", path, query, read_timeout=silence, stream=True, tries=1)
        return Lines(answer, f"GET {path}")

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        *,
        read_timeout: float = READ_TIMEOUT,
        stream: bool = False,
        tries: int = TRIES,
    ) -> BaseHTTPResponse:
        """Call, and repeat what may be repeated."""
        url = path + "?" + urlencode(query) if query else path
        data = None if body is None else _encode(body).encode()
        timeout = Timeout(connect=CONNECT_TIMEOUT, read=read_timeout)
        tried = 0
        while True:
            tried += 1
            try:
                return self._once(method, url, data, timeout, stream)
            except Unavailable as exc:
                wait = _wait(exc, method, tried) if tried < tries else None
                if wait is None or self._closed.wait(wait):
                    raise

    def _once(
        self, method: str, url: str, data: bytes | None, timeout: Timeout, stream: bool
    ) -> BaseHTTPResponse:
        """Call once; with fresh credentials a second time if the server does not know us."""
        access = self._connected()
        try:
            return self._send(access, method, url, data, timeout, stream)
        except Unauthorized:
            return self._send(self._renewed(access), method, url, data, timeout, stream)

    def _send(
        self,
        access: Access,
        method: str,
        url: str,
        data: bytes | None,
        timeout: Timeout,
        stream: bool,
    ) -> BaseHTTPResponse:
        what = f"{method} {url.partition('?')[0]}"
        kind = MERGE_PATCH if method == "PATCH" else JSON_TYPE
        headers = {
            "Accept": JSON_TYPE,
            "Content-Type": kind,
            "User-Agent": "course-runner",
            **access.headers(),
        }
        try:
            answer = access.urlopen(
                method,
                access.base + url,
                body=data,
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=not stream,
            )
            if answer.status >= 300:
                raise _counted(translate(answer.status, answer.headers, _rest(answer), what))
        except HTTPError as exc:
            raise _trouble(exc, access.host, what) from exc
        self._tell(answer.headers.get("Warning"))
        return answer

    def _connected(self) -> Access:
        with self._lock:
            if self._access is None:
                self._access = self._connect()
            return self._access

    def _renewed(self, used: Access) -> Access:
        """Return an access that is newer than `used`, whoever of many threads makes it."""
        with self._lock:
            if self._access is used:
                self._access = self._connect()
                used.close()
            return self._access or self._connect()

    def _connect(self) -> Access:
        # Imported late: it brings TLS and YAML, which reading settings must not cost.
        from dispatcher.executors.kubernetes.access import connect

        return connect(self._kubeconfig)

    def _tell(self, warning: str | None) -> None:
        """Say each warning of the server once."""
        for text in _WARNING.findall(warning or ""):
            if text not in self._warned and len(self._warned) < WARNINGS_KEPT:
                self._warned.add(text)
                self._log.event("CHECK", "The API server warns: %s", text, level=logging.WARNING)


class Lines:
    """The lines of an answer that does not end. Read by one thread; any may close it."""

    def __init__(self, answer: BaseHTTPResponse, what: str) -> None:
        self._answer = answer
        self._what = what
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield each line without its end. Raise `Unavailable` when the stream breaks or is mute.

        An end that was asked for, by either side, is no error.
        """
        try:
            rest = b""
            for chunk in self._answer.stream(2**16):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
            if rest:
                yield rest
        except HTTPError as exc:
            if not self._closed:
                raise _trouble(exc, "the API server", self._what) from exc
        finally:
            self._answer.close()

    def close(self) -> None:
        """End the stream, also while another thread waits for its next line."""
        self._closed = True
        try:
            self._answer.shutdown()
        except (ValueError, OSError, RuntimeError):
            return  # it has ended by itself


def _wait(error: Unavailable, method: str, tried: int) -> float | None:
    """Seconds before the call may be repeated; None when it may not, or not so soon."""
    untouched = isinstance(error, Throttled | Unreachable)
    if isinstance(error, Unauthorized) or not (untouched or method in _REPEATABLE):
        return None
    asked: float | None = error.retry_after
    if asked is not None:
        return asked if asked <= LONGEST_WAIT else None
    return random.uniform(0.5, 1.0) * 0.2 * 2.0**tried  # noqa: S311 - spreads load, guards nothing


def _rest(answer: BaseHTTPResponse) -> bytes:
    """Return the body, of a streamed answer too."""
    return answer.data if answer.data is not None else b""


def _counted(error: CourseRunnerError) -> CourseRunnerError:
    """Return the error of an answer; one that is trouble, not just a no, has been counted."""
    if isinstance(error, Unavailable):
        kinds = {Throttled: "throttled", Unauthorized: "unauthorized"}
        TALLY.add(API_ERRORS, kinds.get(type(error), "server"))
    return error


def _trouble(error: HTTPError, host: str, what: str) -> Unavailable:
    reached = not isinstance(error, NewConnectionError | ConnectTimeoutError)
    TALLY.add(API_ERRORS, "broken" if reached else "unreachable")
    advice = "Look at the API server and the network to it."
    if isinstance(error, SSLError):
        advice = "Look at the certificates in the kubeconfig, and at the clock."
    if not reached:
        return Unreachable(f"The API server {host} cannot be reached: {error}.", advice=advice)
    how = "was silent for too long" if isinstance(error, ReadTimeoutError) else f"broke: {error}"
    return Unavailable(f"{what} {how}.", advice=advice)


def _object(answer: BaseHTTPResponse, what: str) -> Json:
    try:
        data = json.loads(answer.data)
    except ValueError:
        data = None
    if isinstance(data, dict):
        return data
    raise Unavailable(
        f"{what} brought something else than a Kubernetes object.",
        advice="Look whether a proxy answers in place of the API server.",
    )
