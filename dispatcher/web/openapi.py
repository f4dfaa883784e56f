"""The OpenAPI document, made from the endpoints and the classes they answer with. Pure."""

from __future__ import annotations

from typing import Any

from dispatcher.web.endpoints import ENDPOINTS, ROOT, VERSION, Endpoint
from dispatcher.web.facts import Problem
from dispatcher.web.schema import Components

_WORDS = {
    202: "Noted; no dispatcher has answered yet",
    400: "The request cannot be understood",
    401: "The operator's token is missing or wrong",
    404: "Not known",
    409: "Answered, and the answer is no",
    413: "The request is too large",
    429: "Too many wrong tokens",
    503: "Redis or the executor cannot be asked now",
}
_ANSWERS = (202, 409)
"""Codes that carry the usual answer; all others carry a `Problem`."""


def document() -> dict[str, Any]:
    """Return the document."""
    components = Components()
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        operation = _operation(endpoint, components)
        paths.setdefault(ROOT + endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "course-runner",
            "version": VERSION,
            "description": "What the operator's page shows and does. Times are Unix seconds. "
            "The header Course-Runner-As-Of says when what is answered was read.",
        },
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, components: Components) -> dict[str, Any]:
    answer, problem = components.of(endpoint.answer), components.of(Problem)
    writes = endpoint.method != "GET"
    codes = sorted({*endpoint.codes, 401, 429, 503})
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "security": [{"token": []}] if writes else [{}, {"token": []}],
        "responses": {
            "200": _answer("Done" if writes else endpoint.summary, answer),
            **{str(c): _answer(_WORDS[c], answer if c in _ANSWERS else problem) for c in codes},
        },
    }
    if endpoint.parameters:
        found["parameters"] = list(endpoint.parameters)
    if endpoint.body:
        content = {"application/json": {"schema": endpoint.body}}
        found["requestBody"] = {"required": endpoint.name == "enqueue", "content": content}
    return found


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
