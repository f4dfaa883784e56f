"""Where a course comes from: a source fetches it into the sandbox, resumable at any moment.

A source is a function `fetch(context) -> Fetched`. It raises the errors of `contract.errors`; after
any error or kill, calling it again on the same sandbox goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """One item that was left out on purpose. `reason` is short: `drm`, `kind: quiz`, …"""

    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies in the sandbox now. `folder` is the course folder's name below its root."""

    folder: str
    files: int
    bytes_fetched: int
    bytes_reused: int
    skipped: tuple[Skipped, ...] = ()
