"""`/api/v1`: what the page shows and does, as JSON.

Goes in: requests that `gate` has let on. Comes out: the classes of `facts`, or a `Problem`. Looks
never wait for Redis but where they must (dead letters, one task); acts do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contract.errors import CourseRunnerError, Permanent, Retryable
from dispatcher.web import body
from dispatcher.web.endpoints import ENDPOINTS, ROOT, WORDS, Endpoint
from dispatcher.web.facts import Done, Problem
from dispatcher.web.gate import client_of
from dispatcher.web.hands import ASKS, LETTER_ACTS, NOTED, Hands
from dispatcher.web.model import Model
from dispatcher.web.openapi import document
from dispatcher.web.query import Query
from dispatcher.web.schema import plain

_SURROGATE = re.compile("[\ud800-\udfff]")

Handler = Callable[[Request], Awaitable[Response]]


class _AnyText(Convertor[str]):
    """A task's id in an address: whatever letters, slashes and line breaks included."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return it as it is."""
        return value


register_url_convertor("any_text", _AnyText())


class Json(JSONResponse):
    """JSON in plain ASCII, which can be sent whatever texts are in it."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class BadBody(Permanent):
    """A body that is not the JSON that is asked for."""


class Api:
    """The handlers."""

    def __init__(self, model: Model, hands: Hands) -> None:
        self._model = model
        self._hands = hands
        self._document = document()

    def routes(self) -> list[Route]:
        """Return a route for each path, those with more words first."""
        paths: dict[str, dict[str, Handler]] = {}
        for one in sorted(ENDPOINTS, key=lambda one: -len(one.path)):
            paths.setdefault(one.path, {})[one.method] = self._guarded(one)
        paths["/openapi.json"] = {"GET": self._openapi}
        return [_route(path, methods) for path, methods in paths.items()]

    def _guarded(self, endpoint: Endpoint) -> Handler:
        act = self._handler(endpoint)

        async def handle(request: Request) -> Response:
            try:
                return await act(request)
            except CourseRunnerError as exc:
                return problem(exc)

        return handle

    def _handler(self, endpoint: Endpoint) -> Handler:
        name = endpoint.name
        if endpoint.method == "GET":
            return self._looking(name)
        if name in ASKS or name in LETTER_ACTS:
            one = self._ask if name in ASKS else self._letter
            return lambda request: one(request, name)
        found: dict[str, Handler] = {
            "enqueue": self._enqueue,
            "pause": self._pause,
            "resume": self._resume,
        }
        return found[name]

    # --- looks ------------------------------------------------------------------------------------
    def _looking(self, name: str) -> Handler:
        look: Callable[[Request], Any] = {
            "overview": lambda _: self._model.overview(),
            "tasks": lambda request: self._model.tasks(Query.parse(request.query_params)),
            "task": lambda request: self._model.task(request.path_params["task"]),
            "volumes": lambda _: self._model.volumes(),
            "dead": lambda _: self._model.dead(),
            "settings": lambda _: self._model.settings(),
            "doctor": lambda _: self._model.doctor(),
            "freshness": lambda _: self._model.fresh(),
        }[name]

        async def handle(request: Request) -> Response:
            fresh = self._model.fresh()
            if not fresh.ready and name not in ("freshness", "settings"):
                return unready(fresh.trouble)
            found = await run_in_threadpool(look, request)
            if found is None and name == "volumes":
                return unready(self._model.volumes_note())
            if found is None:
                return unknown("This task is not known.")
            headers = {"Course-Runner-As-Of": f"{fresh.at or 0:.3f}"}
            return Json(plain(found), headers=headers)

        return handle

    async def _openapi(self, request: Request) -> Response:
        return Json(self._document)

    # --- acts -------------------------------------------------------------------------------------
    async def _enqueue(self, request: Request) -> Response:
        raw = await body.read(request)
        return answer(await run_in_threadpool(self._hands.enqueue, raw, who(request)))

    async def _ask(self, request: Request, action: str) -> Response:
        task = request.path_params["task"]
        found = await run_in_threadpool(self._hands.ask, action, task, who(request))
        return Json(plain(Done(True, NOTED)), 202) if found is None else answer(found)

    async def _letter(self, request: Request, action: str) -> Response:
        text = request.path_params["number"]
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            return unknown("A dead letter has a number.")
        mark = _text(await _json(request), "mark")
        act = self._hands.letter
        return answer(await run_in_threadpool(act, action, int(text), mark, who(request)))

    async def _pause(self, request: Request) -> Response:
        why = _text(await _json(request), "why")
        return answer(await run_in_threadpool(self._hands.pause, why, who(request)))

    async def _resume(self, request: Request) -> Response:
        return answer(await run_in_threadpool(self._hands.resume, who(request)))


def _route(path: str, methods: Mapping[str, Handler]) -> Route:
    """Return one route for all methods of a path, so that a wrong one is told of all others."""

    async def handle(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method](request)

    return Route(ROOT + path.replace("{task}", "{task:any_text}"), handle, methods=[*methods])


def who(request: Request) -> str:
    """Return the words by which the log knows who acted."""
    way = "API" if request.scope["path"].startswith(ROOT) else "page"
    return f"The operator ({way}, {client_of(request)})"


def answer(done: Done) -> Response:
    """Return what came of an act; a no is a conflict."""
    return Json(plain(done), 200 if done.done else 409)


def problem(error: CourseRunnerError) -> Response:
    """Return an error as the API tells it."""
    code = 503 if isinstance(error, Retryable) else 400
    code = 413 if isinstance(error, body.TooLarge) else code
    headers = {"Retry-After": "5"} if code == 503 else None
    return Json(plain(Problem(error.summary, error.advice)), code, headers)


def unknown(text: str) -> Response:
    """Return that something is not known."""
    return Json(plain(Problem(text)), 404)


def unready(trouble: str) -> Response:
    """Return that nothing has been seen yet, and why."""
    said = Problem(trouble or "Nothing has been read yet.", "Ask again in a moment.")
    return Json(plain(said), 503, {"Retry-After": "2"})


async def _json(request: Request) -> Mapping[str, Any]:
    """Return the body as an object; none is an empty one. Raise `BadBody`."""
    raw = await body.read(request)
    if not raw.strip():
        return {}
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BadBody("The body is not a JSON object.", advice="Send one, or nothing.")
    return data


def _text(data: Mapping[str, Any], name: str) -> str:
    """Return a field of an object, "" without one. Raise `BadBody` for what is no short text."""
    value = data.get(name, "")
    if not isinstance(value, str) or len(value) > WORDS or _SURROGATE.search(value):
        raise BadBody(
            f"{name} is no text of at most {WORDS} characters.", advice="Send such a text."
        )
    return value
