"""Courses made servable: every item has its ids, every file its key on the CDN.

In: courses. Out: entries in platform order, and the table of objects. The same course always gets
the same ids and keys, so a client that comes back finds what it left, and a fault script can be
written before the portal runs. Keys: `<slug>/<ref>/<file>`: `720.mp4`, `captions/en_GB.vtt`,
`assets/<filename>`, `img/<name>`, `hls/<height>/…`.
"""

import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from playground.content import Content
from playground.portal import courses as c

MEDIA_TYPES = {
    "mp4": "video/mp4", "ts": "video/mp2t", "m3u8": "application/x-mpegURL", "vtt": "text/vtt",
    "mp3": "audio/mpeg", "m4a": "audio/mp4", "pdf": "application/pdf", "png": "image/png",
    "zip": "application/zip",
}  # fmt: skip
HOUR = 3_600
DAY = 24 * HOUR


@dataclass(frozen=True)
class Stored:
    """An object of the CDN."""

    content: Content
    media_type: str
    public: bool = False
    """Served without a signature."""
    etag: str = ""
    modified: float = 0.0
    """Unix seconds."""

    def replaced(self, content: Content, *, keep_etag: bool = False) -> "Stored":
        """The object with other bytes, changed an hour after the old ones."""
        etag = self.etag if keep_etag else quoted(content)
        return replace(self, content=content, etag=etag, modified=self.modified + HOUR)


@dataclass(frozen=True)
class Entry:
    """One line of a curriculum: a chapter or an item with its numbers."""

    thing: c.Chapter | c.Item
    id: int
    index: int
    """object_index: counted for chapters, lectures and quizzes separately, through the whole
    course.
    """
    key: str
    """`<slug>/<ref>`."""


@dataclass(frozen=True)
class Listing:
    """A course with its ids and entries."""

    course: c.Course
    id: int
    entries: tuple[Entry, ...]

    def entry(self, number: int) -> Entry | None:
        """The entry with that id."""
        return next((entry for entry in self.entries if entry.id == number), None)


class Objects:
    """The CDN's objects by key; may be changed while served."""

    def __init__(self, stored: dict[str, Stored]) -> None:
        self._stored = stored
        self._lock = threading.Lock()

    def get(self, key: str) -> Stored | None:
        """The object, or None."""
        return self._stored.get(key)

    def __iter__(self) -> Iterator[str]:
        """All keys, in course order."""
        return iter(list(self._stored))

    def replace(self, key: str, content: Content, *, keep_etag: bool = False) -> None:
        """Put other bytes under a key; KeyError when there is no such object."""
        with self._lock:
            self._stored[key] = self._stored[key].replaced(content, keep_etag=keep_etag)

    def remove(self, key: str) -> None:
        """Make the CDN answer 404 for a key; KeyError when there is no such object."""
        with self._lock:
            del self._stored[key]


class Catalogue:
    """All courses of a portal."""

    def __init__(self, courses: Iterable[c.Course]) -> None:
        self.listings = tuple(list_course(course) for course in courses)
        self.objects = Objects(dict(pair for listing in self.listings for pair in stored(listing)))

    def by_id(self, number: int) -> Listing | None:
        """The course with that id."""
        return next((listing for listing in self.listings if listing.id == number), None)

    def find_entry(self, number: int) -> tuple[Listing, Entry] | None:
        """A course entry by its own id alone."""
        pairs = ((listing, listing.entry(number)) for listing in self.listings)
        return next(((listing, entry) for listing, entry in pairs if entry), None)


def quoted(content: Content) -> str:
    """The strong ETag of a content."""
    return f'"{content.version}"'


def course_id(slug: str) -> int:
    """The id of a course: from its slug alone."""
    return 1_000_000 + zlib.crc32(slug.encode()) % 9_000_000


def list_course(course: c.Course) -> Listing:
    """Number a course: chapters and items in order, each sort counted for itself."""
    number = course_id(course.slug)
    counts: dict[str, int] = {}
    entries = []
    for position, thing in enumerate(_walk(course), 1):
        sort = class_of(thing)
        index = counts[sort] = counts.get(sort, 0) + 1
        key = f"{course.slug}/{_ref(thing, counts)}"
        entries.append(Entry(thing, number * 10_000 + position, index, key))
    return Listing(course, number, tuple(entries))


def class_of(thing: c.Chapter | c.Item) -> str:
    """The platform's `_class` of a curriculum entry."""
    match thing:
        case c.Chapter():
            return "chapter"
        case c.Quiz():
            return "quiz"
        case c.Practice():
            return "practice"
        case c.RolePlay():
            return "role-play"
        case _:
            return "lecture"


def stored(listing: Listing) -> Iterator[tuple[str, Stored]]:
    """Every object of a course with its key."""
    for entry in listing.entries:
        for name, content in _files(entry.thing):
            public = name.startswith("img/")
            yield f"{entry.key}/{name}", make_stored(name, content, public=public)


def make_stored(name: str, content: Content, *, public: bool = False) -> Stored:
    """An object as first published: yesterday, so that its date may be trusted as a validator."""
    media_type = MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
    return Stored(content, media_type, public, quoted(content), time.time() - DAY)


def _walk(course: c.Course) -> Iterator[c.Chapter | c.Item]:
    yield from course.items
    for chapter in course.chapters:
        yield chapter
        yield from chapter.items


def _ref(thing: c.Chapter | c.Item, counts: dict[str, int]) -> str:
    if isinstance(thing, c.Chapter):
        return f"chapter-{counts['chapter']:02}"
    items = sum(count for sort, count in counts.items() if sort != "chapter")
    return thing.ref or f"{items:03}"


def _files(thing: c.Chapter | c.Item) -> Iterator[tuple[str, Content]]:
    match thing:
        case c.Video():
            yield from ((f"{label}.mp4", content) for label, content in thing.qualities.items())
        case c.Hls():
            for height, rendition in thing.renditions.items():
                yield from _pieces(f"hls/{height}", rendition)
        case c.Article():
            yield from ((f"img/{name}", content) for name, content in thing.images.items())
        case c.Document():
            yield thing.filename, thing.content
    yield from _beside(thing)


def _pieces(folder: str, rendition: c.Rendition) -> Iterator[tuple[str, Content]]:
    for number, segment in enumerate(rendition.segments):
        yield f"{folder}/{number:05}.ts", segment.content
    if rendition.key:
        yield f"{folder}/key.bin", rendition.key.content


def _beside(thing: c.Chapter | c.Item) -> Iterator[tuple[str, Content]]:
    if isinstance(thing, c.Video | c.Hls):
        yield from ((f"captions/{one.locale}.vtt", one.content) for one in thing.captions)
    if isinstance(thing, c.Video | c.Hls | c.Protected | c.Article | c.Document):
        for position, extra in enumerate(thing.supplements):
            if isinstance(extra, c.Attachment):
                yield f"assets/{position}/{extra.filename}", extra.content
