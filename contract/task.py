"""One course order: the queue message, parsed, and written back without losing a field.

Goes in: the bytes of a list item. Comes out: a frozen `Task`, or `BadMessage` with the reason and
the same bytes. Unknown fields travel on untouched, so a newer backend can talk past an older
dispatcher to a newer job image.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
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

DEPTH_LIMIT = 64
"""Levels of nesting: far above any order, far below the depth where writing JSON overflows."""

VOLUME_LEAST = 2**20
"""Bytes of the smallest volume that can be meant: no storage makes a smaller one."""

_GROWTH = 5
"""A message written back is at most so many times longer: 1e15 becomes 1000000000000000.0."""
_SURROGATE = re.compile("[\ud800-\udfff]")

_QUANTITY = re.compile(r"[1-9][0-9]{0,17}(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
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
        task = cls(
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
        if len(raw) > MESSAGE_LIMIT // _GROWTH:
            _check_length(len(task.dump().encode()), raw)  # as it will lie on the volume
        return task

    def dump(self) -> str:
        """Return the message as compact JSON; parsing it gives the same task again.

        Letters stay what they are, so that no script makes the message longer; only halves of
        surrogate pairs, which no encoding can hold, are written as escapes.
        """
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
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def _object(raw: bytes) -> dict[str, Any]:
    _check_length(len(raw), raw)
    try:
        text = raw.decode("utf-8")
        data = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise BadMessage(
            f"The message is no JSON: {exc}.",
            raw,
            advice='Push an object such as {"taskId":999,"courseUrl":"https://…"}.',
        ) from exc
    if not isinstance(data, dict):
        raise BadMessage(f"The message is a JSON {type(data).__name__}, not an object.", raw)
    if _too_deep(data):
        raise BadMessage(f"The message is nested more than {DEPTH_LIMIT} levels deep.", raw)
    return data


def _check_length(length: int, raw: bytes) -> None:
    if length > MESSAGE_LIMIT:
        raise BadMessage(
            f"The message has {length} bytes; at most {MESSAGE_LIMIT} are allowed.", raw
        )


def _no_number(text: str) -> float:
    """Refuse what Python reads and JSON does not know: written back, no other program reads it."""
    raise ValueError(f"{text} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:20])


def _too_deep(data: object) -> bool:
    level: list[object] = [data]
    for _ in range(DEPTH_LIMIT):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    """Return what a value holds, as far as that may hold something itself."""
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in found if isinstance(inner, dict | list)]


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
        if isinstance(value, bool) or not isinstance(value, str | int) or not _plain(str(value)):
            raise self._bad(name, "a text without control characters")
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
            _ = parts.port  # raises when it is none
        except ValueError as exc:
            raise self._bad("courseUrl", f"a valid address ({exc})") from exc
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
            raise self._bad("courseUrl", "like https://host/course/name/")
        return value

    def captions(self) -> str | None:
        value = self._data.get("captions")
        if isinstance(value, list) and all(isinstance(i, str) and _plain(i) for i in value):
            return ",".join(value) or None
        return self.text("captions")

    def volume_size(self) -> str | None:
        value = self.text("volumeSize")
        # A bare number is bytes: whoever sends 20 means gigabytes and would get a full volume.
        if value is not None and not (is_quantity(value) and quantity_bytes(value) >= VOLUME_LEAST):
            raise self._bad("volumeSize", 'a Kubernetes quantity with its unit, such as "20Gi"')
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


def quantity_bytes(text: str) -> int:
    """Return a storage size in bytes; 0 for what is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return 0
    unit = match[2] or ""
    power = " kMGTP".upper().index(unit[0].upper()) if unit else 0
    number = text.removesuffix(unit)
    return int(float(number) * (1024 if unit.endswith("i") else 1000) ** power)


def _plain(text: str) -> bool:
    """Printable and encodable: no control characters, no lone surrogates."""
    return text.isprintable()


def _show(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"
