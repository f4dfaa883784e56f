"""`course-runner page`: the page as a process, until it is told to stop.

Goes in: the dispatcher's settings and the page's own. It says its address once it can be reached.
With `until_eof` it ends when its standard input does, which is how `course-runner local` takes it
along whatever way that one ends.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import uvicorn

from contract import env
from contract.errors import Misconfigured
from contract.log import Log, Redactor, set_up
from dispatcher.page_settings import PageSettings, page_settings
from dispatcher.service import settings_from
from dispatcher.store import Store, connect
from dispatcher.web import settings as web_settings
from dispatcher.web.app import application
from dispatcher.web.board import Board
from dispatcher.web.hands import Hands
from dispatcher.web.model import Model
from dispatcher.web.sight import sight_of
from dispatcher.web.stream import Stream

PATIENCE = 3
"""Seconds for requests under way when told to stop."""

AT_ONCE = 300
"""Requests at once; more are told to come again."""


def run(values: dict[str, str], executor: str, *, until_eof: bool = False) -> None:
    """Serve until told to stop. Raise `BadSettings` and `Misconfigured` before anything starts."""
    reader = env.Reader(values)
    page = page_settings(reader)
    reader.finish()
    settings = settings_from(values, executor=executor)
    # Beside a dispatcher nobody has chosen a port: another one, which is told, is better than none.
    listener = _listen(page, or_any=until_eof and not values.get("PAGE_PORT", "").strip())
    set_up(settings.log_format, Redactor(web_settings.known_secrets(values)), sys.stdout)
    log = Log.for_task()
    store = Store(connect(settings.redis_url), settings.queue, "page")
    board = Board(store, Stream(connect(settings.redis_url), settings.queue))
    sight = sight_of(settings)
    server = _server(page, Model(board, sight, store, settings), Hands(store, log))
    board.start()
    sight.start()
    if until_eof:
        threading.Thread(target=_follow, args=(server,), daemon=True).start()
    log.event("CHECK", "The page is at %s%s.", address(listener), _who_may(page))
    try:
        server.run(sockets=[listener])
    finally:
        board.close()
        sight.close()


class _Server(uvicorn.Server):
    """Takes a signal as what it means, an end in order: exit code 0, as all our programs do."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed SIGTERM and SIGINT while serving."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _server(page: PageSettings, model: Model, hands: Hands) -> _Server:
    held: list[_Server] = []
    app = application(model, hands, page, lambda: held[0].should_exit)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=PATIENCE,
    )
    held.append(_Server(config))
    return held[0]


def _listen(page: PageSettings, *, or_any: bool) -> socket.socket:
    try:
        return _bound(page)
    except OSError as exc:
        if or_any and exc.errno == errno.EADDRINUSE:
            return _listen(replace(page, port=0), or_any=False)
        raise Misconfigured(
            f"PAGE_HOST={page.host} with PAGE_PORT={page.port} cannot be listened on: "
            f"{exc.strerror or exc}.",
            advice="Choose another PAGE_PORT, or 0 for any that is free.",
        ) from exc


def _bound(page: PageSettings) -> socket.socket:
    found = socket.getaddrinfo(page.host, page.port, type=socket.SOCK_STREAM)
    family, _, _, _, where = found[0]
    return socket.create_server(where[:2], family=family, backlog=128)


def address(listener: socket.socket) -> str:
    """Return the address of the page as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _who_may(page: PageSettings) -> str:
    if page.token is None:
        return ", read-only: OPERATOR_TOKEN is not set"
    return ", for whoever has OPERATOR_TOKEN" if page.beyond else "; OPERATOR_TOKEN lets you act"


def _follow(server: uvicorn.Server) -> None:
    """End with whoever started us: the kernel closes our standard input with its end."""
    while os.read(0, 4096):  # not sys.stdin, whose lock a waiting thread would hold at our end
        pass
    server.should_exit = True
