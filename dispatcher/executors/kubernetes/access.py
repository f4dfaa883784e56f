"""The door to the `kubernetes` package: where the API server is, and who we are.

Goes in: the path of a kubeconfig, or nothing. Comes out: `Access`, an address, a connection pool
with its TLS and proxy settings, and an Authorization header that keeps up with rotated tokens.
Only this is taken from the package. Its generated calls cost two to three times the CPU of plain
JSON and use no second core, because of the interpreter's lock.

Importing this module costs half a second and 25 MiB, so `client` does it when it first connects.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
)
from yaml import YAMLError

from contract.errors import Misconfigured
from dispatcher.executors import Unavailable

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECTIONS = 32
"""Idle connections kept: the submitting threads, two watches, and room for the command line."""

TOKEN_CHECK = 10.0
"""Seconds between two looks at the token. A rotated token stays valid for much longer, and the
package's own hook reads the environment at every call."""


class Access:
    """Where the API server is, and who we are."""

    def __init__(self, configuration: Configuration) -> None:
        configuration.keep_alive = True
        configuration.connection_pool_maxsize = CONNECTIONS
        self.host: str = configuration.host.rstrip("/")
        self._pools: PoolManager = RESTClientObject(configuration).pool_manager
        self.urlopen, self.base = _way(self._pools, self.host)
        self._configuration = configuration
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
                self._headers = self._authorization()
                self._checked = time.monotonic()
            return self._headers

    def _authorization(self) -> Mapping[str, str]:
        try:
            value = self._configuration.auth_settings().get("BearerToken", {}).get("value")
        except (ConfigException, OSError) as exc:
            raise Unavailable(
                f"The token for the API server {self.host} cannot be renewed: {exc}.",
                advice="Look at the service account's token, or at the kubeconfig's login command.",
            ) from exc
        return {"Authorization": str(value)} if value else {}


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
    configuration = Configuration()
    try:
        if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            path = kubeconfig or str(Path("~/.kube/config").expanduser())
            load_kube_config(  # type: ignore[no-untyped-call]
                path, client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError, YAMLError, TypeError) as exc:
        raise Misconfigured(
            f"There is no way to a Kubernetes API server: {exc}.",
            advice="Run in a pod with a service account, or set KUBECONFIG to a kubeconfig.",
        ) from exc
    return Access(configuration)
