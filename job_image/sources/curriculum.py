"""The platform's JSON for a course, read into values. Never fails: what is odd is left out.

Goes in: entries of the curriculum, or one lecture. Comes out: `Entry` values in the platform's
order. Every field may be missing, null or of another type: the platform has several generations
of answers, and one odd lecture must not cost the course.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from job_image.sources.address import is_http

MP4, HLS = "video/mp4", "application/x-mpegurl"
_PROTECTED_PATH = "encrypted-files"


@dataclass(frozen=True, slots=True)
class Stream:
    """One place to get a video from. `kind` is a media type in small letters."""

    kind: str
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Caption:
    """Subtitles of a video."""

    id: str
    locale: str
    url: str


@dataclass(frozen=True, slots=True)
class Asset:
    """What a lecture holds, or a file beside it."""

    id: str
    kind: str
    """Video, Article, File, E-Book, Presentation, Audio, SourceCode, ExternalLink, or other."""
    title: str
    filename: str
    streams: tuple[Stream, ...]
    download: str
    """Address of the file itself; "" for a video, whose addresses are `streams`."""
    captions: tuple[Caption, ...]
    body: str
    external: str
    size: int | None
    marked: bool
    """Marked as protected. Whether it is depends on the streams too."""

    @property
    def is_protected(self) -> bool:
        """Marked as protected, and no plain source is offered."""
        return self.marked and not self.streams


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the curriculum. `kind`: chapter, lecture, quiz, practice, role-play, or other."""

    kind: str
    id: str
    title: str
    asset: Asset | None = None
    supplements: tuple[Asset, ...] = ()
    sort: str = ""
    """Of a quiz: simple-quiz, practice-test, coding-exercise, or other."""


def entries(results: Iterable[Any]) -> list[Entry]:
    """Read the entries of a curriculum, in their order."""
    return [entry(one) for one in results if isinstance(one, dict)]


def entry(data: Mapping[str, Any], kind: str = "") -> Entry:
    """Read one entry; `kind` overrides what it says of itself."""
    main = data.get("asset")
    return Entry(
        kind=kind or _text(data, "_class") or "unknown",
        id=_id(data),
        title=_text(data, "title"),
        asset=_asset(main) if isinstance(main, dict) else None,
        supplements=tuple(_asset(one) for one in _objects(data.get("supplementary_assets"))),
        sort=_text(data, "type"),
    )


def _asset(data: Mapping[str, Any]) -> Asset:
    kind = _text(data, "asset_type") or _text(data, "assetType") or "unknown"
    is_video = kind.lower() in ("video", "videomashup")
    return Asset(
        id=_id(data),
        kind=kind,
        title=_text(data, "title"),
        filename=_text(data, "filename"),
        streams=tuple(_plain(_streams(data))),
        download="" if is_video else _download(data, kind),
        captions=tuple(_captions(data)),
        body=_text(data, "body"),
        external=_text(data, "external_url"),
        size=_size(data.get("file_size")),
        marked=bool(_text(data, "media_license_token")) or data.get("course_is_drmed") is True,
    )


def _streams(data: Mapping[str, Any]) -> Iterator[Stream]:
    for place in ("download_urls", "stream_urls"):
        for one in _objects(_inside(data.get(place), "Video")):
            yield Stream(_kind_of(one), _label(one), _text(one, "file"))
    for one in _objects(data.get("media_sources")):
        yield Stream(_kind_of(one), _label(one), _text(one, "src"))


def _plain(streams: Iterable[Stream]) -> Iterator[Stream]:
    """Leave out what a player would need a licence for, and what is not there."""
    for stream in streams:
        plain = stream.kind in (MP4, HLS) and f"/{_PROTECTED_PATH}/" not in stream.url
        if plain and is_http(stream.url):
            yield stream


def _kind_of(data: Mapping[str, Any]) -> str:
    """Return the media type; lists of downloads often give none, and hold files."""
    return _text(data, "type").lower() or MP4


def _label(data: Mapping[str, Any]) -> str:
    label = data.get("label")
    return str(label) if isinstance(label, str | int) else ""


def _download(data: Mapping[str, Any], kind: str) -> str:
    """Return the first address of the file: under its own kind, or under whatever there is."""
    places = [data.get("download_urls"), data.get("stream_urls")]
    found = (
        _text(one, "file")
        for place in places
        if isinstance(place, dict)
        for name in (kind, *place)
        for one in _objects(place.get(name))
    )
    return next(filter(is_http, found), "")


def _captions(data: Mapping[str, Any]) -> Iterator[Caption]:
    for one in _objects(data.get("captions")):
        locale = _text(one, "locale_id") or _text(one, "video_label") or "unknown"
        if is_http(_text(one, "url")):
            yield Caption(_id(one), locale, _text(one, "url"))


def _inside(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _id(data: Mapping[str, Any]) -> str:
    value = data.get("id")
    return str(value) if isinstance(value, str | int) else ""


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
