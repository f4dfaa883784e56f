"""What REDIS_URL may say, read without connecting. Pure.

    redis://[user:pass@]host[:port][/db]              one server; rediss:// the same by TLS
    unix:///path                                      one server on this machine
    redis+sentinel://[user:pass@]host[:port],…/service[/db]     the server that sentinels name
    redis+cluster://[user:pass@]host[:port],…         a Redis Cluster; the queue needs a hash tag

`rediss+sentinel` and `rediss+cluster` speak TLS to servers and sentinels. Goes in: the address.
Comes out: an `Address`, or `BadAddress`, whose words never repeat the address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from contract.env import Secret

SERVER = "server"
SENTINEL = "sentinel"
CLUSTER = "cluster"

_PORTS = {SENTINEL: 26379, CLUSTER: 6379}
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
_SCHEMES = {
    "redis": (SERVER, False),
    "rediss": (SERVER, True),
    "unix": (SERVER, False),
    "redis+sentinel": (SENTINEL, False),
    "rediss+sentinel": (SENTINEL, True),
    "redis+cluster": (CLUSTER, False),
    "rediss+cluster": (CLUSTER, True),
}
_TAG = re.compile(r"\{([^}]+)\}")
"""A Redis Cluster hashes only what stands in the first braces, if anything does."""


class BadAddress(ValueError):
    """No address; the text says what it must be."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address, read. `hosts` and what follows are empty for one server: its client reads it."""

    kind: str
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    user: str | None = None
    password: Secret | None = None
    service: str = ""
    db: int = 0
    options: Mapping[str, Secret] = field(default_factory=dict)


def parse(url: str) -> Address:
    """Read an address. Raise `BadAddress`."""
    scheme = url.partition("://")[0].lower()
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise BadAddress(f"an address that begins with one of {known}")
    kind, tls = _SCHEMES[scheme]
    if kind == SERVER:
        _check_server(url)
        return Address(kind, tls)
    return _several(url, kind, tls)


def missing_tag(queue: str) -> str:
    """Return why a queue cannot live in a Redis Cluster; "" when it can."""
    if _TAG.search(queue):
        return ""
    return (
        f"QUEUE={queue} has no hash tag, so in a Redis Cluster the queue and its claimed lists lie "
        "in different slots, and no order can be moved from one to the other without being lost "
        f"in between. Name the queue {{{queue}}}, in the backend too."
    )


def _check_server(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is none
    except ValueError:
        raise BadAddress("an address such as redis://:password@host:6379/0") from None
    if not (parts.path.strip("/") if parts.scheme == "unix" else parts.hostname):
        raise BadAddress("an address with a host, or unix:// with a path")


def _several(url: str, kind: str, tls: bool) -> Address:
    parts = urlsplit(url)
    account, _, places = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    service, db = _service(parts.path, kind)
    return Address(
        kind,
        tls,
        tuple(_host(place, _PORTS[kind]) for place in places.split(",")),
        unquote(user) or None,
        Secret(unquote(password)) if password else None,
        service,
        db,
        _options(parts.query, kind, tls),
    )


def _host(place: str, usual: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path:
        raise BadAddress("an address whose hosts are like host1:26379,host2:26379")
    return host, port or usual


def _service(path: str, kind: str) -> tuple[str, int]:
    """Return the sentinels' name for the server, and the database's number."""
    if kind == CLUSTER:
        if path.strip("/") not in ("", "0"):
            raise BadAddress("an address without a database: a Redis Cluster has number 0 alone")
        return "", 0
    service, _, db = path.strip("/").partition("/")
    if not service or not re.fullmatch("[0-9]{0,6}", db):
        raise BadAddress("an address with the sentinels' name for the server: …/mymaster or …/m/0")
    return unquote(service), int(db or 0)


def _options(query: str, kind: str, tls: bool) -> dict[str, Secret]:
    allowed = (_TLS_OPTIONS if tls else ()) + (_SENTINEL_OPTIONS if kind == SENTINEL else ())
    found = dict(parse_qsl(query, keep_blank_values=True))
    if not set(found) <= set(allowed):
        known = ", ".join(allowed) or "none"
        raise BadAddress(f"an address whose options are known ones (here: {known})")
    return {name: Secret(value) for name, value in found.items()}
