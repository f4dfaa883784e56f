"""Which objects the pieces of a film are cut from, numbered so that every run numbers alike. Pure.

Goes in: the playlists of a film. Comes out: the addresses of its objects in order, and for every
piece the number of its object. A piece that is a range of bytes lies in an object that others may
share: that one is fetched once, whole. Numbers depend on order and paths alone, never on tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from job_image.sources import address
from job_image.sources.m3u8 import Media, Segment, Span


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece, the number of its object, and that of its header's."""

    segment: Segment
    number: int
    header: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """A film: `urls` of its objects by number, and its tracks."""

    urls: tuple[str, ...]
    tracks: tuple[tuple[Cut, ...], ...]
    fingerprint: str

    @property
    def keys(self) -> frozenset[str]:
        """The addresses of all keys."""
        spans = (span for track in self.tracks for cut in track for span in _spans(cut.segment))
        return frozenset(span.key.url for span in spans if span.key)


def make(playlists: Sequence[Media]) -> Layout:
    """Return the layout of a film of one playlist, or of picture and sound."""
    maker = _Maker()
    tracks = tuple(tuple(maker.cuts(playlist)) for playlist in playlists)
    text = "\n".join(one.fingerprint() for one in playlists)
    return Layout(tuple(maker.urls), tracks, hashlib.sha256(text.encode()).hexdigest())


class _Maker:
    def __init__(self) -> None:
        self.urls: list[str] = []
        self._shared: dict[str, int] = {}

    def cuts(self, playlist: Media) -> Iterator[Cut]:
        for one in playlist.segments:
            header = None if one.header is None else self._number(one.header, is_shared=True)
            is_shared = one.span.length is not None
            yield Cut(one, self._number(one.span, is_shared=is_shared), header)

    def _number(self, span: Span, *, is_shared: bool) -> int:
        place = address.without_query(span.url)
        if is_shared and place in self._shared:
            return self._shared[place]
        self.urls.append(span.url)
        number = len(self.urls) - 1
        if is_shared:
            self._shared[place] = number
        return number


def _spans(segment: Segment) -> Iterator[Span]:
    yield segment.span
    if segment.header is not None:
        yield segment.header
