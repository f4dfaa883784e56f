"""Images of a text: found in its HTML, and their links replaced. Pure.

Goes in: HTML as authors and editors write it, broken as it may be. Comes out: the addresses of its
images, or the same HTML with some of them replaced. Only the value of `src` is touched: whoever
parses and writes HTML anew repairs what was never broken.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from job_image.sources import address

MOST = 300
"""Images of one text that are fetched; links to further ones are kept."""

_TAG = re.compile(r"<img\b(?:[^>\"']|\"[^\"]*\"|'[^']*')*>", re.IGNORECASE)
_SRC = re.compile(r"(?<=\s)src\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))", re.IGNORECASE)
_SETS = re.compile(r"\ssrcset\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+)", re.IGNORECASE)


def find(text: str, base: str) -> list[str]:
    """Return the addresses of the images of a text, each once, as seen from `base`."""
    found: dict[str, None] = {}
    for tag in _TAG.finditer(text):
        url = _address(tag[0], base)
        if url and len(found) < MOST:
            found[url] = None
    return list(found)


def replace(text: str, base: str, by: Mapping[str, str]) -> str:
    """Return the text with the images' addresses replaced where `by` has another link."""

    def changed(tag: re.Match[str]) -> str:
        link = by.get(_address(tag[0], base))
        if link is None:
            return tag[0]
        mine = f'src="{html.escape(link)}"'
        return _SETS.sub("", _SRC.sub(lambda _: mine, tag[0], count=1))

    return _TAG.sub(changed, text)


def _address(tag: str, base: str) -> str:
    found = _SRC.search(tag)
    if not found:
        return ""
    written = html.unescape(found[1] or found[2] or found[3] or "").strip()
    return address.join(base, written) if written else ""
