"""What files there are: every name with the way it is made.

In: nothing. Out: a table of names, in two sorts: documents as bytes, and clips, tones and streams
that need the encoder. Kept apart from the encoder, so that a portal with computed bytes in place of
media starts without PyAV.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from playground.media import documents

KIB, MBIT = 1024, 1_000_000


@dataclass(frozen=True)
class ClipRecipe:
    """A lecture in MP4: height in lines, megabits per second."""

    height: int
    seconds: int
    megabits: float
    pattern: str
    seed: int

    @property
    def size(self) -> int:
        """Roughly the bytes it has."""
        return int(self.megabits * MBIT / 8 * self.seconds)


@dataclass(frozen=True)
class ToneRecipe:
    """A sound file: codec and pitch."""

    seconds: int
    codec: Literal["libmp3lame", "aac"]
    hertz: int

    @property
    def size(self) -> int:
        """Roughly the bytes it has."""
        return 12 * KIB * self.seconds


def _lecture(
    name: str, seconds: int, megabits: float, pattern: str, seed: int
) -> dict[str, ClipRecipe]:
    return {
        f"{name}-720.mp4": ClipRecipe(720, seconds, megabits, pattern, seed),
        f"{name}-360.mp4": ClipRecipe(360, seconds, megabits / 4, pattern, seed),
    }


CLIPS: Mapping[str, ClipRecipe] = {
    **_lecture("welcome", 4, 2.4, "testsrc2", 1),
    **_lecture("setup", 5, 2.4, "testsrc2", 2),
    **_lecture("long", 8, 18, "testsrc2", 3),
    **_lecture("second", 6, 12, "smptehdbars", 4),
    **_lecture("farewell", 4, 2.4, "smptehdbars", 5),
}
STREAMS: Mapping[str, ClipRecipe] = {
    "stream": ClipRecipe(360, 8, 1.2, "testsrc2", 6),
    "sealed": ClipRecipe(360, 8, 1.2, "testsrc", 7),
}
"""HLS, a folder each; `sealed` is encrypted with AES-128."""
AES_KEY = b"playground-key16"
AES_IV = "000102030405060708090a0b0c0d0e0f"
TONES: Mapping[str, ToneRecipe] = {
    "listen.mp3": ToneRecipe(6, "libmp3lame", 330),
    "listen.m4a": ToneRecipe(6, "aac", 550),
}
CODE = {"main.py": 'print("Hello")\n', "README.txt": "Run main.py with Python 3.\n"}
DOCUMENTS: Mapping[str, bytes] = {
    "notes.pdf": documents.pdf("Course notes", ["first page", "second page"]),
    "slides.pdf": documents.pdf("Slides", [f"slide {number}" for number in range(1, 6)]),
    "diagram.png": documents.png(320, 180),
    "project.zip": documents.archive(CODE),
    "captions.en_GB.vtt": documents.vtt(["Welcome.", "This is a test picture.", "And a tone."]),
    "captions.de_DE.vtt": documents.vtt(["Willkommen.", "Dies ist ein Testbild.", "Und ein Ton."]),
}
