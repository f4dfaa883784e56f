"""The event of a chaos: one webhook over a plain socket, as the job's program sends it.

Standard library alone, for it starts with every run: no imports of ours. Goes in: the address, the
task, how it ended and when. Comes out: whether the receiver took it. The time is the caller's to
keep: the same event has the same time, and so the same id, in every try.
"""

import json
import socket
from urllib.parse import urlsplit

LIMIT = 30.0
"""Seconds that the receiver may take, on a machine that is busy elsewhere."""


def deliver(url: str, task: str, status: str, moment: int) -> bool:
    """Send the event that `task` ended as `status` at `moment` (Unix seconds)."""
    body = {"task_id": task, "folder_name": "chaos", "timestamp": moment}
    if status != "completed":
        body |= {"status": status, "error": "As the order asked."}
    payload = json.dumps(body, separators=(",", ":")).encode()
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
        f"webhook-id: {task}:{status}:{moment}\r\nwebhook-timestamp: {moment}\r\n\r\n"
    )
    address = (parts.hostname or "", parts.port or 80)
    try:
        with socket.create_connection(address, timeout=LIMIT) as connection:
            connection.sendall(head.encode() + payload)
            return connection.makefile("rb").readline().split()[1:2] == [b"200"]
    except OSError:
        return False
