"""The proxy's control API, on a port of its own.

In: requests under /_control/. Out: JSON, and other weather.
"""

import json
from typing import Any

from playground.proxy.proxy import Proxy
from playground.wire import Reply, Request, Server
from playground.wire.reply import document


class ControlledProxy:
    """A proxy and the HTTP server that commands it, started and stopped together."""

    def __init__(self, proxy: Proxy, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._proxy = proxy
        self._server = Server(self._answer, host=host, port=port)

    @property
    def url(self) -> str:
        """Where the control API is."""
        return self._server.url

    def start(self) -> None:
        """Begin to lead and to obey."""
        self._proxy.start()
        self._server.start()

    def stop(self) -> None:
        """End both."""
        self._server.stop()
        self._proxy.stop()

    def _answer(self, request: Request) -> Reply:
        doors = {
            ("GET", "/_control/health"): lambda value: None,
            ("GET", "/_control/connections"): lambda value: self._proxy.connections,
            ("POST", "/_control/cut"): lambda value: self._proxy.cut(),
            ("POST", "/_control/freeze"): lambda value: self._proxy.freeze(),
            ("POST", "/_control/thaw"): lambda value: self._proxy.thaw(),
            ("POST", "/_control/weather"): self._set_weather,
        }
        door = doors.get((request.method, request.path))
        if door is None:
            return document({"detail": "Not found."}, 404)
        try:
            return document({"ok": True, "connections": door(json.loads(request.body or b"{}"))})
        except (ValueError, TypeError, AttributeError) as error:
            return document({"detail": str(error)}, 400)

    def _set_weather(self, value: Any) -> None:
        if "delay_ms" in value:
            self._proxy.delay(float(value["delay_ms"]) / 1000)
        if "refusing" in value:
            self._proxy.refuse(bool(value["refusing"]))
        if "fray" in value:
            self._proxy.fray(float(value["fray"]), int(value.get("seed", 0)))
