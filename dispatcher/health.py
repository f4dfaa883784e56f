"""`/healthz` and `/readyz`, true to what they say, and pages such as `/metrics` beside them.

Healthy: the loop has ended a turn lately, well or not: a restart would not help. Ready: Redis and
the executor answered in that turn and the executor's view is not stale. Both say the reason.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from contract.errors import Misconfigured

STUCK = 120.0
"""Seconds without a finished or failed turn after which a restart is worth it."""

Check = Callable[[], str]
"""Returns what ails, or "" when all is well."""

Page = Callable[[], tuple[str, bytes]]
"""Returns a content type and what there is to read."""


class Health:
    """Serves the two checks on a port of its own, each request in a thread of its own."""

    def __init__(
        self,
        host: str,
        port: int,
        checks: Mapping[str, Check],
        note: Check = lambda: "",
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        """`note` returns what is worth knowing while all is well; `pages`: what else is served."""
        try:
            self._server = _Server((host, port), _handler(checks, note, pages or {}))
        except OSError as exc:
            raise Misconfigured(
                f"HEALTH_HOST={host} with HEALTH_PORT={port} cannot be listened on: "
                f"{exc.strerror or exc}.",
                advice="Choose another HEALTH_PORT, or 0 for no health checks.",
            ) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is listened on (for port 0)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet of a probe that hung up; show anything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def stuck(last: float, started: float) -> str:
    """Return what ails a loop whose last turn was at `last` (monotonic seconds)."""
    silent = time.monotonic() - max(last, started)
    return "" if silent < STUCK else f"The loop has not finished a turn for {silent:.0f} s."


def _handler(
    checks: Mapping[str, Check], note: Check, pages: Mapping[str, Page]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path in pages:
                self._send(200, *pages[path]())
            elif path in checks:
                trouble = checks[path]()
                self._answer(503 if trouble else 200, trouble or f"ok {note()}".rstrip())
            else:
                self._answer(404, "There are: " + ", ".join(sorted([*checks, *pages])))

        def _answer(self, status: int, text: str) -> None:
            self._send(status, "text/plain; charset=utf-8", (text + "\n").encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep probes out of the log."""

    return Handler
