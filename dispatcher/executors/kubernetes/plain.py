"""The ways to an API server that need no library: a service account, a kubeconfig without tricks.

Goes in: the path of a kubeconfig, or nothing, and the environment. Comes out: a `Way`, or None
where more is asked for (a login command, a proxy, a password, a certificate that is not to be
checked); then the `kubernetes` package is asked. A pod always goes this way: the package would be
a third of a small dispatcher's memory.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

import yaml
from urllib3 import PoolManager
from urllib3.util.ssl_ import create_urllib3_context

from dispatcher.executors import Unavailable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and the cluster's authority."""

_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_CLUSTER = {"server", "certificate-authority", "certificate-authority-data", "extensions"}
_USER = {
    *("token", "tokenFile", "extensions"),
    *("client-certificate", "client-certificate-data", "client-key", "client-key-data"),
}
"""What is understood of a cluster and of a user; anything else is left to the package."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach a server. `authority`, `certificate`, `key`: PEM, "" where there is none."""

    host: str
    authority: str = ""
    certificate: str = ""
    key: str = ""
    token: str = ""
    token_file: Path | None = None

    def __repr__(self) -> str:
        return f"Way({self.host!r})"  # the rest is secret


def find(kubeconfig: str, account: Path = SERVICE_ACCOUNT) -> Way | None:
    """Return the way that the surroundings give; None where it is not plain.

    Raise OSError, ValueError or YAMLError at what cannot be read.
    """
    if any(os.environ.get(name) for name in _PROXIES):
        return None
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if not kubeconfig and host:
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        name = f"[{host}]" if ":" in host else host
        authority = (account / "ca.crt").read_text()
        (account / "token").read_text()  # that it is there is found out now, not at the first call
        return Way(f"https://{name}:{port}", authority, token_file=account / "token")
    path = Path(kubeconfig or "~/.kube/config").expanduser()
    return _of_kubeconfig(path) if os.pathsep not in str(path) else None


def _of_kubeconfig(path: Path) -> Way | None:
    config = yaml.safe_load(path.read_text())
    context = _named(config, "context", str(_mapping(config).get("current-context", "")))
    cluster = _named(config, "cluster", str(context.get("cluster", "")))
    user = _named(config, "user", str(context.get("user", "")))
    if not cluster.get("server") or not cluster.keys() <= _CLUSTER or not user.keys() <= _USER:
        return None
    token_file = user.get("tokenFile")
    return Way(
        host=str(cluster["server"]),
        authority=_pem(cluster, "certificate-authority", path.parent),
        certificate=_pem(user, "client-certificate", path.parent),
        key=_pem(user, "client-key", path.parent),
        token=str(user.get("token") or ""),
        token_file=path.parent / str(token_file) if token_file else None,
    )


def _named(config: object, kind: str, name: str) -> Mapping[str, Any]:
    """Return the entry of that name among the config's contexts, clusters or users."""
    entries = _mapping(config).get(f"{kind}s")
    for entry in entries if isinstance(entries, list) else ():
        if _mapping(entry).get("name") == name:
            return _mapping(_mapping(entry).get(kind))
    return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _pem(entry: Mapping[str, Any], name: str, folder: Path) -> str:
    """Return what the entry has under `name`: the text itself, encoded, or the path of a file."""
    inline, path = entry.get(f"{name}-data"), entry.get(name)
    if inline:
        return base64.b64decode(str(inline)).decode()
    return (folder / str(path)).read_text() if path else ""


def bearer(way: Way) -> str:
    """Return the Authorization header's value as it is now. Raise `Unavailable` without one."""
    token = way.token
    if way.token_file is not None:
        try:
            token = way.token_file.read_text().strip() or token
        except OSError as exc:
            raise Unavailable(
                f"The token for the API server {way.host} cannot be renewed: {exc}.",
                advice="Look at the service account's token, or at the kubeconfig's tokenFile.",
            ) from exc
    return f"Bearer {token}" if token else ""


def pools(way: Way, connections: int) -> PoolManager:
    """Return connections that trust the way's authority and show its certificate."""
    if not way.host.startswith("https://"):
        return PoolManager(maxsize=connections)
    context = create_urllib3_context()
    if way.authority:
        context.load_verify_locations(cadata=way.authority)
    else:
        context.load_default_certs()
    if way.certificate:
        _show(context, way)
    return PoolManager(maxsize=connections, ssl_context=context)


def _show(context: SSLContext, way: Way) -> None:
    """Load the client's certificate, which OpenSSL takes from files alone."""
    with _file(way.certificate) as certificate, _file(way.key or way.certificate) as key:
        context.load_cert_chain(certificate, key)


@contextmanager
def _file(text: str) -> Iterator[str]:
    """A file with that text that nobody else may read, for a moment."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(text)
        file.flush()
        yield file.name
