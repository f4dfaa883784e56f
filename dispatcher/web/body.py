"""The body of a request, read whole and never beyond its limit."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from contract.errors import Permanent

LIMIT = 160 * 1024
"""Bytes of the largest body: a message of 64 KiB as a form sends it, with room."""


class TooLarge(Permanent):
    """A body beyond the limit."""


async def read(request: Request) -> bytes:
    """Return the body. Raise `TooLarge`."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > LIMIT:
                raise TooLarge("The request is too large.", advice=f"Send at most {LIMIT} bytes.")
            parts.append(part)
    except ClientDisconnect:
        return b""
    return b"".join(parts)


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form as browsers send it; the last of several of one name."""
    text = (await read(request)).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
    except ValueError:
        return {}
