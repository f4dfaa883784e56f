"""The webhook as it goes over the wire: body bytes, headers, signatures. Pure.

Goes in: the event and the keys. Comes out: the exact bytes to send and the headers that sign
them. The body is compact JSON with raw Unicode because legacy controllers hash
`JSON.stringify(req.body)` rather than the bytes that came: only this form survives that round
trip unchanged.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY_PREFIX = "whsec_"

_SAFE_ID = re.compile(r"[A-Za-z0-9_:-]+")


@dataclass(frozen=True, slots=True)
class Event:
    """What is announced. `timestamp` is in Unix seconds and the same in every try."""

    task_id: int | str
    folder_name: str
    timestamp: int
    status: str = "completed"
    error: str = ""

    @property
    def id(self) -> str:
        """Stable over retries and restarts, so that a receiver can drop repeats.

        The time belongs to it: a task that is run again by force is news, not a repeat. It is a
        header and is signed in front of a full stop, so an id that holds one, or what a header
        holds badly, is sent as its hash.
        """
        text = f"{self.task_id}:{self.status}:{self.timestamp}"
        if _SAFE_ID.fullmatch(text):
            return text
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def body(event: Event, secret_key: str | None) -> bytes:
    """Return the body as sent. `secret_key` None leaves the field out.

    Success events carry the four fields that the legacy controller knows and no other.
    """
    data: dict[str, Any] = {} if secret_key is None else {"secret_key": secret_key}
    data["task_id"] = event.task_id
    data["folder_name"] = event.folder_name
    data["timestamp"] = event.timestamp
    if event.status != "completed":
        data["status"] = event.status
        data["error"] = event.error
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")


def signing_key(text: str) -> bytes:
    """Return the key's bytes: base64 behind `whsec_`, otherwise the text's own UTF-8 bytes.

    Raise `ValueError` when what follows `whsec_` is no base64, or nothing.
    """
    if not text.startswith(KEY_PREFIX):
        return text.encode()
    try:
        key = base64.b64decode(text[len(KEY_PREFIX) :], validate=True)
    except ValueError as exc:  # binascii.Error, or letters beyond ASCII
        raise ValueError(f"what follows {KEY_PREFIX} is no base64") from exc
    if not key:
        raise ValueError(f"nothing follows {KEY_PREFIX}")  # an empty key proves nothing
    return key


def headers(
    event: Event, payload: bytes, key: bytes, *, now: int, signature_header: str = "X-Signature"
) -> Mapping[str, str]:
    """Return the headers for `payload`: the HMAC header and the Standard Webhooks trio.

    `now` is the time of this try in Unix seconds; receivers refuse a trio older than 5 minutes.
    """
    signed = f"{event.id}.{now}.".encode() + payload
    standard = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        signature_header: "sha256=" + hmac.new(key, payload, hashlib.sha256).hexdigest(),
        "webhook-id": event.id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{standard}",
    }
