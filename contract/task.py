"""One course order: the queue message, parsed, and written back without losing a field.

Goes in: the bytes of a list item. Comes out: a frozen `Task`, or `BadMessage` with the reason and
the same bytes. Unknown fields travel on untouched, so a newer backend can talk past an older
dispatcher to a newer job image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from contract.errors import BadMessage

MESSAGE_LIMIT = 64 * 1024
"""Bytes of a queue message. Far under the 256 KiB that Kubernetes allows for all annotations."""

ID_LIMIT = 256
"""Characters of a task id: a primary key, with room."""

WHOLE_NUMBER_LIMIT = 2**53
"""Above it JavaScript rounds numbers, so the webhook's receiver would see another id."""

_QUANTITY = re.compile(r"[1-9][0-9]*(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_KNOWN = (
    "taskId",
    "courseUrl",
    "email",
    "quality",
    "captions",
    "volumeSize",
    "priority",
    "force",
)


@dataclass(frozen=True, slots=True)
class Task:
    """One order. `task_id` keeps the JSON type it had; two ids of equal text are one task."""

    task_id: int | str
    course_url: str
    email: str | None = None
    quality: str | None = None
    captions: str | None = None
    volume_size: str | None = None
    priority: int = 0
    force: bool = False
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def key(self) -> str:
        """The id as text: what Redis keys, labels, folders and log lines are made of."""
        return str(self.task_id)

    @classmethod
    def parse(cls, raw: bytes) -> Task:
        """Read a queue message. Raise `BadMessage`, naming the field and the cure."""
        data = _object(raw)
        reader = _Fields(data, raw)
        return cls(
            task_id=reader.task_id(),
            course_url=reader.course_url(),
            email=reader.text("email"),
            quality=reader.text("quality"),
            captions=reader.captions(),
            volume_size=reader.volume_size(),
            priority=reader.priority(),
            force=reader.force(),
            extra=MappingProxyType({k: v for k, v in data.items() if k not in _KNOWN}),
        )

    def dump(self) -> str:
        """Return the message as compact JSON; parsing it gives the same task again."""
        data: dict[str, Any] = {"taskId": self.task_id, "courseUrl": self.course_url}
        optional = {
            "email": self.email,
            "quality": self.quality,
            "captions": self.captions,
            "volumeSize": self.volume_size,
            "priority": self.priority or None,
            "force": self.force or None,
        }
        data.update({name: value for name, value in optional.items() if value is not None})
        data.update(self.extra)
        return json.dumps(data, separators=(",", ":"))


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MESSAGE_LIMIT:
        raise BadMessage(
            f"The message has {len(raw)} bytes; at most {MESSAGE_LIMIT} are allowed.", raw
        )
    try:
        data = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise BadMessage(
            f"The message is no JSON: {exc}.",
            raw,
            advice='Push an object such as {"taskId":999,"courseUrl":"https://…"}.',
        ) from exc
    if not isinstance(data, dict):
        raise BadMessage(f"The message is a JSON {type(data).__name__}, not an object.", raw)
    return data


class _Fields:
    """Checks one field after the other; each raises `BadMessage` that names its field."""

    def __init__(self, data: dict[str, Any], raw: bytes) -> None:
        self._data = data
        self._raw = raw

    def _bad(self, name: str, need: str) -> BadMessage:
        got = "is missing" if name not in self._data else f"is {_show(self._data[name])}"
        return BadMessage(f'Field "{name}" {got}; it must be {need}.', self._raw)

    def text(self, name: str) -> str | None:
        value = self._data.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._bad(name, "a text")
        return str(value)

    def task_id(self) -> int | str:
        value = self._data.get("taskId")
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) < WHOLE_NUMBER_LIMIT:
                return value
            raise self._bad("taskId", "below 2^53, or a string, for JavaScript rounds above it")
        if isinstance(value, str) and value.strip() and len(value) <= ID_LIMIT and _plain(value):
            return value
        raise self._bad(
            "taskId", f"a whole number or a text of 1 to {ID_LIMIT} printable characters"
        )

    def course_url(self) -> str:
        value = self._data.get("courseUrl")
        if not isinstance(value, str) or not _plain(value):
            raise self._bad("courseUrl", "a text, the address of the course")
        try:
            parts = urlsplit(value)
        except ValueError as exc:
            raise self._bad("courseUrl", f"a valid address ({exc})") from exc
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
            raise self._bad("courseUrl", "like https://host/course/name/")
        return value

    def captions(self) -> str | None:
        value = self._data.get("captions")
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return ",".join(value) or None
        return self.text("captions")

    def volume_size(self) -> str | None:
        value = self.text("volumeSize")
        if value is not None and not is_quantity(value):
            raise self._bad("volumeSize", 'a Kubernetes quantity such as "20Gi"')
        return value

    def priority(self) -> int:
        value = self._data.get("priority")
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 1_000_000:
            raise self._bad("priority", "a whole number between -1000000 and 1000000")
        return value

    def force(self) -> bool:
        value = self._data.get("force")
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._bad("force", "true or false")


def is_quantity(text: str) -> bool:
    """Whether `text` is a storage size as Kubernetes writes it, such as 20Gi."""
    return _QUANTITY.fullmatch(text) is not None


def _plain(text: str) -> bool:
    """Printable and encodable: no control characters, no lone surrogates."""
    return text.isprintable()


def _show(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"
