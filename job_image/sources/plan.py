"""The plan of a course: every file with its key, its path and where it comes from, in order. Pure.

Goes in: the course, its curriculum, the order's wishes. Comes out: `Plan`. What is left out is
listed with its reason, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from job_image.sources import Skipped, address, naming, texts
from job_image.sources.choice import Wishes
from job_image.sources.course import Course
from job_image.sources.curriculum import Entry
from job_image.sources.items import Source, left_out, sources

ASKED = ("quiz", "questions")
"""Kinds whose content the platform's API gives when asked for, one by one."""

LINKS_FILE = "external-links.txt"
"""In the course folder: every link that the course gives to the world outside."""

LOOSE = "00 - Lectures"
"""Folder of the lectures that stand before any chapter."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a text: the key of its file, its address, and the link that leads to the file."""

    key: str
    url: str
    link: str


@dataclass(frozen=True, slots=True)
class File:
    """One file to have. `path` is relative to the sandbox, with `/` between its parts.

    `content` None: it is fetched. `images` of a text are fetched too, and it is made after them.
    """

    key: str
    kind: str
    path: str
    lecture: str
    size: int | None
    content: bytes | None = None
    images: tuple[Image, ...] = ()

    @property
    def title(self) -> str:
        """What people call it: its path in the course folder, without an extension."""
        inside = self.path.partition("/")[2]
        place, slash, name = inside.rpartition("/")
        return f"{place}{slash}{naming.split(name)[0]}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The course as it will lie on the volume. `urls`: where each key is fetched from, now."""

    course: Course
    folder: str
    files: tuple[File, ...]
    skipped: tuple[Skipped, ...]
    chapters: int
    urls: Mapping[str, str]


def make(course: Course, curriculum: Sequence[Entry], wishes: Wishes) -> Plan:
    """Return the plan. Numbers restart in each chapter; items that are left out count too."""
    name = course.id if wishes.is_named_by_id else course.slug
    maker = _Maker(naming.folder(name, course.id), wishes)
    for entry in curriculum:
        maker.add(entry)
    maker.add_links()
    return Plan(
        course=course,
        folder=maker.folder,
        files=tuple(maker.files),
        skipped=tuple(maker.skipped),
        chapters=maker.chapters,
        urls=maker.urls,
    )


class _Maker:
    """Walks the curriculum once."""

    def __init__(self, folder: str, wishes: Wishes) -> None:
        self.folder = folder
        self.files: list[File] = []
        self.skipped: list[Skipped] = []
        self.urls: dict[str, str] = {}
        self.chapters = 0
        self._wishes = wishes
        self._names = naming.Names()
        self._keys: dict[str, Entry] = {}
        self._place = f"{folder}/{LOOSE}"
        self._number = 0
        self._links: list[tuple[str, str]] = []

    def add(self, entry: Entry) -> None:
        if entry.kind == "chapter":
            self.chapters += 1
            self._number = self._number if self._wishes.runs_on else 0
            self._place = f"{self.folder}/{naming.chapter(self.chapters, entry.title)}"
            return
        self._number += 1
        chapter = self._place.rpartition("/")[2]
        title = f"{chapter}/{self._number:03d} {naming.clean(entry.title) or 'Untitled'}"
        reasons = left_out(entry, self._wishes)
        self.skipped.extend(Skipped(f"{title}{beside}", reason) for beside, reason in reasons)
        for source in sources(entry, self._wishes):
            key = self._new_key(entry, source.key)
            if key:
                self._add_file(entry, source, key)

    def _new_key(self, entry: Entry, key: str) -> str:
        """Return a key of its own; "" for what a lecture lists twice."""
        number, candidate = 1, key
        while candidate in self._keys:
            if self._keys[candidate] is entry:
                return ""
            number += 1  # entries without ids; the platform owes us some, but never a file
            candidate = f"{key}-{number}"
        self._keys[candidate] = entry
        return candidate

    def add_links(self) -> None:
        """Add the one list of all external links, if there are any."""
        if self._links:
            content = texts.links(self._links)
            path = f"{self.folder}/{LINKS_FILE}"
            self.files.append(File("external-links", "link", path, "", len(content), content))

    def _add_file(self, entry: Entry, source: Source, key: str) -> None:
        name = naming.file(self._number, source.stem, source.tail, source.extension)
        path = self._names.unique(self._place, name)
        content = None if source.url or source.kind in ASKED else source.content
        pictures = self._add_images(entry, source) if source.images else ()
        file = File(key, source.kind, path, entry.id, source.size, content, pictures)
        self.files.append(file)
        if source.url:
            self.urls[key] = source.url
        if source.link:
            self._links.append((file.title, source.link))

    def _add_images(self, entry: Entry, text: Source) -> tuple[Image, ...]:
        """Add the images of a text, in a folder beside it."""
        folder = self._names.unique(self._place, naming.file(self._number, text.stem, "_files", ""))
        found = []
        for number, (key, url) in enumerate(text.images, 1):
            key = self._new_key(entry, key)
            if not key:
                continue
            path = self._names.unique(folder, naming.image(number, address.parts(url).path))
            self.files.append(File(key, "image", path, entry.id, None))
            self.urls[key] = url
            found.append(Image(key, url, quote(path.removeprefix(f"{self._place}/"))))
        return tuple(found)
