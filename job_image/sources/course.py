"""From the course's address to the course, among those the account owns.

Goes in: the URL of the order. Comes out: id, slug and title. Finding it in the account's own lists
is the check that the account may have it; there is no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from contract.errors import CourseRunnerError, Misconfigured, NotEntitled
from job_image.sources import address
from job_image.sources.api import PAGE_SIZES, Api
from job_image.sources.naming import clean
from job_image.sources.refusals import ADVICE, Missing, refused_token
from job_image.stop import Stop

_FIELDS = {
    "fields[course]": "id,url,title,published_title",
    "ordering": "-last_accessed,-access_time",
    "page": "1",
    "page_size": str(PAGE_SIZES[0]),
}
_SUBSCRIBED = "/users/me/subscribed-courses"
_LISTS: tuple[tuple[str, dict[str, str]], ...] = (
    (_SUBSCRIBED, {}),
    ("/users/me/subscription-course-enrollments", {}),
    (_SUBSCRIBED, {"is_archived": "true"}),
)
"""Where a course can be: bought, had through a plan, put away. In this order."""


@dataclass(frozen=True, slots=True)
class Course:
    """A course that the account owns."""

    id: str
    slug: str
    """Its `published_title`; the id when it has none."""
    title: str


def wanted(url: str) -> str:
    """Return the slug or id that a course URL names. Raise `Misconfigured` when it names none.

    Understood: `//host/(course/(draft/)?)?<slug-or-id>/...`.
    """
    parts = [unquote(part) for part in address.parts(url).path.split("/") if part]
    if parts[:1] == ["course"]:
        parts = parts[2 if parts[1:2] == ["draft"] and len(parts) > 2 else 1 :]
    if not parts:
        raise Misconfigured(
            "courseUrl names no course.", advice="It must be like https://host/course/name/."
        )
    return parts[0]


def find(api: Api, name: str, stop: Stop) -> Course:
    """Return the course called `name` (slug or id). Raise `NotEntitled` when nobody has it."""
    for number, (path, more) in enumerate(_LISTS):
        try:
            found = _search(api, path, more, name, stop)
        except NotEntitled as exc:
            if number == 0:
                raise _unusable(api, exc) from exc
            continue  # accounts without a plan may not even ask for that list
        if found:
            return found
    raise NotEntitled(
        f'The course "{name}" is not among the courses of this account.',
        advice=ADVICE,
    )


def _unusable(api: Api, error: NotEntitled) -> CourseRunnerError:
    """Return why not even the own courses can be listed: no platform is there, or no account."""
    host = address.host(api.base)
    if isinstance(error, Missing):
        return Misconfigured(
            f"There is no course platform at {host}: it answered 404.",
            advice="Check PLATFORM_URL, or the host in the course's address.",
        )
    return refused_token(host, 403)


def _search(api: Api, path: str, more: dict[str, str], name: str, stop: Stop) -> Course | None:
    for page in api.pages(path, _FIELDS | more, "the account's courses", stop):
        found = match(page, name)
        if found:
            return found
    return None


def match(entries: Iterable[Any], name: str) -> Course | None:
    """Return the entry whose slug, or else whose id, is `name`."""
    courses = [course for course in map(_course, entries) if course]
    by_slug = (course for course in courses if course.slug.casefold() == name.casefold())
    by_id = (course for course in courses if course.id == name)
    return next(by_slug, None) or next(by_id, None)


def _course(entry: Any) -> Course | None:
    """Read one entry of a list; some lists wrap the course in an enrolment."""
    if isinstance(entry, dict) and isinstance(entry.get("course"), dict):
        entry = entry["course"]
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), int | str):
        return None
    number, slug, title = str(entry["id"]), entry.get("published_title"), entry.get("title")
    slug = slug if isinstance(slug, str) and slug else number
    return Course(number, slug, clean(title) if isinstance(title, str) and title else slug)
