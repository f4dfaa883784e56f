"""A WebDAV server that answers as it is told: for what a well-behaved one never says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Script:
    """What to say to requests of `method` ("*": any), the first `times` of them.

    `silent`: say nothing, until the test is over.
    """

    status: int = 201
    body: str = ""
    method: str = "PUT"
    silent: bool = False
    times: int = 1_000_000
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


_FOUND = (
    '<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>{}</D:href>'
    "<D:propstat><D:prop><D:resourcetype/><D:getcontentlength>{}</D:getcontentlength>"
    "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
)


@contextmanager
def scripted(folder: Path, script: Script) -> Iterator[Path]:
    """Serve; gives the path of an rclone.conf with remote `dav`."""
    sizes: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            script.asked.append(self.command)
            size = len(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            mine = script.method in ("*", self.command) and script.times > 0
            script.times -= mine
            if mine and script.silent:
                script.over.wait(60)
                self.close_connection = True
                return
            usual = self.usual(size)
            status, text = (script.status, script.body) if mine else usual
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def usual(self, size: int) -> tuple[int, str]:
            """What a well-behaved server says."""
            if self.command == "PUT":
                sizes[self.path] = size
            if self.command == "PROPFIND" and self.path in sizes:
                return 207, _FOUND.format(self.path, sizes[self.path])
            return (201, "") if self.command in ("PUT", "MKCOL") else (404, "not found")

        do_PROPFIND = do_MKCOL = do_PUT = do_GET = do_DELETE = do_HEAD = do_MOVE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = folder / "scripted.conf"
    path.write_text(
        f"[dav]\ntype = webdav\nvendor = other\nurl = http://127.0.0.1:{server.server_port}\n"
    )
    try:
        yield path
    finally:
        script.over.set()
        server.shutdown()
        server.server_close()
