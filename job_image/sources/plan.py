"""The plan of a course: every file with its key, its path and where it comes from, in order. Pure.

Goes in: the course, its curriculum, the order's wishes. Comes out: `Plan`. A file's key is made of
the platform's own ids, so a renamed or moved lecture is recognised, and a lecture that got another
video is not mistaken for the old one. What is left out is listed with its reason, never dropped.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from job_image.sources import Skipped, address, choice, naming
from job_image.sources.choice import Wishes
from job_image.sources.course import Course
from job_image.sources.curriculum import HLS, Asset, Entry

LOOSE = "00 - Lectures"
"""Folder of the lectures that stand before any chapter."""

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_ARTICLE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
{body}
</body></html>
"""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a lecture, before it has a number and a folder.

    `url` is where it is fetched from, or "" when `content` holds it already.
    """

    key: str
    kind: str
    """video, document, attachment, caption, article or link."""
    stem: str
    tail: str
    extension: str
    url: str = ""
    content: bytes = b""
    size: int | None = None
    """Bytes, where the platform tells; an estimate for videos, whose renditions differ."""


@dataclass(frozen=True, slots=True)
class File:
    """One file to have. `path` is relative to the sandbox, with `/` between its parts."""

    key: str
    kind: str
    path: str
    lecture: str
    size: int | None
    content: bytes | None = None


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
    maker = _Maker(naming.folder(course.slug, course.id), wishes)
    for entry in curriculum:
        maker.add(entry)
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

    def add(self, entry: Entry) -> None:
        if entry.kind == "chapter":
            self.chapters += 1
            self._number = 0
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

    def _add_file(self, entry: Entry, source: Source, key: str) -> None:
        name = naming.file(self._number, source.stem, source.tail, source.extension)
        path = self._names.unique(self._place, name)
        content = None if source.url else source.content
        self.files.append(File(key, source.kind, path, entry.id, source.size, content))
        if source.url:
            self.urls[key] = source.url


def left_out(entry: Entry, wishes: Wishes) -> list[tuple[str, str]]:
    """Return what of an entry cannot be had: what it is beside the lecture ("" itself), and why."""
    if entry.kind != "lecture":
        return [("", f"kind: {_word(entry.kind)}")]
    missing = [("", _why(entry.asset))] if not any(_main(entry, wishes)) else []
    for extra in entry.supplements:
        if not any(_supplement(entry, extra)):
            missing.append((f": {naming.clean(_filename(extra))}", _why(extra)))
    return missing


def _why(asset: Asset | None) -> str:
    if asset is None:
        return "kind: empty lecture"
    if asset.is_protected:
        return "drm"
    if any(stream.kind == HLS for stream in asset.streams):
        return "kind: hls"
    return f"kind: {_word(asset.kind)} without a file"


def _word(text: str) -> str:
    return naming.cut(naming.clean(text).lower(), 40) or "unknown"


def sources(entry: Entry, wishes: Wishes) -> Iterator[Source]:
    """Give all files of an entry that are wanted: the main one, captions, supplements."""
    if entry.kind != "lecture":
        return
    yield from _main(entry, wishes)
    if entry.asset:
        yield from _captions(entry, entry.asset, wishes)
    for extra in entry.supplements:
        yield from _supplement(entry, extra)


def addresses(entry: Entry, wishes: Wishes) -> dict[str, str]:
    """Return where the files of an entry are fetched from, by key: what a renewal gives."""
    return {source.key: source.url for source in sources(entry, wishes) if source.url}


def _main(entry: Entry, wishes: Wishes) -> Iterator[Source]:
    asset = entry.asset
    if asset is None:
        return
    if asset.kind == "Article":
        yield _article(entry, asset)
    elif asset.kind.startswith("Video"):
        yield from _video(entry, asset, wishes)
    elif asset.download:
        _, extension = naming.split(_filename(asset))
        key = _key(entry.id, asset.id, "file")
        yield Source(
            key, "document", entry.title, "", extension, url=asset.download, size=asset.size
        )


def _video(entry: Entry, asset: Asset, wishes: Wishes) -> Iterator[Source]:
    stream = choice.rendition(asset.streams, wishes.height)
    if stream is not None:
        key = _key(entry.id, asset.id, stream.label)
        yield Source(key, "video", entry.title, "", ".mp4", url=stream.url, size=asset.size)


def _article(entry: Entry, asset: Asset) -> Source:
    title = html.escape(naming.clean(entry.title))
    content = _ARTICLE.format(title=title, body=asset.body).encode("utf-8", "replace")
    return Source(
        _key(entry.id, asset.id, "article"),
        "article",
        entry.title,
        "",
        ".html",
        content=content,
        size=len(content),
    )


def _captions(entry: Entry, asset: Asset, wishes: Wishes) -> Iterator[Source]:
    for one in choice.captions(asset.captions, wishes.locales):
        key = _key(entry.id, asset.id, f"caption-{one.id}-{one.locale}")
        yield Source(key, "caption", entry.title, f"_{one.locale}", ".srt", url=one.url)


def _supplement(entry: Entry, asset: Asset) -> Iterator[Source]:
    key = _key(entry.id, asset.id, "supplement")
    if address.is_http(asset.external):
        name = asset.title or address.host(asset.external)
        content = _shortcut(asset.external)
        yield Source(key, "link", name, "", ".url", content=content, size=len(content))
    elif asset.download:
        stem, extension = naming.split(_filename(asset))
        yield Source(key, "attachment", stem, "", extension, url=asset.download, size=asset.size)


def _shortcut(url: str) -> bytes:
    """Return a link file; control characters would let an address write lines of its own."""
    plain = "".join(char for char in url if char.isprintable())
    return f"[InternetShortcut]\r\nURL={plain}\r\n".encode("utf-8", "replace")


def _filename(asset: Asset) -> str:
    """Return the name a file was uploaded under; failing that, the one in its address."""
    for name in (asset.filename, asset.title, unquote(address.parts(asset.download).path)):
        if naming.split(name.rpartition("/")[2])[1]:
            return name.rpartition("/")[2]
    return asset.filename or asset.title


def _key(*parts: str) -> str:
    """Return a key that is safe as a file's name, one for each combination of parts."""
    text = "-".join(part.replace("-", "--") for part in parts)
    if _KEY.fullmatch(text) and text.strip("."):
        return text
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:40]
