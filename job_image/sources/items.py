"""What one entry of a curriculum gives: its files, before they have a number and a folder. Pure.

Goes in: an entry and the order's wishes. Comes out: `Source` values, main file first; or why there
is none. A key is made of the platform's own ids, so a renamed or moved lecture is recognised, and a
lecture that got another video is not mistaken for the old one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from job_image.sources import address, choice, images, naming, texts
from job_image.sources.choice import Wishes
from job_image.sources.curriculum import Asset, Entry

_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a lecture, before it has a number and a folder.

    `url` is where it is fetched from, or "" when `content` holds it already.
    """

    key: str
    kind: str
    """video, stream, document, attachment, caption, article, image, link, quiz or questions."""
    stem: str
    tail: str
    extension: str
    url: str = ""
    content: bytes = b""
    link: str = ""
    """The address that it leads to, for a link."""
    images: tuple[tuple[str, str], ...] = ()
    """Keys and addresses of the images of a text."""
    size: int | None = None
    """Bytes, where the platform tells; an estimate for videos, whose renditions differ."""


def left_out(entry: Entry, wishes: Wishes) -> list[tuple[str, str]]:
    """Return what of an entry cannot be had: what it is beside the lecture ("" itself), and why."""
    if entry.kind == "quiz":
        return [] if entry.id else [("", "kind: quiz without an id")]
    if entry.kind != "lecture":
        return [("", f"kind: {_word(entry.kind)}")]
    missing = [("", _why(entry.asset))] if not any(_main(entry, wishes)) else []
    for extra in entry.supplements:
        if not any(_supplement(entry, extra, wishes)):
            missing.append((f": {naming.clean(_filename(extra))}", _why(extra)))
    return missing


def _why(asset: Asset | None) -> str:
    if asset is None:
        return "kind: empty lecture"
    if asset.is_protected:
        return "drm"
    return f"kind: {_word(asset.kind)} without a file"


def _word(text: str) -> str:
    return naming.cut(naming.clean(text).lower(), 40) or "unknown"


def sources(entry: Entry, wishes: Wishes) -> Iterator[Source]:
    """Give all files of an entry that are wanted: the main one, captions, supplements."""
    if entry.kind == "quiz":
        yield from _quiz(entry)
    if entry.kind != "lecture":
        return
    yield from _main(entry, wishes)
    if entry.asset:
        yield from _captions(entry, entry.asset, wishes)
    for extra in entry.supplements:
        yield from _supplement(entry, extra, wishes)


def addresses(entry: Entry, wishes: Wishes) -> dict[str, str]:
    """Return where the files of an entry are fetched from, by key: what a renewal gives."""
    found = list(sources(entry, wishes))
    images = {key: url for source in found for key, url in source.images}
    return images | {source.key: source.url for source in found if source.url}


def _main(entry: Entry, wishes: Wishes) -> Iterator[Source]:
    asset = entry.asset
    if asset is None:
        return
    if asset.kind == "Article":
        yield _article(entry, asset, wishes)
    elif asset.kind.startswith("Video"):
        yield from _video(entry, asset, entry.title, wishes)
    elif asset.download:
        _, extension = naming.split(_filename(asset))
        key = _key(entry.id, asset.id, "file")
        yield Source(
            key, "document", entry.title, "", extension, url=asset.download, size=asset.size
        )
    elif address.is_http(asset.external):
        yield _link(_key(entry.id, asset.id, "link"), entry.title, asset)


def _video(entry: Entry, asset: Asset, stem: str, wishes: Wishes) -> Iterator[Source]:
    """Give the file of the wanted height; failing files, the stream."""
    found = choice.rendition(asset.streams, wishes.height)
    if found is not None:
        key = _key(entry.id, asset.id, found.label)
        yield Source(key, "video", stem, "", ".mp4", url=found.url, size=asset.size)
    elif (found := choice.adaptive(asset.streams, wishes.height)) is not None:
        key = _key(entry.id, asset.id, f"stream-{wishes.height or 'best'}")
        yield Source(key, "stream", stem, "", ".mp4", url=found.url, size=asset.size)


def _article(entry: Entry, asset: Asset, wishes: Wishes) -> Source:
    content = texts.page(entry.title, asset.body)
    found = [
        (_key(entry.id, asset.id, f"image-{_digest(address.without_query(url))}"), url)
        for url in images.find(asset.body, wishes.base)
    ]
    return Source(
        _key(entry.id, asset.id, "article"),
        "article",
        entry.title,
        "",
        ".html",
        content=content,
        images=tuple(found),
        size=len(content),
    )


def _quiz(entry: Entry) -> Iterator[Source]:
    """Give the page of a quiz and its data; both are asked for when their turn comes."""
    if entry.id:
        yield Source(_key(entry.id, "quiz", "page"), "quiz", entry.title, "", ".html")
        yield Source(_key(entry.id, "quiz", "data"), "questions", entry.title, "", ".json")


def _captions(entry: Entry, asset: Asset, wishes: Wishes) -> Iterator[Source]:
    for one in choice.captions(asset.captions, wishes.locales):
        key = _key(entry.id, asset.id, f"caption-{one.id}-{one.locale}")
        yield Source(key, "caption", entry.title, f"_{one.locale}", ".srt", url=one.url)


def _supplement(entry: Entry, asset: Asset, wishes: Wishes) -> Iterator[Source]:
    key = _key(entry.id, asset.id, "supplement")
    stem, extension = naming.split(_filename(asset))
    if address.is_http(asset.external):
        yield _link(key, asset.title or address.host(asset.external), asset)
    elif asset.download:
        yield Source(key, "attachment", stem, "", extension, url=asset.download, size=asset.size)
    elif asset.kind.startswith("Video"):
        yield from _video(entry, asset, stem, wishes)


def _link(key: str, name: str, asset: Asset) -> Source:
    content = texts.shortcut(asset.external)
    return Source(
        key, "link", name, "", ".url", content=content, link=asset.external, size=len(content)
    )


def _filename(asset: Asset) -> str:
    """Return the name a file was uploaded under; failing that, the one in its address."""
    for name in (asset.filename, asset.title, unquote(address.parts(asset.download).path)):
        if naming.split(name.rpartition("/")[2])[1]:
            return name.rpartition("/")[2]
    return asset.filename or asset.title


def _key(*parts: str) -> str:
    """Return a key that is safe as a file's name, one for each combination of parts."""
    text = "-".join(part.replace("-", "--") for part in parts)
    return text if _KEY.fullmatch(text) and text.strip(".") else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:40]
