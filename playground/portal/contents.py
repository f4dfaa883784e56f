"""Contents from plain values, for course files and the control API.

In: `{"seed": …, "size": …}`, `{"text": …}`, `{"base64": …}`, `{"file": …}`, or a text alone. Out:
Content. Sizes may be written `12MiB`, so that a course file can be read.
"""

import base64
import re
from pathlib import Path
from typing import Any

from playground.content import Bytes, Content, File, Synthetic, text

UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|)\s*")


class ContentError(ValueError):
    """A content that cannot be understood; the text names the part and the cure."""


def content_from(value: Any, folder: Path | None = None) -> Content:
    """A content from its description; files are found relative to the folder."""
    if isinstance(value, str):
        return text(value)
    if not isinstance(value, dict):
        raise ContentError(
            "A content must be a text, or an object with text, base64, file, or seed and size."
        )
    if "text" in value:
        return text(str(value["text"]))
    if "base64" in value:
        return Bytes(_decoded(str(value["base64"])))
    if "file" in value:
        return _file(str(value["file"]), folder)
    if "size" in value:
        return Synthetic(str(value.get("seed", "playground")), parse_size(value["size"]))
    raise ContentError(f"A content needs one of text, base64, file, size; it has {sorted(value)}.")


def parse_size(value: int | str) -> int:
    """Bytes from a number or from text such as `8 MiB`."""
    found = SIZE.fullmatch(str(value))
    if not found:
        raise ContentError(
            f"Size {value!r} must be a number with nothing, KiB, MiB or GiB after it."
        )
    return int(float(found[1]) * UNITS[found[2]])


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ContentError("The text under 'base64' is no base64.") from error


def _file(name: str, folder: Path | None) -> Content:
    path = (folder or Path()) / name
    if not path.is_file():
        raise ContentError(
            f"There is no file {path}; contents by file are relative to the course file."
        )
    return File(path)
