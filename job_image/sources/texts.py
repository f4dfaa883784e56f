"""Texts of the platform as files: pages for a browser, shortcuts, the list of links. Pure.

Goes in: titles and the platform's HTML, as its authors wrote it. Comes out: one page that needs
nothing beside it. The pages are told to run no scripts: they are opened from the reader's own disk,
where a script may read more than on a web site.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from string import Template

from job_image.sources import naming

_PAGE = Template("""<!DOCTYPE html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="script-src 'none'; object-src 'none'">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { max-width: 50em; margin: 2em auto; padding: 0 1em; font: 1em/1.5 sans-serif }
img { max-width: 100% } pre { overflow-x: auto; background: #eee; padding: .5em }
section { margin: 2em 0 } details { margin: .5em 0 }
</style></head>
<body>
<h1>$title</h1>
$body
</body></html>
""")


def page(title: str, body: str) -> bytes:
    """Return a page with a title; `body` is HTML."""
    text = _PAGE.substitute(title=html.escape(naming.clean(title)), body=body)
    return text.encode("utf-8", "replace")


def shortcut(url: str) -> bytes:
    """Return a link file; control characters would let an address write lines of its own."""
    return f"[InternetShortcut]\r\nURL={_printable(url)}\r\n".encode("utf-8", "replace")


def links(found: Sequence[tuple[str, str]]) -> bytes:
    """Return the list of external links: where each stands in the course, and its address."""
    lines = (f"{name}: {_printable(url)}\n" for name, url in found)
    return "".join(lines).encode("utf-8", "replace")


def _printable(url: str) -> str:
    return "".join(char for char in url if char.isprintable())
