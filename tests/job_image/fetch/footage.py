"""Real films in pieces: encoded once, cut and wrapped in every way that HLS knows.

Everything is made by the library that the product stands on; what the product makes of it is
judged by decoding it, picture by picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from playground.content import Bytes, Content, File, text
from playground.media.encode import Clip, write_hls
from playground.portal import actions
from playground.portal.courses import Chapter, Course, Hls, Rendition, Segment
from playground.portal.signing import Form
from playground.wire import Reply, Request
from tests.job_image.fetch.order import Order

SLUG = "s"
NAME = "01 - A/001 Film.mp4"
FPS = 25
BOTH = ("video", "audio")
FOLDER = f"cdn:{SLUG}/001/hls"


@dataclass(frozen=True)
class Seen:
    """What a decoder sees: pictures, seconds of sound, and when each picture is shown."""

    pictures: tuple[str, ...]
    sound: float
    times: tuple[float, ...]


def look(path: Path) -> Seen:
    """Decode a film."""
    with av.open(str(path)) as film:
        shown = [(frame.time or 0.0, _print(frame)) for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        frames = film.decode(audio=0) if film.streams.audio else ()
        heard = sum(one.samples / one.sample_rate for one in frames)
    return Seen(tuple(one for _, one in shown), heard, tuple(time for time, _ in shown))


def even(seen: Seen) -> bool:
    """Whether the film begins with its sound, and each picture a frame's time after another."""
    first = seen.times[0]
    wanted = [first + number / FPS for number in range(len(seen.times))]
    return first < 0.05 and all(abs(a - b) < 0.002 for a, b in zip(seen.times, wanted, strict=True))


def _print(frame: Any) -> str:
    return sha256(frame.to_ndarray(format="gray").tobytes()).hexdigest()[:16]


class Footage:
    """The films, in a folder that lives as long as the tests run."""

    def __init__(self, folder: Path) -> None:
        write_hls(folder / "plain", Clip(144, 6, 200_000, seed=1))
        write_hls(folder / "other", Clip(144, 4, 200_000, seed=2))
        self.folder = folder
        self.plain = pieces(folder / "plain")
        self.other = pieces(folder / "other")
        self.seen = look(folder / "plain" / "index.m3u8")
        self.seen_other = look(folder / "other" / "index.m3u8")
        wrap(folder / "plain" / "index.m3u8", folder / "plain.mp4", BOTH, {})

    def wrapped(self, name: str, kinds: Iterable[str], options: Mapping[str, str]) -> Path:
        """Wrap the plain film anew as HLS; return the new playlist."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        more = {"hls_time": "2", "hls_list_size": "0", **options}
        return wrap(self.folder / "plain.mp4", folder / "index.m3u8", kinds, more)


def wrap(source: Path, target: Path, kinds: Iterable[str], options: Mapping[str, str]) -> Path:
    """Wrap a film anew, without re-encoding; the name tells how."""
    form = "hls" if target.suffix == ".m3u8" else "mp4"
    with (
        av.open(str(source)) as film,
        av.open(str(target), "w", format=form, options=dict(options)) as out,
    ):
        streams = [one for one in film.streams if one.type in kinds]
        copies = {one.index: out.add_stream_from_template(one) for one in streams}
        for packet in film.demux(streams):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                out.mux_one(packet)
    return target


def pieces(folder: Path) -> list[Content]:
    """The pieces of a folder, in order."""
    return [File(path) for path in sorted(folder.glob("*.ts"))]


def read(content: Content) -> bytes:
    """All bytes of a content."""
    return content.read(0, content.size)


def sealed(content: Content | bytes, key: bytes, iv: bytes) -> Bytes:
    """A piece encrypted as HLS does it."""
    data = content if isinstance(content, bytes) else read(content)
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    padded = padder.update(data) + padder.finalize()
    return Bytes(cipher.update(padded) + cipher.finalize())


def seems_to_fit(key: bytes, piece: Bytes, iv: bytes) -> bool:
    """Whether what a key makes of a piece ends as it should: one wrong key in 256 does that."""
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        unpadder.update(cipher.update(piece.data) + cipher.finalize())
        unpadder.finalize()
    except ValueError:
        return False
    return True


def rendition(contents: Iterable[Content], bandwidth: int = 200_000) -> Rendition:
    """One quality of a film."""
    return Rendition(tuple(Segment(one, 2.0) for one in contents), bandwidth)


def course(renditions: Mapping[int, Rendition] | Iterable[Content]) -> Course:
    """A course of one film."""
    if not isinstance(renditions, Mapping):
        renditions = {144: rendition(renditions)}
    return Course(SLUG, chapters=(Chapter("A", (Hls("Film", renditions),)),))


class Says(actions.Action):
    """Answers with a text of our own; `{name}` in it becomes a signed link beside it."""

    def __init__(self, order: Order, said: str, folder: str = "hls/144") -> None:
        self._order, self._said, self._folder = order, said, folder

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        def link(found: re.Match[str]) -> str:
            key = f"{SLUG}/001/{self._folder}/{found[1]}"
            return self._order.portal.signed_url(key, Form.TOKEN)

        said = text(re.sub(r"\{([^}]+)\}", link, self._said))
        return Reply(200, (("Content-Type", "application/x-mpegURL"),), said)


def say(order: Order, *lines: str, of: str = "144/index.m3u8", times: int | None = None) -> None:
    """Let the portal answer with this playlist."""
    said = "\n".join(["#EXTM3U", *lines, ""])
    order.portal.faults.add(f"{FOLDER}/{of}", Says(order, said), times=times)


def listing(count: int, start: int = 0) -> list[str]:
    """The lines of so many pieces of two seconds."""
    return [line for n in range(start, start + count) for line in ("#EXTINF:2,", f"{{{n:05}.ts}}")]
