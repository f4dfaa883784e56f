"""Refusals the CDN gives on its own account, and faults give in its name.

In: nothing, or the size of an object. Out: replies.
"""

from playground.wire import Reply
from playground.wire.reply import body


def unsatisfiable(total: int) -> Reply:
    """416 with the total length."""
    return body(416, "text/plain", b"").with_header("Content-Range", f"bytes */{total}")


def denied(code: int = 403) -> Reply:
    """The CDN's refusal."""
    xml = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
    return body(code, "application/xml", xml.encode())
