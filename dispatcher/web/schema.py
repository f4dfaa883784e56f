"""JSON Schema of the plain data in `facts`, and the data as JSON: one truth for both.

Pure. A class becomes a named component; `X | None` may be null; a tuple is an array.
"""

from __future__ import annotations

import types
import typing
from dataclasses import asdict, fields, is_dataclass
from typing import Any

_PLAIN: dict[Any, dict[str, str]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


def plain(value: Any) -> Any:
    """Return data as JSON has it."""
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class Components:
    """Collects the named schemas that an OpenAPI document refers to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type, naming its classes."""
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if is_dataclass(kind):
            return self._named(kind)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (tuple, list):
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin in (types.UnionType, typing.Union):
            known = [self.of(one) for one in arguments if one is not type(None)]
            return {"anyOf": [*known, {"type": "null"}]}
        raise TypeError(f"{kind} has no schema")

    def _named(self, kind: Any) -> dict[str, Any]:
        name = kind.__name__
        if name not in self.schemas:
            self.schemas[name] = {}  # for a class that speaks of itself
            hints = typing.get_type_hints(kind)
            self.schemas[name] = {
                "type": "object",
                "description": (kind.__doc__ or "").strip(),
                "properties": {f.name: self.of(hints[f.name]) for f in fields(kind)},
                "required": [f.name for f in fields(kind)],
                "additionalProperties": False,
            }
        return {"$ref": f"#/components/schemas/{name}"}
