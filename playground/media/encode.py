"""Moving pictures and sound from FFmpeg, through PyAV. The only place that knows PyAV.

In: a description of a clip or a tone and a path. Out: the file. The same description gives the same
bytes with the same PyAV: one encoder thread, seeded noise. Noise is what makes a clip large: a
clean test picture compresses to nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import VideoFrame

ENCODER = av.__version__
FPS = 25
SAMPLES = 44_100
SEGMENT_SECONDS = 2
Codec = Literal["libmp3lame", "aac"]


@dataclass(frozen=True)
class Clip:
    """A test picture with a tone."""

    height: int
    seconds: int
    bits_per_second: int
    pattern: str = "testsrc2"
    """FFmpeg's name of a picture source."""
    seed: int = 1
    """Turns the colours, and sets the noise and the pitch."""

    @property
    def width(self) -> int:
        """16:9, even."""
        return self.height * 16 // 9 // 2 * 2


@dataclass(frozen=True)
class Tone:
    """A sine tone."""

    seconds: int
    codec: Codec = "libmp3lame"
    hertz: int = 440


@dataclass(frozen=True)
class Aes:
    """How an HLS stream is to be encrypted: 16 bytes and the IV as 32 hex digits."""

    key: bytes = field(repr=False)
    iv: str


def write_clip(path: Path, clip: Clip) -> None:
    """An MP4 of H.264 and AAC with its index in front."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
        _encode(out, clip)


def write_tone(path: Path, tone: Tone) -> None:
    """A sound file; the container follows the file's name."""
    with av.open(str(path), "w") as out:
        sound = out.add_stream(tone.codec, rate=SAMPLES, options={"b": "96k"})
        for frame in _sound(tone.hertz, tone.seconds, _sample_format(tone.codec)):
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))


def write_hls(folder: Path, clip: Clip, aes: Aes | None = None) -> None:
    """`00000.ts` and so on, two seconds each, encrypted if wanted, with FFmpeg's own index.m3u8."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "hls_time": str(SEGMENT_SECONDS),
        "hls_list_size": "0",
        "hls_segment_filename": str(folder / "%05d.ts"),
        **(_key_options(folder, aes) if aes else {}),
    }
    with av.open(str(folder / "index.m3u8"), "w", format="hls", options=options) as out:
        _encode(out, clip)


def _key_options(folder: Path, aes: Aes) -> Mapping[str, str]:
    key, info = folder / "key.bin", folder / "key.info"
    key.write_bytes(aes.key)
    info.write_text(f"key.bin\n{key}\n{aes.iv}\n")
    return {"hls_key_info_file": str(info)}


def _encode(out: OutputContainer, clip: Clip) -> None:
    picture = out.add_stream("libx264", rate=FPS, options=_x264(clip))
    picture.width, picture.height, picture.pix_fmt = clip.width, clip.height, "yuv420p"
    picture.bit_rate = clip.bits_per_second
    sound = out.add_stream("aac", rate=SAMPLES)
    tones = _sound(220 * clip.seed, clip.seconds, "fltp")
    waiting = next(tones, None)
    for frame in _pictures(clip):
        while waiting is not None and _time(waiting) <= _time(frame):
            out.mux(sound.encode(waiting))
            waiting = next(tones, None)
        out.mux(picture.encode(frame))
    for rest in (*([waiting] if waiting else []), *tones, None):
        out.mux(sound.encode(rest))
    out.mux(picture.encode(None))


def _x264(clip: Clip) -> dict[str, str]:
    return {
        "preset": "ultrafast",
        "threads": "1",
        "g": str(FPS * SEGMENT_SECONDS),
        "sc_threshold": "0",
    }


def _pictures(clip: Clip) -> Iterator[VideoFrame]:
    size = f"size={clip.width}x{clip.height}:rate={FPS}:duration={clip.seconds}"
    steps = (
        (clip.pattern, size),
        ("hue", f"h={clip.seed * 47 % 360}"),
        ("noise", f"all_seed={clip.seed}:alls=30:allf=t"),
        ("format", "pix_fmts=yuv420p"),
        ("buffersink", ""),
    )
    for frame in _frames(steps):
        if isinstance(frame, VideoFrame):
            yield frame


def _sound(hertz: int, seconds: int, sample_format: str) -> Iterator[AudioFrame]:
    steps = (
        ("sine", f"frequency={hertz}:sample_rate={SAMPLES}:duration={seconds}"),
        ("aformat", f"sample_fmts={sample_format}:channel_layouts=stereo"),
        ("abuffersink", ""),
    )
    for frame in _frames(steps):
        if isinstance(frame, AudioFrame):
            yield frame


def _frames(steps: tuple[tuple[str, str], ...]) -> Iterator[object]:
    graph = Graph()
    made = [graph.add(name, options) if options else graph.add(name) for name, options in steps]
    for before, after in pairwise(made):
        before.link_to(after)
    graph.configure()
    while True:
        try:
            yield graph.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return


def _time(frame: AudioFrame | VideoFrame) -> float:
    return frame.time or 0.0


def _sample_format(codec: str) -> str:
    return "s16p" if codec == "libmp3lame" else "fltp"
