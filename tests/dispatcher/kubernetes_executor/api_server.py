"""A small API server that can be told to misbehave: real HTTP on loopback, objects in memory.

It keeps what the executor relies on (uids, rising resource versions, 404 and 409, preconditions,
label selectors, pages, watches with bookmarks and a history that can be forgotten) and does wrong
on demand: `wrong(match, deed)` has the next matching request met by a deed of `Deed`.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]
Deed = Callable[["Exchange"], None]

KINDS = {"jobs": "Job", "persistentvolumeclaims": "PersistentVolumeClaim", "pods": "Pod"}
NAMESPACE = "tasks"


@dataclass(frozen=True, slots=True)
class Request:
    """What came in. `verb` is the API's: get, list, watch, create, patch, delete."""

    verb: str
    resource: str
    name: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


def status(code: int, reason: str, message: str, **details: Any) -> Json:
    """Return a Status as the API server answers with."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: ApiServer
    request_seen: Request

    def handle_any(self) -> None:
        """Read the request, then do the deed that was ordered for it, or the right thing."""
        self.request_seen = self._read()
        deed = self.api.deed_for(self.request_seen)
        try:
            (deed or self.api.serve)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

    def _read(self) -> Request:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        resource, _, name = url.path.partition(f"/namespaces/{NAMESPACE}/")[2].partition("/")
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(self.command, "get")
        if verb == "get" and not name:
            verb = "watch" if query.get("watch") else "list"
        return Request(verb, resource, name, query, body, dict(self.headers))

    def reply(self, code: int, body: Json | bytes, headers: dict[str, str] | None = None) -> None:
        """Answer with one whole body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self) -> None:
        """Begin an answer without an end, in chunks."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def chunk(self, data: bytes) -> None:
        """Send a piece of the stream; an empty one ends it."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, kind: str, obj: Json) -> None:
        """Send one watch event."""
        self.chunk(json.dumps({"type": kind, "object": obj}).encode() + b"\n")

    def cut(self) -> None:
        """Close the connection without a word."""
        self.close_connection = True
        self.connection.shutdown(2)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class ApiServer(ThreadingHTTPServer):
    """The objects, their history, and the deeds that are ordered."""

    daemon_threads = True

    def __init__(self) -> None:
        handler = type("Bound", (Exchange,), {"api": self})
        super().__init__(("127.0.0.1", 0), handler)
        self.requests: list[Request] = []
        self._state = threading.Condition(threading.RLock())
        self._objects: dict[tuple[str, str], Json] = {}
        self._history: list[tuple[int, str, str, Json]] = []
        self._revision = 100
        self._oldest = 0
        self._deeds: list[tuple[Callable[[Request], bool], Deed]] = []
        self._watchers: list[tuple[str, queue.Queue[tuple[str, Json] | None]]] = []
        self._pages: dict[str, tuple[list[Json], int]] = {}

    # --- what tests ask for -----------------------------------------------------------------------
    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}"

    def kubeconfig(self, folder: Path, token: str = "first") -> str:
        """Write a kubeconfig for this server and return its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)

    def wrong(self, verb: str, deed: Deed, resource: str = "", times: int = 1) -> None:
        """Meet the next `times` requests of that verb (and resource) with `deed`."""

        def match(request: Request) -> bool:
            return request.verb == verb and resource in ("", request.resource)

        with self._state:
            self._deeds += [(match, deed)] * times

    def right_again(self) -> None:
        """Forget the deeds that were ordered."""
        with self._state:
            self._deeds.clear()

    def seen(self, verb: str, resource: str = "") -> list[Request]:
        """Return the requests of that verb (and resource) so far."""
        with self._state:
            return [r for r in self.requests if r.verb == verb and resource in ("", r.resource)]

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 15) -> None:
        """Wait until `holds`, which is asked at each request and each 50 ms."""
        deadline = time.monotonic() + seconds
        with self._state:
            while not holds():
                assert time.monotonic() < deadline, f"{what}: still not"
                self._state.wait(0.05)

    def put(self, resource: str, obj: Json) -> Json:
        """Make or change an object, as somebody else would; return it as it is now."""
        with self._state:
            key = (resource, obj["metadata"]["name"])
            old = self._objects.get(key)
            now = json.loads(json.dumps(obj))
            now.setdefault("apiVersion", "batch/v1" if resource == "jobs" else "v1")
            now.setdefault("kind", KINDS[resource])
            meta = now["metadata"]
            meta["uid"] = old["metadata"]["uid"] if old else str(uuid.uuid4())
            meta.setdefault("creationTimestamp", "2026-01-12T16:00:00Z")
            self._objects[key] = now
            return self._tell("MODIFIED" if old else "ADDED", resource, now)

    def remove(self, resource: str, name: str) -> None:
        """Remove an object for good, as the end of its finalizers would."""
        with self._state:
            self._tell("DELETED", resource, self._objects.pop((resource, name)))

    def get(self, resource: str, name: str) -> Json | None:
        """Return an object as it is now."""
        with self._state:
            return self._objects.get((resource, name))

    def bookmark(self, resource: str) -> None:
        """Send open watches a bookmark of now."""
        with self._state:
            self._revision += 1
            obj = {"metadata": {"resourceVersion": str(self._revision)}}
            self._send(resource, "BOOKMARK", obj)

    def compact(self) -> None:
        """Forget all history and all pages under way: older versions are expired from now on."""
        with self._state:
            self._revision += 1
            self._oldest = self._revision
            self._pages.clear()

    def end_watches(self) -> None:
        """End all open watches cleanly, as a time-out does."""
        with self._state:
            for _, events in self._watchers:
                events.put(None)

    def deed_for(self, request: Request) -> Deed | None:
        """Note the request; return the deed ordered for it."""
        with self._state:
            self.requests.append(request)
            self._state.notify_all()
            for index, (match, deed) in enumerate(self._deeds):
                if match(request):
                    del self._deeds[index]
                    return deed
            return None

    # --- what an API server does ------------------------------------------------------------------
    def serve(self, exchange: Exchange) -> None:
        """Do the right thing."""
        request = exchange.request_seen
        if request.verb == "watch":
            self._watch(exchange, request)
        else:
            code, body = getattr(self, f"_{request.verb}")(request)
            exchange.reply(code, body)

    def _tell(self, kind: str, resource: str, obj: Json) -> Json:
        self._revision += 1
        obj["metadata"]["resourceVersion"] = str(self._revision)
        copy = json.loads(json.dumps(obj))
        self._history.append((self._revision, resource, kind, copy))
        self._send(resource, kind, copy)
        return copy

    def _send(self, resource: str, kind: str, obj: Json) -> None:
        for wanted, events in self._watchers:
            if wanted == resource:
                events.put((kind, obj))

    def _missing(self, request: Request) -> tuple[int, Json]:
        words = f'{request.resource} "{request.name}" not found'
        return 404, status(404, "NotFound", words, name=request.name, kind=request.resource)

    def _get(self, request: Request) -> tuple[int, Json]:
        with self._state:
            found = self._objects.get((request.resource, request.name))
            return (200, found) if found else self._missing(request)

    def _list(self, request: Request) -> tuple[int, Json]:
        with self._state:
            if "continue" in request.query:
                return self._next_page(request)
            items = [
                obj
                for (resource, _), obj in sorted(self._objects.items())
                if resource == request.resource and _selected(obj, request.query)
            ]
            return self._page(items, self._revision, int(request.query.get("limit", "0")))

    def _next_page(self, request: Request) -> tuple[int, Json]:
        page = self._pages.pop(request.query["continue"], None)
        if page is None:
            return 410, status(410, "Expired", "The provided continue parameter is too old")
        return self._page(*page, int(request.query["limit"]))

    def _page(self, items: list[Json], revision: int, limit: int) -> tuple[int, Json]:
        here, rest = (items[:limit], items[limit:]) if limit else (items, [])
        metadata = {"resourceVersion": str(revision)}
        if rest:
            metadata["continue"] = uuid.uuid4().hex
            self._pages[metadata["continue"]] = (rest, revision)
        return 200, {"metadata": metadata, "items": here}

    def _create(self, request: Request) -> tuple[int, Json]:
        with self._state:
            name = request.body["metadata"]["name"]
            if (request.resource, name) in self._objects:
                words = f'{request.resource} "{name}" already exists'
                return 409, status(409, "AlreadyExists", words)
            if "dryRun" in request.query:
                return 201, request.body
            return 201, self.put(request.resource, request.body)

    def _patch(self, request: Request) -> tuple[int, Json]:
        with self._state:
            old = self._objects.get((request.resource, request.name))
            if old is None:
                return self._missing(request)
            seen = request.body.get("metadata", {}).get("resourceVersion")
            if seen not in (None, old["metadata"]["resourceVersion"]):
                return 409, status(409, "Conflict", "the object has been modified")
            return 200, self.put(request.resource, _merged(old, request.body))

    def _delete(self, request: Request) -> tuple[int, Json]:
        with self._state:
            old = self._objects.get((request.resource, request.name))
            if old is None:
                return self._missing(request)
            wanted = request.body["preconditions"]["uid"]
            if wanted != old["metadata"]["uid"]:
                return 409, status(409, "Conflict", f"the UID {wanted} does not match")
            seen = request.body["preconditions"].get("resourceVersion")
            if seen not in (None, old["metadata"]["resourceVersion"]):
                return 409, status(409, "Conflict", f"the ResourceVersion {seen} does not match")
            if old["metadata"].get("finalizers"):
                old["metadata"]["deletionTimestamp"] = "2026-01-12T17:00:00Z"
                return 200, self.put(request.resource, old)
            self.remove(request.resource, request.name)
            return 200, status(200, "", "") | {"status": "Success"}

    def _watch(self, exchange: Exchange, request: Request) -> None:
        since = int(request.query["resourceVersion"])
        events: queue.Queue[tuple[str, Json] | None] = queue.Queue()
        with self._state:
            if since < self._oldest:
                exchange.reply(410, status(410, "Expired", "too old resource version"))
                return
            for revision, resource, kind, obj in self._history:
                if revision > since and resource == request.resource:
                    events.put((kind, obj))
            self._watchers.append((request.resource, events))
        exchange.begin_stream()
        while (event := events.get()) is not None:
            if event[0] == "BOOKMARK" or _selected(event[1], request.query):
                exchange.event(*event)
        exchange.chunk(b"")


def _selected(obj: Json, query: dict[str, str]) -> bool:
    labels = obj["metadata"].get("labels") or {}
    wanted = [each.split("=", 1) for each in query.get("labelSelector", "").split(",") if each]
    return all(labels.get(key) == value for key, value in wanted)


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """A running server."""
    server = ApiServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.end_watches()
        server.shutdown()
        server.server_close()
        thread.join()


# --- deeds ----------------------------------------------------------------------------------------
def refuse(code: int, reason: str, message: str, **headers: str) -> Deed:
    """Answer with a Status."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.reply(code, status(code, reason, message), names)


def page(code: int, text: str) -> Deed:
    """Answer with a proxy's page."""
    return lambda exchange: exchange.reply(code, text.encode(), {"Content-Type": "text/html"})


def cut(exchange: Exchange) -> None:
    """Close without an answer."""
    exchange.cut()


def cut_in_stream(exchange: Exchange) -> None:
    """Begin a stream and close in the middle of a chunk."""
    exchange.begin_stream()
    exchange.wfile.write(b'ff\r\n{"type":"ADD')
    exchange.wfile.flush()
    exchange.cut()


def end_at_once(exchange: Exchange) -> None:
    """Begin a stream and end it, cleanly."""
    exchange.begin_stream()
    exchange.chunk(b"")


def error_event(code: int, reason: str) -> Deed:
    """Begin a stream whose only event is an ERROR."""

    def deed(exchange: Exchange) -> None:
        exchange.begin_stream()
        exchange.event("ERROR", status(code, reason, f"it is {reason}"))
        exchange.chunk(b"")

    return deed


def raw_lines(*lines: bytes) -> Deed:
    """Begin a stream of these very lines, then end it."""

    def deed(exchange: Exchange) -> None:
        exchange.begin_stream()
        for line in lines:
            exchange.chunk(line + b"\n")
        exchange.chunk(b"")

    return deed


class Mute:
    """Begin a stream and never say anything, until told to end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        """Be mute."""
        exchange.begin_stream()
        self.begun.set()
        self.over.wait(60)
        exchange.close_connection = True
