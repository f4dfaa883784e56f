"""HLS playlists read into values: which renditions there are, and of what pieces one is made. Pure.

Goes in: the text of a playlist and the address it came from. Comes out: a `Master` or a `Media`
playlist; `Protected` when a player would need a licence, `Unreadable` for anything that cannot be
relied on. Unknown tags are passed over, as the format demands; a piece whose address, range or key
cannot be made out is never guessed, for a film with a hole is no film.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from job_image.sources import address

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_RESOLUTION = re.compile(r"\d{1,6}x(\d{1,6})", re.ASCII)
_BYTES = re.compile(r"(\d{1,15})(?:@(\d{1,15}))?", re.ASCII)
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{0,9})?", re.ASCII)
_IV = re.compile(r"0[xX]([0-9a-fA-F]{1,32})", re.ASCII)

PIECES = 100_000
"""Most pieces of one playlist: 55 hours in pieces of two seconds."""


class Protected(Exception):
    """The stream is under DRM: no plain key opens it."""


class Unreadable(Exception):
    """The text is no playlist, or one that this reader cannot rely on; its text says why."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendition of a film. `audio` names the group of its sound, "" when it has its own."""

    url: str
    height: int | None = None
    bandwidth: int = 0
    audio: str = ""


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound track with a playlist of its own."""

    group: str
    url: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Master:
    """The renditions, in the playlist's order."""

    variants: tuple[Variant, ...]
    sounds: tuple[Sound, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """An AES-128 key by its address; `iv` is None where the piece's number serves."""

    url: str
    iv: bytes | None


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of an object: all of it, or `length` bytes from `start` on; and the key they need."""

    url: str
    start: int = 0
    length: int | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a film. `run` grows at each break of its clock or change of its header."""

    span: Span
    seconds: float
    number: int
    run: int
    header: Span | None = None

    @property
    def iv(self) -> bytes:
        """The initialisation vector of the piece."""
        key = self.span.key
        return key.iv if key and key.iv is not None else self.number.to_bytes(16, "big")


@dataclass(frozen=True, slots=True)
class Media:
    """The pieces of one rendition, in order."""

    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        """How long the film is, by the playlist's own word."""
        return sum(one.seconds for one in self.segments)

    def fingerprint(self) -> str:
        """Return what is equal for two playlists of one film, whatever tokens they carry."""
        lines = [repr(_without_tokens(one)) for one in self.segments]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def read(text: str, base: str) -> Master | Media:
    """Read a playlist that came from `base`. Raise `Protected` or `Unreadable`."""
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    if not lines or not lines[0].startswith("#EXTM3U"):
        raise Unreadable("it does not begin as a playlist does")
    reader = _Reader(base)
    for line in lines[1:]:
        reader.take(line)
    return reader.result()


@dataclass
class _Reader:
    """Reads line by line; tags before an address describe it."""

    base: str
    variants: list[Variant] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    shape: dict[str, str] | None = None
    seconds: float | None = None
    range_: tuple[int, int | None] | None = None
    after: dict[str, int] = field(default_factory=dict)
    key: Key | None = None
    header: Span | None = None
    number: int = 0
    run: int = 0
    is_over: bool = False

    def take(self, line: str) -> None:
        if line and not line.startswith("#"):
            self._address(line)
            return
        name, _, value = line.partition(":")
        reader = _TAGS.get(name)
        if reader:
            reader(self, value)

    def result(self) -> Master | Media:
        if self.variants:
            return Master(tuple(self.variants), tuple(self.sounds))
        if not self.segments:
            raise Unreadable("it names no pieces")
        if not self.is_over:
            raise Unreadable("it has no end: it is cut off, or a broadcast that still runs")
        return Media(tuple(self.segments))

    def _address(self, line: str) -> None:
        if self.shape is not None:
            self.variants.append(_variant(self._join(line), self.shape))
            self.shape = None
        elif self.seconds is not None:
            self._segment(self._join(line), self.seconds)
            self.seconds = self.range_ = None

    def _segment(self, url: str, seconds: float) -> None:
        if len(self.segments) >= PIECES:
            raise Unreadable(f"it names more than {PIECES} pieces")
        span = self._span(url, self.range_)
        self.segments.append(Segment(span, seconds, self.number, self.run, self.header))
        self.number += 1

    def _span(self, url: str, range_: tuple[int, int | None] | None) -> Span:
        if range_ is None:
            return Span(url, key=self.key)
        length, start = range_
        place = address.without_query(url)
        if start is None:
            if place not in self.after:
                raise Unreadable("a range of bytes begins nowhere")
            start = self.after[place]
        self.after[place] = start + length
        return Span(url, start, length, self.key)

    def _join(self, target: str) -> str:
        url = address.join(self.base, target)
        if not url:
            raise Unreadable("it names a piece by what is no address")
        return url

    def read_shape(self, value: str) -> None:
        self.shape = _attributes(value)

    def read_seconds(self, value: str) -> None:
        found = _SECONDS.match(value)
        self.seconds = float(found[0]) if found else 0.0

    def read_range(self, value: str) -> None:
        self.range_ = _range(value)

    def read_number(self, value: str) -> None:
        found = _WHOLE.match(value)
        if not found:
            raise Unreadable("its first number is none")
        self.number = int(found[0])

    def read_break(self, _: str) -> None:
        self.run += 1

    def read_end(self, _: str) -> None:
        self.is_over = True

    def read_key(self, value: str) -> None:
        self.key = self._key(_attributes(value))

    def read_session_key(self, value: str) -> None:
        self._key(_attributes(value))

    def _key(self, said: dict[str, str]) -> Key | None:
        if said.get("METHOD") == "NONE":
            return None
        if said.get("METHOD") != "AES-128" or said.get("KEYFORMAT", "identity") != "identity":
            raise Protected
        found = _IV.fullmatch(said["IV"]) if "IV" in said else None
        if "IV" in said and not found:
            raise Unreadable("an initialisation vector is none")
        iv = int(found[1], 16).to_bytes(16, "big") if found else None
        return Key(self._join(said.get("URI", "")), iv)

    def read_header(self, value: str) -> None:
        said = _attributes(value)
        range_ = _range(said["BYTERANGE"]) if "BYTERANGE" in said else None
        if range_ is not None and range_[1] is None:
            range_ = (range_[0], 0)
        if self.key is not None and self.key.iv is None:
            raise Unreadable("an encrypted header has no initialisation vector")
        header = self._span(self._join(said.get("URI", "")), range_)
        if self.segments and header != self.header:
            self.run += 1
        self.header = header

    def read_sound(self, value: str) -> None:
        said = _attributes(value)
        if said.get("TYPE") == "AUDIO" and said.get("URI"):
            is_default = said.get("DEFAULT") == "YES"
            self.sounds.append(Sound(said.get("GROUP-ID", ""), self._join(said["URI"]), is_default))


_TAGS = {
    "#EXT-X-STREAM-INF": _Reader.read_shape,
    "#EXT-X-MEDIA": _Reader.read_sound,
    "#EXT-X-SESSION-KEY": _Reader.read_session_key,
    "#EXTINF": _Reader.read_seconds,
    "#EXT-X-BYTERANGE": _Reader.read_range,
    "#EXT-X-MEDIA-SEQUENCE": _Reader.read_number,
    "#EXT-X-DISCONTINUITY": _Reader.read_break,
    "#EXT-X-KEY": _Reader.read_key,
    "#EXT-X-MAP": _Reader.read_header,
    "#EXT-X-ENDLIST": _Reader.read_end,
}


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"').strip() for name, value in _ATTRIBUTE.findall(text)}


def _variant(url: str, said: dict[str, str]) -> Variant:
    shape = _RESOLUTION.fullmatch(said.get("RESOLUTION", ""))
    band = _WHOLE.fullmatch(said.get("BANDWIDTH", ""))
    return Variant(
        url, int(shape[1]) if shape else None, int(band[0]) if band else 0, said.get("AUDIO", "")
    )


def _range(text: str) -> tuple[int, int | None]:
    found = _BYTES.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise Unreadable("a range of bytes is none")
    return int(found[1]), int(found[2]) if found[2] else None


def _without_tokens(segment: Segment) -> tuple[object, ...]:
    parts: Iterator[object] = (
        part for span in (segment.span, segment.header) for part in _place(span)
    )
    return (segment.seconds, segment.run, segment.iv if segment.span.key else b"", *parts)


def _place(span: Span | None) -> tuple[object, ...]:
    if span is None:
        return ()
    key = address.parts(span.key.url).path if span.key else ""
    return (address.parts(span.url).path, span.start, span.length, key)
