"""From titles to names that every file system and remote takes. Pure.

Goes in: titles and file names as the platform gives them: any Unicode, any length, separators,
`..`, nothing at all. Comes out: names of at most 215 bytes, each once in its folder. The result
depends on the course alone, so that a second run finds what the first one left.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

NAME_LIMIT = 215
"""Bytes of a file's name in UTF-8: the 255 of the usual file systems less 40 for the suffixes that
uploads and downloads add while they work."""
FOLDER_LIMIT = 100
CHAPTER_LIMIT = 120
"""Bytes of the two folders: a whole path stays under 440 (an image's under 520), far below the 1024
of the narrowest system, whatever stands before it."""
IMAGE_LIMIT = 60
EXTENSION_LIMIT = 16

_DASHED = str.maketrans(dict.fromkeys("/\\|\u2044\u2215\u29f8\uff0f\uff3c", "-"))
_EASY = re.compile(r"[A-Za-z0-9 ._,;()&'!+=@#$%~-]*")
"""What needs no cleaning but for its spaces."""
_DROPPED = str.maketrans(dict.fromkeys('<>:"?*', None))
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_EXTENSION = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9_+-]*")
_JOINERS = "\u200c\u200d"
"""Invisible, but parts of letters in several scripts and of composed pictures."""


def clean(text: str) -> str:
    """Return `text` without what a file system, a shell window or a reader stumbles over."""
    if _EASY.fullmatch(text):
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", text).translate(_DASHED).translate(_DROPPED)
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    text = "".join(" " if char.isspace() else char for char in text if _is_visible(char))
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _is_visible(char: str) -> bool:
    return char in _JOINERS or char.isspace() or unicodedata.category(char)[0] != "C"


def cut(text: str, limit: int) -> str:
    """Return the beginning of `text` in at most `limit` bytes of UTF-8, no letter cut in two."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    short = raw[:limit].decode("utf-8", "ignore")
    while short and unicodedata.combining(text[len(short) : len(short) + 1] or " "):
        short = short[:-1]
    return short.rstrip(_JOINERS)


def folder(name: str, number: str) -> str:
    """Return the course folder's name: the slug, or the id when nothing is left of it."""
    for candidate in (name, number, "course"):
        safe = cut(clean(candidate).lstrip(". "), FOLDER_LIMIT).rstrip(". ")
        if safe:
            return f"_{safe}" if _RESERVED.fullmatch(safe) else safe
    raise AssertionError  # "course" is a safe name


def chapter(number: int, title: str) -> str:
    """Return a chapter folder's name, such as `01 - Basics`."""
    return cut(f"{number:02d} - {_titled(title, 'Chapter')}", CHAPTER_LIMIT).rstrip(". ")


def file(number: int, stem: str, tail: str, extension: str) -> str:
    """Return a file's name, such as `003 Loops_en_GB.srt`. Only the stem is shortened."""
    end = cut(clean(tail), 60) + extension
    head = f"{number:03d} {_titled(stem, 'Untitled')}"
    return cut(head, NAME_LIMIT - len(end.encode())).rstrip(". ") + end


def image(number: int, path: str) -> str:
    """Return the name of a text's image, such as `02 diagram.png`; its folder is long."""
    stem, extension = split(unquote(path).rpartition("/")[2])
    return cut(f"{number:02d} {_titled(stem, 'image')}", IMAGE_LIMIT).rstrip(". ") + extension


def _titled(title: str, otherwise: str) -> str:
    """Return the clean title, or another word when there are only dots left of it."""
    safe = clean(title)
    return safe if safe.strip(". ") else otherwise


def split(filename: str) -> tuple[str, str]:
    """Return stem and extension of a file's name; no extension where it would be a strange one."""
    name = clean(filename)
    stem, dot, last = name.rpartition(".")
    extension = dot + last
    if stem and _EXTENSION.fullmatch(extension) and len(extension) <= EXTENSION_LIMIT:
        return stem, extension
    return name.rstrip(". "), ""


class Names:
    """Gives each name in a folder once; names that differ only in case count as the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, folder: str, name: str) -> str:
        """Return `folder/name`, the name with ` (2)` and so on before its extension if taken."""
        number, candidate = 1, name
        while _key(f"{folder}/{candidate}") in self._taken:
            stem, extension = split(name)
            number += 1
            mark = f" ({number}){extension}"
            candidate = cut(stem, NAME_LIMIT - len(mark.encode())).rstrip(". ") + mark
        path = f"{folder}/{candidate}"
        self._taken.add(_key(path))
        return path


def _key(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())
