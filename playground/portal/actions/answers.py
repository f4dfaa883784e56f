"""Faults of the answer itself: refusals, error pages, redirects, and JSON that is not right.

In: a right reply. Out: another one in its place, or the same with its JSON changed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from playground.portal.actions.base import Action
from playground.portal.refusals import denied
from playground.wire import Reply, Request
from playground.wire.reply import body, document, page
from playground.wire.sender import whole

CHALLENGE = """<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>
<script src="/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1"></script></body></html>"""


@dataclass(frozen=True)
class Status(Action):
    """Answer with a status code and a JSON body; retry_after is in seconds or an HTTP date."""

    code: int = 503
    retry_after: str | int | None = None
    detail: str = "A fault of the playground."

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        answer = document({"detail": self.detail}, self.code)
        return answer.with_header("Retry-After", _text(self.retry_after))


@dataclass(frozen=True)
class Challenge(Action):
    """The HTML page with which a bot guard stops a client; code 403 or 503."""

    code: int = 403

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return page(CHALLENGE, self.code).with_header("cf-mitigated", "challenge")


@dataclass(frozen=True)
class Html(Action):
    """An error page where data was expected; code 200 by default."""

    code: int = 200

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return page("<html><body><h1>Something went wrong</h1></body></html>", self.code)


@dataclass(frozen=True)
class Expired(Action):
    """The CDN's answer to a signature that is over."""

    code: int = 403

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        return denied(self.code)


@dataclass(frozen=True)
class Redirect(Action):
    """Send the client to the same path on another host name; the answer there is the right one."""

    host: str = "localhost"
    code: int = 302

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        name, colon, port = request.host.partition(":")
        if name == self.host:
            return reply
        place = f"{request.scheme}://{self.host}{colon}{port}{request.target}"
        return Reply(self.code, (("Location", place),))


@dataclass(frozen=True)
class Json(Action):
    """Put value at a path of a JSON answer, or remove it there: `results/*/asset/captions`."""

    path: str = ""
    value: Any = None
    remove: bool = False

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        if reply.header("Content-Type") != "application/json":
            return reply
        return _edited(reply, lambda whole: _edit(whole, self.path.split("/"), self))


@dataclass(frozen=True)
class EndlessNext(Action):
    """Every page of a list names itself as the next one."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        here = f"{request.scheme}://{request.host}{request.target}"
        return _edited(reply, lambda whole: whole.update(next=here))


@dataclass(frozen=True)
class Garbage(Action):
    """A JSON answer that breaks off in the middle, with a Content-Length that fits."""

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        half = whole(reply.content)[: reply.content.size // 2]
        return body(reply.status, "application/json", half)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _edited(reply: Reply, edit: Callable[[Any], None]) -> Reply:
    value = json.loads(whole(reply.content))
    edit(value)
    return replace(reply, content=document(value).content, start=0, stop=None)


def _edit(value: Any, path: list[str], how: Json) -> None:
    first, *rest = path
    for key in _matching(value, first):
        if rest:
            _edit(value[key], rest, how)
        elif how.remove:
            del value[key]
        else:
            value[key] = how.value


def _matching(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return list(range(len(value)))[::-1] if name == "*" else [int(name)]
    if isinstance(value, dict):
        return list(value) if name == "*" else [name]
    return []
