"""A film in 600 pieces, and how to tell whether a copy of it is right.

Goes in: a folder. Comes out: transport streams of two seconds each. Forty seconds are encoded and
then said again and again with a running clock: what counts is how many pieces there are and how
large, not what they show. A copy is judged by its slices, the bytes that hold the pictures: every
container frames them in its own way, none may change or lose one.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from playground.media.encode import SEGMENT_SECONDS, Clip, write_clip

PIECES = 600
CLIP = Clip(360, 40, 1_200_000)
_SLICES = "h264_mp4toannexb,filter_units=pass_types=1|5"

Print = tuple[int, int]
"""Pictures, and a checksum over their slices."""


def make(folder: Path) -> list[Path]:
    """Write the pieces and return them in order."""
    folder.mkdir(parents=True)
    clip = folder / "clip.mp4"
    write_clip(clip, CLIP)
    rounds = PIECES * SEGMENT_SECONDS // CLIP.seconds
    options = {
        "hls_time": str(SEGMENT_SECONDS),
        "hls_list_size": "0",
        "hls_segment_filename": str(folder / "%05d.ts"),
    }
    with (
        av.open(str(clip)) as source,
        av.open(str(folder / "index.m3u8"), "w", format="hls", options=options) as out,
    ):
        copies = [out.add_stream_from_template(one) for one in source.streams]
        for number in range(rounds):
            _say(source, out, copies, number * CLIP.seconds)
    return sorted(folder.glob("*.ts"))


def _say(source: Any, out: Any, copies: list[Any], after: int) -> None:
    """Put the whole clip behind what is there."""
    source.seek(0)
    for packet in source.demux():
        if packet.dts is None or packet.pts * packet.time_base >= CLIP.seconds:
            continue
        packet.pts += round(after / packet.time_base)
        packet.dts += round(after / packet.time_base)
        packet.stream = copies[packet.stream.index]
        out.mux_one(packet)


def look(path: Path) -> Print:
    """Return the print of a film, whatever its container."""
    count = checksum = 0
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        slices = BitStreamFilterContext(_SLICES, stream)
        for packet in film.demux(stream):
            for one in slices.filter(packet if packet.size else None):
                count += 1
                checksum = zlib.crc32(bytes(one), checksum)
    return count, checksum
