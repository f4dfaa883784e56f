"""Signed addresses of files: when they end, and how to get fresh ones.

Goes in: the addresses of the curriculum, and a way to ask for one lecture again. Comes out: an
address that is good now. The addresses of a course are all given out at once and die after hours,
so each is looked at before use, and renewed lecture by lecture, once for all threads that wait.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from contract.errors import Temporary
from job_image.sources import address
from job_image.stop import Stop

Renew = Callable[[str, Stop], Mapping[str, str]]
"""From a lecture's id to the fresh addresses of its files, by their keys."""


_PLAIN = re.compile(r"[?&]Expires=([0-9]{1,15})(?=[&#]|$)")
"""The common form, read without taking the whole query apart."""


def expiry(url: str) -> float | None:
    """Return the Unix time at which a signed address ends; None when it does not say.

    Three forms: `Expires=<unix>`, `secure=<mac>,<unix>`, `token=<JWT with exp>`.
    """
    found = _PLAIN.search(url)
    if found and url.count("xpires") == 1 and "%" not in url:
        return float(found[1])
    try:
        query = parse_qs(address.parts(url).query)
    except ValueError:
        return None  # more fields than any address has
    last = {name: values[-1] for name, values in query.items()}
    text = last.get("Expires") or last.get("secure", "").rpartition(",")[2]
    if text.isascii() and text.isdigit():
        return float(text[:15])
    return _expiry_of_token(last.get("token", ""))


def _expiry_of_token(token: str) -> float | None:
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        data = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(data["exp"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None


class Links:
    """The addresses of all files of a course, by key. Thread-safe."""

    def __init__(self, urls: Mapping[str, str], renew: Renew, margin: float) -> None:
        self._urls = dict(urls)
        self._renew = renew
        self._margin = margin
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()

    def get(self, key: str, lecture: str, stop: Stop) -> str:
        """Return an address that lives for a while yet, as far as anyone can tell."""
        url = self._urls[key]
        ends = expiry(url)
        if ends is None or ends - time.time() >= self._margin:
            return url
        return self.renew(key, lecture, url, stop)

    def known(self, key: str) -> str:
        """Return an address as it is, good or not; "" when there is none."""
        return self._urls.get(key, "")

    def renew(self, key: str, lecture: str, stale: str, stop: Stop) -> str:
        """Return another address than `stale`. Raise `Temporary` when the file is gone."""
        with self._guard:
            lock = self._locks[lecture]
        with lock:
            if self._urls.get(key) == stale:
                fresh = self._renew(lecture, stop)
                if key not in fresh:
                    raise Temporary(
                        "The platform does not offer this file any more.",
                        advice="The course has changed; the next attempt reads it anew.",
                    )
                self._urls.update(fresh)
            return self._urls[key]
