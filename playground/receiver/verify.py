"""Is a delivery genuine? Three proofs, each judged for itself.

In: headers and the raw body, the secrets, the time. Out: a verdict per proof and the answer they
add up to. Written from the published rules and not from the sender's code: a mistake made there
must not be repeated here.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOLERANCE = 300
"""Seconds a webhook-timestamp may be off (Standard Webhooks reference libraries)."""
PREFIX = "whsec_"
OK, UNCHECKED = "ok", "not checked"


@dataclass(frozen=True)
class Secrets:
    """What the receiver knows; None = that proof is not asked for."""

    body_secret: str | None = None
    """The value `secret_key` must have."""
    signing_key: bytes | None = None
    signature_header: str = "X-Signature"


@dataclass(frozen=True)
class Verdicts:
    """`ok`, `not checked`, or what is wrong, for the body and for each proof."""

    body: str
    secret_key: str
    signature: str
    standard: str

    @property
    def status(self) -> int:
        """200, 400 for a body that lacks something, 401 for a proof that fails."""
        if self.body != OK or self.secret_key == "missing secret_key":
            return 400
        proofs = (self.secret_key, self.signature, self.standard)
        return 200 if all(one in (OK, UNCHECKED) for one in proofs) else 401

    @property
    def reason(self) -> str:
        """The first thing that is wrong, or `ok`."""
        every = (self.body, self.secret_key, self.signature, self.standard)
        return next((one for one in every if one not in (OK, UNCHECKED)), OK)


def signing_key(value: str) -> bytes:
    """Key bytes from `whsec_` and base64, or plain text as UTF-8; ValueError for bad base64."""
    if not value.startswith(PREFIX):
        return value.encode()
    try:
        return base64.b64decode(value.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(
            "The signing key begins with whsec_, but what follows is no base64."
        ) from error


def check(headers: Mapping[str, str], body: bytes, secrets: Secrets, now: float) -> Verdicts:
    """Judge one delivery; header names are lower-case, now is in Unix seconds."""
    value = _parsed(body)
    return Verdicts(
        body=_fields(headers, value),
        secret_key=_secret(value, secrets.body_secret),
        signature=_signature(headers, body, secrets),
        standard=_standard(headers, body, secrets.signing_key, now),
    )


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body.decode())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _fields(headers: Mapping[str, str], value: dict[str, Any] | None) -> str:
    if headers.get("content-type") != "application/json":
        return "Content-Type is not application/json"
    if value is None:
        return "body is not a JSON object in UTF-8"
    wanted = {"task_id": (int, str), "folder_name": (str,), "timestamp": (int,)}
    for name, kinds in wanted.items():
        if type(value.get(name)) not in kinds:
            return f"missing {name}" if name not in value else f"{name} has the wrong type"
    return OK


def _secret(value: dict[str, Any] | None, expected: str | None) -> str:
    if expected is None:
        return UNCHECKED
    given = (value or {}).get("secret_key")
    if given is None:
        return "missing secret_key"
    same = isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())
    return OK if same else "wrong secret_key"


def _signature(headers: Mapping[str, str], body: bytes, secrets: Secrets) -> str:
    if secrets.signing_key is None:
        return UNCHECKED
    given = headers.get(secrets.signature_header.lower())
    if given is None:
        return f"missing {secrets.signature_header}"
    expected = "sha256=" + hmac.new(secrets.signing_key, body, hashlib.sha256).hexdigest()
    return (
        OK
        if hmac.compare_digest(given.encode(), expected.encode())
        else f"wrong {secrets.signature_header}"
    )


def _standard(headers: Mapping[str, str], body: bytes, key: bytes | None, now: float) -> str:
    if key is None:
        return UNCHECKED
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    if missing := [name for name in names if not headers.get(name)]:
        return f"missing {', '.join(missing)}"
    number, stamp, signatures = (headers[name] for name in names)
    if not stamp.isdigit() or abs(now - int(stamp)) > TOLERANCE:
        return f"webhook-timestamp is not within {TOLERANCE} s of now"
    signed = f"{number}.{stamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    matches = [
        hmac.compare_digest(one.encode(), expected.encode()) for one in signatures.split(" ")
    ]
    return OK if any(matches) else "wrong webhook-signature"
