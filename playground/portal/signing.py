"""Signed URLs of the CDN, in the three forms the platform uses.

In: a key and the portal's clock. Out: a query, or the verdict on one. The clock can be moved: that
is how links expire without waiting. Every form ends at the time written in it and is bound to one
path.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

KEY_PAIR_ID = "PLAYGROUND"


class Form(Enum):
    """How a URL carries its signature."""

    PAIR = "Expires, Signature, Key-Pair-Id"
    SECURE = "secure=<mac>,<unix>"
    TOKEN = "token=<JWT>"


@dataclass
class Clock:
    """The portal's time: the machine's, shifted."""

    shift: float = 0.0
    ttl: float = 3600.0
    """Seconds a new signature is good for."""

    def now(self) -> float:
        """Unix seconds as the portal sees them."""
        return time.time() + self.shift


class Signer:
    """Makes and checks signatures with a key of its own."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self.clock = clock

    def query(self, path: str, form: Form = Form.PAIR) -> str:
        """The query that opens a path from now until the time to live is over."""
        expires = int(self.clock.now() + self.clock.ttl)
        match form:
            case Form.SECURE:
                return f"secure={self._mac(path, expires)},{expires}"
            case Form.TOKEN:
                return f"token={self._jwt(path, expires)}"
            case Form.PAIR:
                mac = self._mac(path, expires)
                return f"Expires={expires}&Signature={mac}&Key-Pair-Id={KEY_PAIR_ID}"

    def accepts(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether a query opens the path now."""
        expires, mac = _read(query)
        if not expires.isdigit():
            return False
        fits = hmac.compare_digest(mac.encode(), self._expected(path, int(expires), query).encode())
        return fits and int(expires) > self.clock.now()

    def _expected(self, path: str, expires: int, query: Mapping[str, str]) -> str:
        return self._jwt(path, expires) if "token" in query else self._mac(path, expires)

    def _mac(self, path: str, expires: int) -> str:
        return _base64(hmac.digest(self._key, f"{path}|{expires}".encode(), "sha256"))

    def _jwt(self, path: str, expires: int) -> str:
        parts = ({"alg": "HS256", "typ": "JWT"}, {"exp": expires, "path": path})
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_base64(hmac.digest(self._key, signed.encode(), 'sha256'))}"


def make_key(seed: str) -> bytes:
    """A signing key from a seed, so that a portal started again accepts the links it gave out
    before.
    """
    return hashlib.sha256(f"playground:{seed}".encode()).digest()


def _read(query: Mapping[str, str]) -> tuple[str, str]:
    if "token" in query:
        return _expiry_of_jwt(query["token"]), query["token"]
    if "secure" in query:
        mac, _, expires = query["secure"].partition(",")
        return expires, mac
    return query.get("Expires", ""), query.get("Signature", "")


def _expiry_of_jwt(token: str) -> str:
    payload = token.partition(".")[2].partition(".")[0]
    try:
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (ValueError, KeyError, TypeError):
        return ""


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
