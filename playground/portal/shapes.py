"""Curriculum entries in the platform's JSON.

In: entries of a listing and a function that makes CDN links. Out: plain values with every field;
the caller drops the fields nobody asked for. Odd but real traits are kept: labels that are no
numbers, null where an object could be, sources in two places at once.
"""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

from playground.portal import courses as c
from playground.portal.catalogue import Entry, Listing, class_of
from playground.portal.playlists import MASTER
from playground.portal.signing import Form

Json = dict[str, Any]
Link = Callable[[str, Form | None], str]
"""Key and form of signature (None = unsigned) to an absolute URL."""

CREATED = "2026-01-02T03:04:05Z"
MP4, HLS, DASH = "video/mp4", "application/x-mpegURL", "application/dash+xml"


def course(listing: Listing) -> Json:
    """A course as it stands in a list."""
    slug = listing.course.slug
    return {
        "_class": "course",
        "id": listing.id,
        "url": f"/course/{slug}/learn/",
        "title": listing.course.title or slug,
        "published_title": slug,
    }


def entry(one: Entry, link: Link) -> Json:
    """A curriculum entry of any class."""
    sort = class_of(one.thing)
    base = {"_class": sort, "id": one.id, "title": one.thing.title, "object_index": one.index}
    match one.thing:
        case c.Chapter() | c.Practice() | c.RolePlay():
            return base
        case c.Quiz():
            return base | {"type": one.thing.type}
        case _:
            return base | _lecture(one, one.thing, link)


def _lecture(one: Entry, thing: c.Lecture, link: Link) -> Json:
    return {
        "created": CREATED,
        "description": "",
        "view_html": "<div></div>",
        "download_url": None,
        "asset": asset(one, thing, link),
        "supplementary_assets": [
            _supplement(one, position, extra, link)
            for position, extra in enumerate(thing.supplements)
        ],
    }


def asset(one: Entry, thing: c.Lecture, link: Link) -> Json:
    """The main asset of a lecture."""
    match thing:
        case c.Video():
            return _base(one, "Video", f"{thing.title}.mp4") | _video(one, thing, link)
        case c.Hls():
            return _base(one, "Video", f"{thing.title}.m3u8") | _hls(one, thing, link)
        case c.Protected():
            return _base(one, "Video", f"{thing.title}.mp4") | _protected(one, link)
        case c.Article():
            return _base(one, "Article", "") | {"body": _body(one, thing, link)}
        case c.Document():
            urls = {
                thing.asset_type: [
                    {
                        "type": _media(thing.filename),
                        "label": "download",
                        "file": _pair(one, thing.filename, link),
                    }
                ]
            }
            size = {"file_size": thing.content.size}
            return _base(one, thing.asset_type, thing.filename) | {"download_urls": urls} | size


def _base(one: Entry, kind: str, filename: str) -> Json:
    return {
        "_class": "asset",
        "id": one.id * 100,
        "title": filename,
        "filename": filename,
        "asset_type": kind,
        "status": 1,
        "is_external": False,
        "course_is_drmed": False,
        "media_license_token": None,
        "media_sources": None,
        "stream_urls": None,
        "stream_url": None,
        "download_urls": None,
        "external_url": None,
        "thumbnail_url": None,
        "captions": [],
        "slides": [],
        "slide_urls": [],
        "data": {},
        "body": "",
        "time_estimation": 0,
        "file_size": None,
    }


def _video(one: Entry, thing: c.Video, link: Link) -> Json:
    urls = {label: _pair(one, f"{label}.mp4", link) for label in thing.qualities}
    streams = [{"type": MP4, "label": str(label), "file": url} for label, url in urls.items()]
    sources = [{"type": MP4, "src": url, "label": str(label)} for label, url in urls.items()]
    places = {
        "stream_urls": {"Video": streams},
        "media_sources": sources,
        "download_urls": {"Video": streams},
    }
    return {name: value for name, value in places.items() if name in thing.offered} | {
        "media_license_token": thing.token,
        "captions": _captions(one, thing.captions, link),
        "time_estimation": thing.seconds,
        "file_size": max((one.size for one in thing.qualities.values()), default=None),
    }


def _hls(one: Entry, thing: c.Hls, link: Link) -> Json:
    url = link(f"{one.key}/{MASTER}", Form.TOKEN)
    return {
        "stream_urls": {"Video": [{"type": HLS, "label": "Auto", "file": url}]},
        "media_sources": [{"type": HLS, "src": url, "label": "auto"}],
        "captions": _captions(one, thing.captions, link),
        "time_estimation": thing.seconds,
    }


def _protected(one: Entry, link: Link) -> Json:
    manifest = link(f"{one.key}/encrypted-files/manifest.mpd", Form.TOKEN)
    return {
        "course_is_drmed": True,
        "media_license_token": "playground-licence",
        "media_sources": [{"type": DASH, "src": manifest, "label": "auto"}],
    }


def _captions(one: Entry, captions: Iterable[c.Caption], link: Link) -> list[Json]:
    return [
        {
            "_class": "caption",
            "id": one.id * 100 + 50 + position,
            "asset_id": one.id * 100,
            "title": f"{caption.locale}.vtt",
            "file_name": f"{caption.locale}.vtt",
            "status": 1,
            "url": link(f"{one.key}/captions/{caption.locale}.vtt", Form.SECURE),
            "source": caption.source,
            "locale_id": caption.locale,
            "video_label": caption.locale + (" [Auto]" if caption.source == "auto" else ""),
        }
        for position, caption in enumerate(captions)
    ]


def _supplement(one: Entry, position: int, extra: c.Supplement, link: Link) -> Json:
    number = {"id": one.id * 100 + 1 + position}
    if isinstance(extra, c.Link):
        external = {"external_url": extra.url, "title": extra.title, "is_external": True}
        return _base(one, "ExternalLink", "") | external | number
    url = _pair(one, f"assets/{position}/{extra.filename}", link)
    urls = {"download_urls": {extra.asset_type: [{"label": "download", "file": url}]}}
    return (
        _base(one, extra.asset_type, extra.filename)
        | urls
        | number
        | {"file_size": extra.content.size}
    )


def _body(one: Entry, thing: c.Article, link: Link) -> str:
    html = thing.body
    for name in thing.images:
        html = html.replace(f"{{image:{name}}}", link(f"{one.key}/img/{name}", None))
    return html


def _pair(one: Entry, name: str, link: Link) -> str:
    return link(f"{one.key}/{name}", Form.PAIR)


def _media(filename: str) -> str:
    return PurePosixPath(filename).suffix.lstrip(".") or "file"


def assessments(quiz: c.Quiz, number: int) -> list[Json]:
    """The questions of a quiz."""
    return [
        {"_class": "assessment", "id": number * 100 + position} | _assessment(one)
        for position, one in enumerate(quiz.assessments, 1)
    ]


def _assessment(one: c.Question | c.Coding) -> Json:
    if isinstance(one, c.Coding):
        return {
            "assessment_type": "coding-problem",
            "correct_response": [],
            "section": "",
            "prompt": _coding(one),
        }
    return {
        "assessment_type": "multiple-choice" if len(one.correct) == 1 else "multi-select",
        "correct_response": list(one.correct),
        "section": "",
        "question_plain": one.prompt,
        "related_lectures": [],
        "prompt": {
            "question": f"<p>{one.prompt}</p>",
            "answers": [f"<p>{answer}</p>" for answer in one.answers],
            "explanation": one.explanation,
        },
    }


def _coding(one: c.Coding) -> Json:
    return {
        "instructions": one.instructions,
        "test_files": _named(one.tests.items()),
        "solution_files": _named(one.solutions.items()),
    }


def _named(files: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"file_name": name, "content": content} for name, content in files]
