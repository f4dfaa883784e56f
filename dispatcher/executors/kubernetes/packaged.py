"""The door to the `kubernetes` package: kubeconfigs that ask for more than `plain` reads.

Goes in: the path of a kubeconfig, or nothing. Comes out: the server's address, a connection pool,
and a function that returns the Authorization header's value. Only this is taken from the package:
its generated calls cost two to three times the CPU of plain JSON and use no second core, because of
the interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from dispatcher.executors import Unavailable

if TYPE_CHECKING:
    from urllib3 import PoolManager

TROUBLES = (ConfigException, OSError, YAMLError, TypeError)
"""What the package raises at a kubeconfig that it cannot use."""


def find(kubeconfig: str, connections: int) -> tuple[str, PoolManager, Callable[[], str]]:
    """Return address, connections and token; raise one of `TROUBLES` when there is no way."""
    configuration = Configuration()
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        path = kubeconfig or str(Path("~/.kube/config").expanduser())
        load_kube_config(  # type: ignore[no-untyped-call]
            path, client_configuration=configuration, persist_config=False
        )
    configuration.keep_alive = True
    configuration.connection_pool_maxsize = connections
    pools: PoolManager = RESTClientObject(configuration).pool_manager
    return configuration.host, pools, lambda: _bearer(configuration)


def _bearer(configuration: Configuration) -> str:
    try:
        return str(configuration.auth_settings().get("BearerToken", {}).get("value") or "")
    except (ConfigException, OSError) as exc:
        raise Unavailable(
            f"The token for the API server {configuration.host} cannot be renewed: {exc}.",
            advice="Look at the service account's token, or at the kubeconfig's login command.",
        ) from exc
