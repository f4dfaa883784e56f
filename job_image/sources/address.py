"""Addresses taken apart without accidents: what cannot be read has no scheme and no host. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, urljoin, urlsplit

_NOTHING = SplitResult("", "", "", "", "")
PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]


_PLAIN = re.compile(
    r"(https?)://([a-z0-9.-]+(?::[0-9]{1,5})?)(/[A-Za-z0-9._~%/=:@!$&'()*+,-]*)"
    r"(?:\?([A-Za-z0-9._~%/=:@!$&'()*+,;-]*))?"
)
"""The common form, read at a tenth of the cost: nothing in it needs a rule of its own."""


@lru_cache(256)  # each address is looked at several times in a row
def parts(url: str) -> SplitResult:
    """Return the parts of an address; all empty when it is none."""
    if plain := _PLAIN.fullmatch(url):
        found = SplitResult(plain[1], plain[2], plain[3], plain[4] or "", "")
    else:
        try:
            found = urlsplit(url)
        except ValueError:
            return _NOTHING
    return found if _is_server(found.scheme, found.netloc) else _NOTHING


@lru_cache(64)
def _server(scheme: str, netloc: str) -> Origin:
    """Return whose server it is. Raise `ValueError` for what only looks like one."""
    found = SplitResult(scheme, netloc, "", "", "")
    return scheme, (found.hostname or "").lower(), found.port or PORTS.get(scheme)


def _is_server(scheme: str, netloc: str) -> bool:
    try:
        _server(scheme, netloc)
    except ValueError:
        return False
    return True


def is_http(url: str) -> bool:
    """Whether a text is an http address."""
    found = parts(url)
    return found.scheme in ("http", "https") and bool(_server(found.scheme, found.netloc)[1])


def host(url: str) -> str:
    """Return the host's name, for messages."""
    return parts(url).hostname or "an unreadable address"


def place(url: str) -> str:
    """Return scheme, host and port, for messages: no credentials, no path, no query."""
    found = parts(url)
    return f"{found.scheme}://{found.netloc.rpartition('@')[2]}"


def origin(url: str) -> Origin:
    """Return what must be equal for two addresses to belong to one server."""
    found = parts(url)
    return _server(found.scheme, found.netloc)


def join(base: str, target: str) -> str:
    """Return `target` as seen from `base`; "" when that is no http address."""
    try:
        url = urljoin(base, target)
    except ValueError:
        return ""
    return url if is_http(url) else ""


def without_query(url: str) -> str:
    """Return an address without its query: what stays the same when it is signed anew."""
    return parts(url)._replace(query="", fragment="").geturl()


def shown(url: str) -> str:
    """Return an address for messages: no credentials, no query."""
    return place(url) + parts(url).path if url else ""
