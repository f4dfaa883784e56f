"""A proxy in front of the real API server that does wrong on demand: TLS on both sides.

Goes in: requests of a dispatcher. Comes out: the real server's answers, but for those that meet a
deed: not answered, answered by somebody else, late, lost after the server has acted, mute, or cut.
Every deed happens between real sockets, so that what the client does about it is what it would do.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.dispatcher.kubernetes_executor.api_server import status

HOST = "127.0.0.1"
PATIENCE = 120.0
Match = Callable[[str, str], bool]
Deed = Callable[["Exchange"], None]


def any_call(method: str, path: str) -> bool:
    """Match every request but watches, whose answers do not end."""
    return "watch=true" not in path


def making(kind: str) -> Match:
    """Match the creation of a kind of object: the real one, not the rehearsal."""
    return lambda method, path: method == "POST" and path.endswith(f"/{kind}")


def watching(kind: str) -> Match:
    """Match a watch of a kind of object."""
    return lambda method, path: f"/{kind}?" in path and "watch=true" in path


@dataclass
class Rule:
    """A deed for the next `times` requests that match."""

    match: Match
    deed: Deed
    times: int


class Exchange(BaseHTTPRequestHandler):
    """One connection of the dispatcher, and one of ours to the API server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def setup(self) -> None:
        """Keep the connection's socket, so that an absence can cut it."""
        super().setup()
        self.proxy.open.add(self.connection)
        self._server = self.proxy.upstream()

    def finish(self) -> None:
        """Let go of both sides."""
        self._server.close()
        self.proxy.open.discard(self.connection)
        with suppress(OSError, ValueError):
            super().finish()

    def handle_any(self) -> None:
        """Do the deed that was ordered for this request, or the right thing."""
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else None
        deed = self.proxy.deed_for(self.command, self.path)
        try:
            (deed or Exchange.forward)(self)
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def ask(self) -> http.client.HTTPResponse:
        """Ask the real server what was asked of us."""
        kept = ("Accept", "Content-Type", "User-Agent", "Authorization")
        headers = {name: self.headers[name] for name in kept if name in self.headers}
        self._server.request(self.command, self.path, self.body, headers)
        return self._server.getresponse()

    def forward(self) -> None:
        """Pass the answer on as it comes."""
        answer = self.ask()
        self.send_response(answer.status)
        for name in ("Content-Type", "Retry-After", "Warning"):
            if answer.headers[name]:
                self.send_header(name, answer.headers[name])
        if answer.length is not None:
            body = answer.read()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while chunk := answer.read1(65536):
            self._chunk(chunk)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin_stream(self) -> None:
        """Begin an answer without an end."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def event(self, event: dict[str, object]) -> None:
        """Send one watch event, and end the stream."""
        self.begin_stream()
        self._chunk(json.dumps(event).encode() + b"\n")
        self._chunk(b"")

    def cut(self) -> None:
        """Close the connection without a word."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(2)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class FaultProxy:
    """The proxy, its deeds, and the kubeconfig that leads to it."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._folder = folder
        self._real = _Real.read(kubeconfig, folder)
        self._listening = _server_context(folder)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self.open: set[object] = set()
        self.met: list[tuple[str, str]] = []
        """Requests that met a deed."""
        self.released = threading.Event()
        """Lets mute streams end."""
        self.port = 0
        self.back()

    def kubeconfig(self) -> str:
        """Write a kubeconfig that leads here; the proxy brings its own certificate."""
        return self.write_kubeconfig({"token": "of no use here"})

    def write_kubeconfig(self, user: dict[str, str]) -> str:
        """Write a kubeconfig that leads here, with those credentials."""
        cluster = {
            "server": f"https://{HOST}:{self.port}",
            "certificate-authority": str(self._folder / "proxy.crt"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
        }
        path = self._folder / "proxy.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)

    def upstream(self) -> http.client.HTTPSConnection:
        """A connection to the real server."""
        return self._real.connection()

    def wrong(self, match: Match, deed: Deed, times: int = 1) -> None:
        """Meet the next `times` matching requests with `deed`."""
        with self._lock:
            self._rules.append(Rule(match, deed, times))

    def right_again(self) -> None:
        """Forget all deeds and let mute streams end."""
        with self._lock:
            self._rules.clear()
        self.released.set()

    def deed_for(self, method: str, path: str) -> Deed | None:
        """Return the first rule's deed for a request."""
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and rule.match(method, path):
                    rule.times -= 1
                    self.met.append((method, path))
                    return rule.deed
        return None

    def away(self) -> None:
        """Stop listening and cut every connection."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(2)  # type: ignore[attr-defined]

    def back(self) -> None:
        """Listen at the same address as before."""
        handler = type("Bound", (Exchange,), {"proxy": self})
        self._http = _Server((HOST, self.port), handler)
        self._http.context = self._listening
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: object, client_address: object) -> None:
        """Shake hands in the connection's own thread."""
        try:
            secured = self.context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]
        except OSError:
            return
        with secured:
            super().finish_request(secured, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are what this is for."""


@dataclass
class _Real:
    host: str
    port: int
    context: ssl.SSLContext

    @classmethod
    def read(cls, kubeconfig: Path, folder: Path) -> _Real:
        """Read where the real server is, and who we are there."""
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        place, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(place["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        files = [folder / "client.crt", folder / "client.key"]
        for path, name in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(base64.b64decode(user[name]))
        context.load_cert_chain(files[0], files[1])
        url = urlsplit(place["server"])
        assert url.hostname is not None
        return cls(url.hostname, url.port or 443, context)

    def connection(self) -> http.client.HTTPSConnection:
        """A connection that waits as long as a watch may be mute."""
        return http.client.HTTPSConnection(
            self.host, self.port, context=self.context, timeout=PATIENCE * 3
        )


def _server_context(folder: Path) -> ssl.SSLContext:
    """A certificate of this test alone."""
    key, certificate = folder / "proxy.key", folder / "proxy.crt"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=proxy -addext subjectAltName=IP:{HOST}"
        " -addext keyUsage=critical,digitalSignature,keyCertSign"
    ).split()
    words = [*command, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@contextmanager
def fault_proxy(kubeconfig: Path, folder: Path) -> Iterator[FaultProxy]:
    """A proxy that listens until the end of the block."""
    proxy = FaultProxy(kubeconfig, folder)
    try:
        yield proxy
    finally:
        proxy.right_again()
        proxy.away()


# --- deeds ----------------------------------------------------------------------------------------
def refuse(code: int, reason: str, **headers: str) -> Deed:
    """Answer with a Status that the server itself would give."""

    def deed(exchange: Exchange) -> None:
        data = json.dumps(status(code, reason, f"{reason} on demand")).encode()
        exchange.send_response(code)
        for name, value in headers.items():
            exchange.send_header(name.replace("_", "-"), value)
        exchange.send_header("Content-Length", str(len(data)))
        exchange.end_headers()
        exchange.wfile.write(data)

    return deed


def lose_the_answer(exchange: Exchange) -> None:
    """Let the server act, and drop what it says."""
    exchange.ask().read()
    exchange.cut()


def late(seconds: float) -> Deed:
    """Answer rightly, but only after a while."""

    def deed(exchange: Exchange) -> None:
        exchange.proxy.released.wait(seconds)
        exchange.forward()

    return deed


def mute(exchange: Exchange) -> None:
    """Begin a stream and say nothing."""
    exchange.begin_stream()
    exchange.proxy.released.wait(PATIENCE)
    exchange.cut()


def expired(exchange: Exchange) -> None:
    """Say in the stream that the version is too old."""
    exchange.event({"type": "ERROR", "object": status(410, "Expired", "too old")})
