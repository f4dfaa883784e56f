"""Where the API server is, and who we are: `Access`, from what the surroundings give.

Goes in: the path of a kubeconfig, or nothing. Comes out: an address, a connection pool with its TLS
settings, and an Authorization header that keeps up with rotated tokens. A service account and a
kubeconfig with a token or a certificate are read by `plain`; whatever asks for more (a login
command, a proxy) by the `kubernetes` package, whose import costs half a second and 18 MiB.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yaml import YAMLError

from contract.errors import Misconfigured
from dispatcher.executors.kubernetes import plain

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECTIONS = 32
"""Idle connections kept: the submitting threads, two watches, and room for the command line."""

TOKEN_CHECK = 10.0
"""Seconds between two looks at the token. A rotated token stays valid for much longer, and the
package's own hook reads the environment at every call."""


class Access:
    """Where the API server is, and who we are."""

    def __init__(self, host: str, pools: PoolManager, token: Callable[[], str]) -> None:
        """`token`: returns the Authorization header's value, "" when a certificate speaks for us.

        It raises `Unavailable` when there is none at the moment.
        """
        self.host = host.rstrip("/")
        self._pools = pools
        self._token = token
        self.urlopen, self.base = _way(pools, self.host)
        self._lock = threading.Lock()
        self._checked = 0.0
        self._headers: Mapping[str, str] = {}

    def close(self) -> None:
        """Let go of idle connections."""
        self._pools.clear()

    def headers(self) -> Mapping[str, str]:
        """Return the header that says who we are; empty with a client certificate.

        Raise `Unavailable` when the token cannot be renewed.
        """
        with self._lock:
            if time.monotonic() - self._checked > TOKEN_CHECK or not self._checked:
                value = self._token()
                self._headers = {"Authorization": value} if value else {}
                self._checked = time.monotonic()
            return self._headers


def _way(pools: PoolManager, host: str) -> tuple[Callable[..., BaseHTTPResponse], str]:
    """Return how to call the server, and what to put before each path.

    The server's own pool, found once, saves a quarter of a call's CPU. Only a proxy for plain HTTP
    wants whole addresses, which the manager of pools knows how to send.
    """
    if pools.proxy is not None and host.startswith("http://"):
        return pools.urlopen, host
    return pools.connection_from_url(host).urlopen, urlsplit(host).path


def connect(kubeconfig: str) -> Access:
    """Return the access that the surroundings give. Raise `Misconfigured` when there is none.

    A kubeconfig that was named wins; else a pod uses its service account; else ~/.kube/config.
    """
    try:
        way = plain.find(kubeconfig)
        if way is not None:
            return Access(way.host, plain.pools(way, CONNECTIONS), lambda: plain.bearer(way))
    except (OSError, YAMLError, ValueError) as exc:  # an SSLError is an OSError
        raise no_way(exc) from exc
    # Imported late: half a second and 18 MiB that most never need.
    from dispatcher.executors.kubernetes import packaged

    try:
        return Access(*packaged.find(kubeconfig, CONNECTIONS))
    except packaged.TROUBLES as exc:
        raise no_way(exc) from exc


def no_way(error: Exception) -> Misconfigured:
    """Return what is said where nothing leads to an API server."""
    return Misconfigured(
        f"There is no way to a Kubernetes API server: {error}.",
        advice="Run in a pod with a service account, or set KUBECONFIG to a kubeconfig.",
    )
