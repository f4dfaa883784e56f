"""The pages: one template each, rendered here, complete without any script.

Goes in: requests that `gate` has let on. Comes out: HTML, escaped by default. Forms come to `/do`
and lead back to where they were sent from, which then tells once what came of them.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from contract.errors import CourseRunnerError
from dispatcher.web import body, words
from dispatcher.web.api import who
from dispatcher.web.chart import HEIGHT, WIDTH, chart
from dispatcher.web.facts import Done
from dispatcher.web.gate import KEPT, Doorman, address_of, client_of, cookie_of, port_of
from dispatcher.web.hands import ASKS, LETTER_ACTS, NOTED, Hands
from dispatcher.web.model import Model
from dispatcher.web.query import STATES, BadQuery, Query

HERE = Path(__file__).parent

_VIEWS = ("overview", "tasks", "volumes", "dead", "settings", "doctor")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        size=words.size,
        span=words.span,
        moment=words.moment,
        clock=words.clock,
        iso=words.iso,
    )
    return made


class Pages:
    """The handlers."""

    def __init__(self, model: Model, hands: Hands, doorman: Doorman) -> None:
        self._model = model
        self._hands = hands
        self._doorman = doorman
        self._templates = _environment()

    def routes(self) -> list[Route]:
        """Return the routes of all pages and of their forms."""
        return [
            Route("/", self._overview),
            Route("/tasks", self._tasks),
            Route("/task", self._task),
            Route("/volumes", self._volumes),
            Route("/dead", self._dead),
            Route("/settings", self._settings),
            Route("/doctor", self._doctor),
            Route("/login", self._login, methods=["GET"]),
            Route("/login", self._sign_in, methods=["POST"]),
            Route("/logout", self._sign_out, methods=["POST"]),
            Route("/do", self._do, methods=["POST"]),
        ]

    # --- views ------------------------------------------------------------------------------------
    def _overview(self, request: Request) -> Response:
        found = self._model.overview()
        drawn = chart(found.hours)
        return self._show(
            request, "overview", overview=found, chart=drawn, width=WIDTH, height=HEIGHT
        )

    def _tasks(self, request: Request) -> Response:
        try:
            query = Query.parse(request.query_params)
        except BadQuery as exc:
            return self.error(request, 400, exc.summary, exc.advice)
        page = self._model.tasks(query)
        return self._show(request, "tasks", query=query, page=page, states=STATES)

    def _task(self, request: Request) -> Response:
        key = request.query_params.get("id", "")
        found = self._model.task(key) if key else None
        if found is None and self._model.fresh().ready:
            cure = "It may have been forgotten, or was never ordered. Look in Tasks."
            return self.error(request, 404, f"Task {key} is not known.", cure)
        return self._show(request, "task", key=key, task=found)

    def _volumes(self, request: Request) -> Response:
        found, note = self._model.volumes(), self._model.volumes_note()
        return self._show(request, "volumes", volumes=found, note=note)

    def _dead(self, request: Request) -> Response:
        try:
            letters, note = self._model.dead(), ""
        except CourseRunnerError as exc:
            letters, note = (), exc.summary
        return self._show(request, "dead", letters=letters, note=note)

    def _settings(self, request: Request) -> Response:
        return self._show(request, "settings", rows=self._model.settings())

    def _doctor(self, request: Request) -> Response:
        return self._show(request, "doctor", doctor=self._model.doctor())

    def error(self, request: Request, code: int, text: str, cure: str = "") -> Response:
        """Return a page that says what is wrong, and what helps."""
        return self._show(request, "error", code, title=text, cure=cure)

    def _show(self, request: Request, name: str, code: int = 200, **values: Any) -> Response:
        session, now = request.state.session, time.time()
        told = session.told if session else None
        if session and not request.headers.get("x-live"):
            session.told = None
        text = self._templates.get_template(f"{name}.html").render(
            view=name,
            now=now,
            ago=lambda at: words.ago(at, now),
            fresh=self._model.fresh(),
            word=session.word if session else "",
            has_token=self._doorman.has_token,
            back=address_of(request),
            told=told,
            **values,
        )
        # Half a surrogate pair, as JSON in Redis may hold, is no text that can be sent.
        return HTMLResponse(text.encode("utf-8", "replace"), code)

    # --- sessions ---------------------------------------------------------------------------------
    def _login(self, request: Request) -> Response:
        return self._show(request, "login", next=_local(request.query_params.get("next")), wrong="")

    async def _sign_in(self, request: Request) -> Response:
        fields = await body.form(request)
        going = _local(fields.get("next"))
        if self._doorman.right(fields.get("token", ""), client_of(request)):
            answer = RedirectResponse(going, 303)
            secure = request.scope["scheme"] == "https"
            answer.set_cookie(
                *(cookie_of(port_of(request)), self._doorman.open()),
                max_age=int(KEPT),
                httponly=True,
                samesite="strict",
                secure=secure,
            )
            return answer
        wrong = "This is not the operator's token."
        if self._doorman.tired(client_of(request)):
            wrong = "Too many wrong tokens came in; wait a minute."
        return self._show(request, "login", 403, next=going, wrong=wrong)

    async def _sign_out(self, request: Request) -> Response:
        fields = await body.form(request)
        answer = RedirectResponse("/", 303)
        if self._meant(request, fields):
            cookie = cookie_of(port_of(request))
            self._doorman.end(request.cookies.get(cookie, ""))
            answer.delete_cookie(cookie)
        return answer

    def _meant(self, request: Request, fields: Mapping[str, str]) -> bool:
        """Whether a form carries its session's word, which no other site can know."""
        session = request.state.session
        return session is not None and hmac.compare_digest(
            fields.get("word", "").encode(), session.word.encode()
        )

    # --- hands ------------------------------------------------------------------------------------
    async def _do(self, request: Request) -> Response:
        fields = await body.form(request)
        if not self._meant(request, fields):
            text = "This form is not of this session, or has grown old."
            cure = "Sign in, load the page again, and repeat it."
            return await run_in_threadpool(self.error, request, 403, text, cure)
        done = await run_in_threadpool(self._act, fields, who(request))
        request.state.session.told = done.done, done.text
        return RedirectResponse(_local(fields.get("next")), 303)

    def _act(self, fields: Mapping[str, str], person: str) -> Done:
        try:
            act = self._acts().get(fields.get("action", ""))
            return act(fields, person) if act else Done(False, "There is no such action.")
        except CourseRunnerError as exc:
            return Done(False, f"{exc.summary} {exc.advice}".rstrip())

    def _acts(self) -> dict[str, Callable[[Mapping[str, str], str], Done]]:
        hands = self._hands
        return {
            **dict.fromkeys(ASKS, self._ask),
            **dict.fromkeys(LETTER_ACTS, self._letter),
            "enqueue": lambda fields, person: hands.enqueue(order_of(fields), person),
            "pause": lambda fields, person: hands.pause(fields.get("why", "")[:500], person),
            "resume": lambda _, person: hands.resume(person),
        }

    def _ask(self, fields: Mapping[str, str], person: str) -> Done:
        return self._hands.ask(fields["action"], fields.get("task", ""), person) or Done(
            True, NOTED
        )

    def _letter(self, fields: Mapping[str, str], person: str) -> Done:
        text = fields.get("number", "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        return self._hands.letter(fields["action"], number, fields.get("mark", "?"), person)


def order_of(fields: Mapping[str, str]) -> bytes:
    """Return the message that a form orders; a plain number is sent as one, as backends do."""
    task = fields.get("task", "").strip()
    number = task.isascii() and task.isdigit() and len(task) < 16
    priority = fields.get("priority", "").strip()
    data: dict[str, Any] = {
        "taskId": int(task) if number else task,
        "courseUrl": fields.get("course", "").strip(),
        **{n: fields[n].strip() for n in _OPTIONAL if fields.get(n, "").strip()},
    }
    if priority:
        data["priority"] = int(priority) if priority.lstrip("-").isdigit() else priority
    if fields.get("force"):
        data["force"] = True
    return json.dumps(data).encode()


_OPTIONAL = ("email", "quality", "captions", "volumeSize")


def _local(address: str | None) -> str:
    """Return an address of this very page, whatever was asked for."""
    known = address or "/"
    return known if known[:1] == "/" and known[1:2] not in ("/", "\\") else "/"
