"""Pieces of a film put together into one MP4, without re-encoding. The one door to FFmpeg (PyAV).

Goes in: tracks, each a list of runs; a run is pieces that share a clock and a header. A second
track gives the sound, and the first its picture alone. Comes out: an MP4 with its index in front,
so that it plays from where it lies. Each run is opened on its own and its clock set to go on where
the run before it ended: that is what a discontinuity means. The format of the pieces is told by
their first bytes and never left to guessing by the library, which would also follow a "piece" that
is a playlist of local files. A film of an hour has two hundred thousand packets: times are counted
in whole ticks of their stream, and in seconds only once per run.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import av

from job_image.sources.pieces import BLOCK, Reader, Slice, Unplayable
from job_image.stop import Stop

Run = Sequence[Slice]
Track = Sequence[Run]

_SYNC = b"\x47"
_BOXES = (b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"mdat", b"free")
_APART = Fraction(10)
"""Seconds by which two tracks may begin apart, or a clock leap: more means another clock."""
_BACK = Fraction(1)
"""Seconds by which a clock may step back; only neighbours of a seam do, by a frame or two."""


@dataclass
class _Place:
    """A stream of the MP4 to be, and where it stands."""

    codec: str
    header: bytes
    out: Any
    base: Fraction
    """Seconds of a tick, in the run that is being read."""
    last: int | None = None
    """Ticks at which the last packet is decoded: the next must come later."""
    end: int = 0
    """Ticks at which what is there has been shown."""

    def count_in(self, base: Fraction) -> None:
        """Go on in the ticks of another run."""
        if base != self.base:
            if self.last is not None:
                self.last = ceil(self.last * self.base / base)
            self.end = ceil(self.end * self.base / base)
            self.base = base

    @property
    def seconds(self) -> Fraction:
        """How long the stream is."""
        return self.end * self.base


def write(tracks: Sequence[Track], target: Path, stop: Stop) -> float:
    """Write the film and return its length in seconds.

    Raise `Unplayable`, `Stopped`, and `OSError` when the volume is full.
    """
    try:
        with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as film:
            return _Film(film, stop).fill(tracks)
    except av.error.FFmpegError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(exc.errno, exc.strerror) from exc
        reason = exc.strerror or type(exc).__name__
        raise Unplayable(f"The pieces make no film ({reason}).") from exc


class _Film:
    """One film being written."""

    def __init__(self, film: Any, stop: Stop) -> None:
        self._film = film
        self._stop = stop

    def fill(self, tracks: Sequence[Track]) -> float:
        with ExitStack() as stack:
            readers = [_Track(track, stack) for track in tracks if track]
            taken: set[str] = set()
            for number, reader in reversed(list(enumerate(readers))):
                kinds = {"audio"} if number else {"video", "audio"} - taken
                taken |= reader.join(self._film, kinds)
            if not taken:
                raise Unplayable("The pieces hold neither picture nor sound.")
            _set_clocks(readers)
            for packet, place in _in_order(readers):
                self._stop.check()
                self._write(packet, place)
        seconds = max(place.seconds for reader in readers for place in reader.places.values())
        if not seconds:
            raise Unplayable("The pieces hold neither picture nor sound.")
        return float(seconds)

    def _write(self, packet: Any, place: _Place) -> None:
        decoded = packet.dts
        if place.last is not None and decoded <= place.last:
            decoded = packet.dts = place.last + 1
            if packet.pts is None or packet.pts < decoded:
                packet.pts = decoded
        place.last = decoded
        packet.stream = place.out
        self._film.mux_one(packet)


@dataclass
class _Track:
    """The runs of one track, opened one after the other."""

    runs: Track
    stack: ExitStack
    places: dict[str, _Place] = field(default_factory=dict)
    clock: Fraction = Fraction(0)
    """Where the next run begins in the film."""
    first: Any = None
    form: str = ""

    def join(self, film: Any, kinds: set[str]) -> set[str]:
        """Open the first run and give the film its streams of these kinds; return which."""
        self.first = self._open(self.runs[0])
        for kind in sorted(kinds, reverse=True):
            stream = _best(self.first, kind)
            if stream is not None:
                out = film.add_stream_from_template(stream)
                header = _header(stream, self.form)
                self.places[kind] = _Place(stream.codec.name, header, out, stream.time_base)
        return set(self.places)

    @property
    def start(self) -> Fraction:
        """Where the first run begins by its own clock, in seconds."""
        return _start(self.first)

    def packets(self) -> Iterator[tuple[Any, _Place]]:
        """Give the packets of all runs, their times counted from the beginning of the film."""
        for number, run in enumerate(self.runs):
            source = self._open(run) if number else self.first
            shift = self.clock if not number else self.clock - _start(source)
            yield from self._shifted(source, shift)
            source.close()

    def _shifted(self, source: Any, shift: Fraction) -> Iterator[tuple[Any, _Place]]:
        streams = [one for kind in self.places if (one := self._fitting(source, kind)) is not None]
        clocks = {}
        for one in streams:
            place = self.places[one.type]
            place.count_in(one.time_base)
            clocks[one.index] = _Clock(place, shift)
        for packet in source.demux(streams) if streams else ():
            if packet.dts is not None:
                clock = clocks[packet.stream_index]
                clock.set(packet)
                yield packet, clock.place
        ends = (self.places[one.type].seconds for one in streams)
        self.clock = max((self.clock, *ends))

    def _fitting(self, source: Any, kind: str) -> Any:
        stream, place = _best(source, kind), self.places[kind]
        if stream is None:
            return None
        if (stream.codec.name, _header(stream, self.form)) != (place.codec, place.header):
            raise Unplayable("The film changes its form in the middle; one MP4 cannot hold that.")
        return stream

    def _open(self, run: Run) -> Any:
        reader = Reader(run)
        self.form = _form(reader.peek())
        reader.mark = _SYNC if self.form == "mpegts" else b""
        return self.stack.enter_context(
            av.open(reader, "r", format=self.form, buffer_size=BLOCK // 4)
        )


class _Clock:
    """Counts the time of one stream of a run, and bridges what no playlist announced."""

    def __init__(self, place: _Place, shift: Fraction) -> None:
        self.place = place
        self._shift = round(shift / place.base)
        self._back = -ceil(_BACK / place.base)
        self._apart = ceil(_APART / place.base)
        self._end: int | None = None

    def set(self, packet: Any) -> None:
        """Count a packet's times from the beginning of the film; after a jump, from its neighbour's
        end.
        """
        decoded = packet.dts + self._shift
        if self._end is not None and not self._back < decoded - self._end < self._apart:
            self._shift += self._end - decoded
            decoded = self._end
        shown = packet.pts
        packet.dts = decoded
        if shown is not None:
            shown = packet.pts = shown + self._shift
        length = packet.duration or 0
        self._end = decoded + length
        self.place.end = max(self.place.end, length + (decoded if shown is None else shown))


def _set_clocks(tracks: Sequence[_Track]) -> None:
    """Let the film begin at 0; tracks of one clock keep their distance, others begin together."""
    earliest = min(track.start for track in tracks)
    for track in tracks:
        shared = track.form not in ("aac", "mp3") and track.start - earliest <= _APART
        track.clock = -(earliest if shared else track.start)


def _in_order(tracks: Sequence[_Track]) -> Iterator[tuple[Any, _Place]]:
    """Give the packets of all tracks as they are to be decoded."""
    if len(tracks) == 1:
        yield from tracks[0].packets()
        return

    def timed(number: int, track: _Track) -> Iterator[tuple[float, int, int, Any, _Place]]:
        for count, (packet, place) in enumerate(track.packets()):
            yield float(packet.dts * place.base), number, count, packet, place

    for *_, packet, place in heapq.merge(*(timed(n, one) for n, one in enumerate(tracks))):
        yield packet, place


def _form(first: bytes) -> str:
    """Return FFmpeg's name for the format of a piece that begins with these bytes."""
    if first[:1] == _SYNC:
        return "mpegts"
    if first[4:8] in _BOXES:
        return "mp4"
    if first[:3] == b"ID3" or (first[:1] == b"\xff" and first[1:2] and first[1] & 0xF6 == 0xF0):
        return "aac"
    if first[:1] == b"\xff" and first[1:2] and first[1] & 0xE0 == 0xE0:
        return "mp3"
    raise Unplayable("The pieces are in no format that HLS knows.")


def _best(source: Any, kind: str) -> Any:
    return next((one for one in source.streams if one.type == kind), None)


def _header(stream: Any, form: str) -> bytes:
    """Return what a decoder must know beforehand; transport streams carry it with the pictures."""
    return bytes(stream.codec_context.extradata or b"") if form == "mp4" else b""


def _start(source: Any) -> Fraction:
    return Fraction(source.start_time or 0, av.time_base)
