"""Images of texts: fetched from wherever they lie, and never more important than their text.

Goes in: addresses that authors have written, on any host. Comes out: means to fetch them by that
keep their troubles apart from the course's own: a stranger's guard, limit or silence must neither
end the run nor slow it; and small ones as data inside a page.
"""

from __future__ import annotations

import base64
from dataclasses import replace

from contract.errors import CourseRunnerError, Stopped, Temporary, VolumeFull
from job_image.sources import images
from job_image.sources.documents import Documents
from job_image.sources.http import Means
from job_image.sources.links import Links, expiry
from job_image.sources.pace import Patience
from job_image.sources.space import Space
from job_image.stop import Stop

LARGEST = 20 * 1024 * 1024
"""Bytes of an image; whatever is larger is a link and stays one."""

INSIDE = 2 * 1024 * 1024
"""Bytes of an image that is put into a page."""

PAGE = 16 * 1024 * 1024
"""Bytes of all images in one page."""

_TRIES = 2
_BUDGET = 5.0
"""Seconds of waiting that a stranger's 429 may cost one image."""

_FORMS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


class Lost(Exception):
    """An image that cannot be had; its text says why."""


class _Small(Space):
    """Refuses what is too large for an image, by its own word or by what comes."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._came = 0

    def reserve(self, key: str, need: int, what: str) -> None:
        if need > LARGEST:
            raise Lost(f"it has {need} bytes")
        self._space.reserve(key, need, what)

    def used(self, key: str, count: int) -> None:
        self._came += count
        if self._came > LARGEST:
            raise Lost(f"it has more than {LARGEST} bytes")
        self._space.used(key, count)

    def release(self, key: str) -> None:
        self._space.release(key)


def means_for(means: Means, key: str, url: str) -> Means:
    """Return the means to fetch one image by; only a signed address can be renewed."""
    pace = replace(means.pace, tries=_TRIES, budget=min(_BUDGET, means.pace.budget))
    links = means.links if expiry(url) is not None else Links({key: url}, _never, 0.0)
    small = _Small(means.space)
    return replace(means, pace=pace, patience=Patience(pace), links=links, space=small)


def why(error: Exception) -> str:
    """Return why an image is lost. Raise what concerns more than the image."""
    if isinstance(error, Stopped | VolumeFull):
        raise error
    return error.summary if isinstance(error, CourseRunnerError) else str(error)


def put_inside(text: str, base: str, means: Means, stop: Stop) -> str:
    """Return a page's HTML with its images in it as data; what cannot be had stays a link."""
    data: dict[str, str] = {}
    for url in images.find(text, base):
        data |= _inside(url, means, stop) if sum(map(len, data.values())) < PAGE else {}
    return images.replace(text, base, data)


def _inside(url: str, means: Means, stop: Stop) -> dict[str, str]:
    documents = Documents(means_for(means, "", url), INSIDE)
    try:
        content = documents.get(lambda: url, None, "The image", stop).content
    except (CourseRunnerError, Lost) as exc:
        why(exc)
        return {}
    form = next((name for start, name in _FORMS if content.startswith(start)), "")
    return {url: f"data:{form};base64,{base64.b64encode(content).decode()}"} if form else {}


def _never(_: str, __: Stop) -> dict[str, str]:
    raise Temporary("The image is refused.")
