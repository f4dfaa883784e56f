"""The queue's server for one machine, brought along: see `server`."""

from dispatcher.embedded.server import URL_FILE, EmbeddedServer

__all__ = ["URL_FILE", "EmbeddedServer"]
