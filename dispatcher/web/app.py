"""The application: gate, pages, API, live stream, static files, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dispatcher.page_settings import PageSettings
from dispatcher.web.api import Api, Json
from dispatcher.web.endpoints import ROOT
from dispatcher.web.facts import Problem
from dispatcher.web.gate import Doorman, Gate
from dispatcher.web.hands import Hands
from dispatcher.web.live import Live
from dispatcher.web.model import Model
from dispatcher.web.pages import HERE, Pages
from dispatcher.web.schema import plain

_CURES = {404: "Look at what the page's head offers.", 405: "Use another method."}


def application(
    model: Model, hands: Hands, settings: PageSettings, stopping: Callable[[], bool]
) -> Starlette:
    """Return the application. `stopping` ends its streams."""
    doorman = Doorman(settings)
    pages = Pages(model, hands, doorman)
    live = Live(model, stopping)
    routes = [
        *pages.routes(),
        *Api(model, hands).routes(),
        Route("/live", live.__call__),
        Route("/healthz", _healthy),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Gate, doorman=doorman)],
        exception_handlers={HTTPException: _refused(pages)},
    )


async def _healthy(request: Request) -> Response:
    """Alive; whether Redis is, the page itself says."""
    return PlainTextResponse("ok\n")


def _refused(pages: Pages) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 500
        text = str(getattr(error, "detail", "")) or "This cannot be answered"
        if request.scope["path"].startswith(ROOT):
            said = Problem(f"{text}.", "See /api/v1/openapi.json.")
            headers = getattr(error, "headers", None)
            return Json(plain(said), code, headers)
        return pages.error(request, code, f"{text}.", _CURES.get(code, ""))

    return handle
