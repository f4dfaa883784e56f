"""The rules of resuming a file over HTTP, as pure functions: what to ask, how to read the answer.

Goes in: how many bytes there are and what is known of the object they belong to. Comes out: the
request's headers, and for an answer one of four verdicts. A range is asked only under a condition
that proves that the object is still the same: a strong ETag, an old enough date, or, failing both,
the last 64 KiB again to be compared. Content-Range decides first and the status second, because
servers exist that send the range asked for under 200.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from functools import lru_cache

OVERLAP = 64 * 1024
"""Bytes fetched twice and compared when no validator can vouch for the object."""

DATE_AGE = 60.0
"""Seconds that Last-Modified must lie before Date: a younger one may change within its second."""

_CONTENT_RANGE = re.compile(
    r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE
)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_NO_RANGE = re.compile(r"bytes\s+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the object that the bytes belong to; "" and None: nothing."""

    etag: str = ""
    modified: str = ""
    """Last-Modified, only when it is old enough to be relied on."""
    total: int | None = None

    @property
    def strong(self) -> str:
        """The validator that If-Range may carry; "" when there is none."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: from which byte on, and its headers."""

    start: int
    headers: Mapping[str, str]


class Do(Enum):
    """What to do with an answer."""

    WHOLE = auto()
    """The body is the whole object: begin at byte 0."""
    REST = auto()
    """The body goes on at the byte asked for."""
    DONE = auto()
    """Nothing is missing."""
    ANEW = auto()
    """The answer does not fit what is there: drop that and ask for the whole."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reading of an answer. `stop`: the byte after the last one to come, None if not told."""

    do: Do
    known: Known = Known()
    stop: int | None = None


def ask(offset: int, known: Known, stop: int | None = None) -> Ask:
    """Return the request for what comes after `offset` bytes, up to the byte `stop` if given."""
    if offset and known.strong:
        last = "" if stop in (None, known.total) else (stop or 0) - 1
        return Ask(offset, {"Range": f"bytes={offset}-{last}", "If-Range": known.strong})
    if offset > OVERLAP:
        return Ask(offset - OVERLAP, {"Range": f"bytes={offset - OVERLAP}-"})
    return Ask(0, {})


def read(status: int, headers: Mapping[str, str], asked: Ask, offset: int, known: Known) -> Reply:
    """Read an answer of status 200, 206 or 416; any other status is `ANEW`."""
    if status == 416:
        return _nothing_there(headers, asked, offset, known)
    if status not in (200, 206):
        return Reply(Do.ANEW)
    claimed = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if claimed:
        return _part(claimed, headers, asked, known)
    return _whole(headers) if status == 200 else Reply(Do.ANEW)


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the body is compressed, although nobody asked for it; offsets mean nothing then."""
    return headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def may_split(headers: Mapping[str, str], known: Known) -> bool:
    """Whether parts of the object may be asked for on further lines, each proven to be of it."""
    refuses = headers.get("Accept-Ranges", "").strip().lower() == "none"
    return bool(known.strong and known.total) and not is_encoded(headers) and not refuses


def is_open_ended(headers: Mapping[str, str]) -> bool:
    """Whether only the end of the connection tells the end of the body: it proves nothing."""
    return "Content-Length" not in headers and "chunked" not in (
        headers.get("Transfer-Encoding", "").lower()
    )


def _nothing_there(headers: Mapping[str, str], asked: Ask, offset: int, known: Known) -> Reply:
    found = _NO_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    total = int(found[1]) if found else None
    if asked.start == offset == total and offset and known.total in (None, total):
        return Reply(Do.DONE, replace(known, total=total))
    return Reply(Do.ANEW)


def _part(claimed: re.Match[str], headers: Mapping[str, str], asked: Ask, known: Known) -> Reply:
    start, last, whole = int(claimed[1]), int(claimed[2]), claimed[3]
    total = None if whole == "*" else int(whole)
    if start != asked.start or last < start or is_encoded(headers):
        return Reply(Do.ANEW)
    if start == 0:
        return Reply(Do.WHOLE, replace(_describe(headers), total=total), last + 1)
    if total is None or known.total not in (None, total) or _differs(headers, known):
        return Reply(Do.ANEW)
    return Reply(Do.REST, replace(known, total=total), last + 1)


def _whole(headers: Mapping[str, str]) -> Reply:
    if is_encoded(headers):
        return Reply(Do.WHOLE)  # its length and its validators are those of the packed form
    known = _describe(headers)
    return Reply(Do.WHOLE, known, known.total)


def _describe(headers: Mapping[str, str]) -> Known:
    length = headers.get("Content-Length", "").strip()
    total = int(length) if _LENGTH.fullmatch(length) else None
    return Known(headers.get("ETag", "").strip(), _reliable_date(headers), total)


def _reliable_date(headers: Mapping[str, str]) -> str:
    modified = headers.get("Last-Modified", "").strip()
    try:
        age = _date(headers.get("Date", "")) - _date(modified)
    except (ValueError, TypeError, OverflowError, IndexError):
        return ""
    return modified if age.total_seconds() >= DATE_AGE else ""


@lru_cache(64)  # a server's answers of one second carry one date
def _date(text: str) -> datetime:
    return parsedate_to_datetime(text)


def _differs(headers: Mapping[str, str], known: Known) -> bool:
    """Whether the answer names another object: by its ETag, or by its date where no ETag is strong.

    Servers behind one name may give one object several dates, so a strong ETag outweighs them.
    """
    now = headers.get("ETag", "").strip()
    if now and known.etag and now.removeprefix("W/") != known.etag.removeprefix("W/"):
        return True
    if known.strong == known.etag and known.etag:
        return False
    modified = headers.get("Last-Modified", "").strip()
    return bool(modified and known.modified) and modified != known.modified
