"""Courses and tokens from a YAML or JSON file, so that a portal can run as a process.

In: `tokens` (token to list of slugs, "*" = all; optional) and `courses`, whose fields are those of
portal/courses.py. An item names its class by `kind`. Out: a Plan. Faults name the place in the
file, such as `courses[0].chapters[1]`. The reading is driven by the dataclasses themselves: a field
added there can be written here at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from playground.content import Content
from playground.portal import courses as c
from playground.portal.contents import ContentError, content_from

KINDS: dict[str, type[c.Item]] = {
    "video": c.Video,
    "hls": c.Hls,
    "protected": c.Protected,
    "article": c.Article,
    "document": c.Document,
    "quiz": c.Quiz,
    "practice": c.Practice,
    "role-play": c.RolePlay,
}


class CourseFileError(ValueError):
    """A course file that cannot be understood; the text names file, place and cure."""


@dataclass(frozen=True)
class Plan:
    """What a course file says."""

    courses: tuple[c.Course, ...]
    tokens: Mapping[str, tuple[str, ...]] | None
    """None = the file names none."""


def load(path: Path) -> Plan:
    """Read a course file; contents by file are relative to its folder."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CourseFileError(f"The course file {path} cannot be read: {error}") from error
    try:
        return parse(value, path.parent)
    except CourseFileError as error:
        raise CourseFileError(f"{path}: {error}") from error


def parse(value: Any, folder: Path) -> Plan:
    """A plan from plain values."""
    if not isinstance(value, dict) or not isinstance(value.get("courses"), list):
        raise CourseFileError("A course file is an object with the list 'courses'.")
    reader = _Reader(folder)
    courses = reader.each(value["courses"], "courses", reader.course)
    tokens = value.get("tokens")
    return Plan(
        courses, {str(key): tuple(slugs) for key, slugs in tokens.items()} if tokens else None
    )


class _Reader:
    """Turns plain values into the values of portal/courses.py."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._special: dict[tuple[type, str], Callable[[Any, str], Any]] = {
            (c.Video, "qualities"): self._contents,
            (c.Article, "images"): self._contents,
            (c.Video, "offered"): lambda value, place: frozenset(value),
            (c.Question, "answers"): lambda value, place: tuple(value),
            (c.Question, "correct"): lambda value, place: tuple(value),
            (c.Hls, "renditions"): self._renditions,
        }
        self._common: dict[str, Callable[[Any, str], Any]] = {
            "content": self._content,
            "captions": self._many(lambda value: c.Caption),
            "supplements": self._many(lambda value: c.Link if "url" in value else c.Attachment),
            "assessments": self._many(lambda value: c.Question if "prompt" in value else c.Coding),
            "segments": self._many(lambda value: c.Segment),
            "key": lambda value, place: self.make(c.Key, value, place),
            "items": lambda value, place: self.each(value, place, self._item),
            "chapters": self._many(lambda value: c.Chapter),
        }

    def course(self, value: Any, place: str) -> c.Course:
        """One course."""
        made: c.Course = self.make(c.Course, value, place)
        return made

    def each(self, value: Any, place: str, read: Callable[[Any, str], Any]) -> tuple[Any, ...]:
        """Every element of a list, its place known."""
        if not isinstance(value, list):
            raise CourseFileError(f"{place} must be a list.")
        return tuple(read(one, f"{place}[{number}]") for number, one in enumerate(value))

    def make(self, kind: type[Any], value: Any, place: str) -> Any:
        """A dataclass from an object with its fields."""
        known = {
            one.name: one.default is MISSING and one.default_factory is MISSING
            for one in fields(kind)
        }
        if not isinstance(value, dict):
            raise CourseFileError(f"{place} must be an object with {sorted(known)}.")
        if unknown := sorted(value.keys() - known.keys()):
            raise CourseFileError(f"{place} does not know {unknown}; it takes {sorted(known)}.")
        if absent := sorted(name for name, needed in known.items() if needed and name not in value):
            raise CourseFileError(f"{place} lacks {absent}.")
        return kind(
            **{
                name: self._field(kind, name, part, f"{place}.{name}")
                for name, part in value.items()
            }
        )

    def _field(self, kind: type[Any], name: str, value: Any, place: str) -> Any:
        read = self._special.get((kind, name)) or self._common.get(name)
        return read(value, place) if read else value

    def _many(self, choose: Callable[[Any], type[Any]]) -> Callable[[Any, str], Any]:
        def read(value: Any, place: str) -> Any:
            return self.each(value, place, lambda one, where: self.make(choose(one), one, where))

        return read

    def _item(self, value: Any, place: str) -> Any:
        kind = KINDS.get(value.get("kind", "")) if isinstance(value, dict) else None
        if kind is None:
            raise CourseFileError(f"{place} needs 'kind', one of {sorted(KINDS)}.")
        return self.make(
            kind, {name: part for name, part in value.items() if name != "kind"}, place
        )

    def _content(self, value: Any, place: str) -> Content:
        try:
            return content_from(value, self._folder)
        except ContentError as error:
            raise CourseFileError(f"{place}: {error}") from error

    def _contents(self, value: Any, place: str) -> dict[Any, Content]:
        return {name: self._content(one, f"{place}.{name}") for name, one in value.items()}

    def _renditions(self, value: Any, place: str) -> dict[int, c.Rendition]:
        return {
            int(height): self.make(c.Rendition, one, f"{place}.{height}")
            for height, one in value.items()
        }
