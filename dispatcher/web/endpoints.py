"""The API's endpoints as data: what they are called, what they take, what they answer.

One table, from which both the routes and the OpenAPI document are made, so that neither can speak
of what the other does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dispatcher.web import facts
from dispatcher.web.hands import ASKS, LETTER_ACTS
from dispatcher.web.query import MOST, ORDERS, SIZE, STATES

VERSION = "v1"
ROOT = f"/api/{VERSION}"

WORDS = 500
"""Characters of the longest text that an act takes, such as a pause's reason."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `answer` is the type of a success; `body` the schema of what is sent."""

    method: str
    path: str
    name: str
    summary: str
    answer: Any
    parameters: tuple[dict[str, Any], ...] = ()
    body: dict[str, Any] | None = None
    codes: tuple[int, ...] = ()


def _parameter(name: str, where: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "schema": schema,
        "description": text,
    }


_TASK = _parameter("task", "path", {"type": "string", "minLength": 1}, "The task's id as text.")
_NUMBER = _parameter("number", "path", {"type": "integer", "minimum": 1}, "Counts from the oldest.")
_QUERY = (
    _parameter("state", "query", {"type": "string", "enum": list(STATES)}, "Only this state."),
    _parameter("search", "query", {"type": "string"}, "Words that id, account, course hold."),
    _parameter("order", "query", {"type": "string", "enum": list(ORDERS)}, "Highest first."),
    _parameter("page", "query", {"type": "integer", "minimum": 1, "maximum": 1000000}, "From 1."),
    _parameter(
        "size", "query", {"type": "integer", "minimum": 1, "maximum": MOST}, f"Usually {SIZE}."
    ),
)
_ORDER = {
    "type": "object",
    "description": "An order, as backends push it; docs/message.schema.json says it in full.",
    "properties": {
        "taskId": {"type": ["integer", "string"]},
        "courseUrl": {"type": "string"},
        "email": {"type": ["string", "null"]},
        "quality": {"type": ["string", "integer", "null"]},
        "captions": {"type": ["string", "array", "null"]},
        "volumeSize": {"type": ["string", "null"]},
        "priority": {"type": ["integer", "null"]},
        "force": {"type": ["boolean", "null"]},
    },
    "required": ["taskId", "courseUrl"],
}
_SHORT = {"type": "string", "maxLength": WORDS}
_WHY = {"type": "object", "properties": {"why": _SHORT}}
_MARK = {"type": "object", "properties": {"mark": _SHORT}}


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/overview", "overview", "The state of the whole", facts.Overview),
    Endpoint("GET", "/tasks", "tasks", "A page of tasks", facts.TaskPage, _QUERY, codes=(400,)),
    Endpoint("GET", "/tasks/{task}", "task", "One task", facts.TaskDetail, (_TASK,), codes=(404,)),
    Endpoint("GET", "/volumes", "volumes", "All volumes", tuple[facts.VolumeRow, ...]),
    Endpoint(
        "GET",
        "/dead",
        "dead",
        "The newest 200 dead letters, newest first",
        tuple[facts.Letter, ...],
    ),
    Endpoint("GET", "/settings", "settings", "Settings, masked", tuple[facts.SettingRow, ...]),
    Endpoint("GET", "/doctor", "doctor", "The last audit's verdict", facts.Doctor),
    Endpoint("GET", "/freshness", "freshness", "How old all this is", facts.Freshness),
    Endpoint("POST", "/tasks", "enqueue", "Push an order", facts.Done, (), _ORDER, (400, 413)),
    *(
        Endpoint(
            "POST",
            f"/tasks/{{task}}/{action}",
            action,
            f"Ask the dispatcher to {action} a task",
            facts.Done,
            (_TASK,),
            codes=(202, 409),
        )
        for action in ASKS
    ),
    *(
        Endpoint(
            "POST",
            f"/dead/{{number}}/{action}",
            action,
            f"{action.capitalize()} a dead letter; with its mark, only that very one",
            facts.Done,
            (_NUMBER,),
            _MARK,
            (400, 404, 409, 413),
        )
        for action in LETTER_ACTS
    ),
    Endpoint("POST", "/pause", "pause", "Let nothing be claimed", facts.Done, (), _WHY, (400, 413)),
    Endpoint("POST", "/resume", "resume", "Let orders be claimed again", facts.Done, codes=(409,)),
)
