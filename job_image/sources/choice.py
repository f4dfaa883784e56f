"""What of a lecture is wanted: which rendition, which languages. Pure.

Goes in: the order's `quality` and `captions` as people write them. Comes out: one stream, and the
captions to fetch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from job_image.sources.curriculum import HLS, MP4, Caption, Stream
from job_image.sources.m3u8 import Master, Sound, Variant

_HEIGHT = re.compile(r"\s*(\d{1,5})\s*p?\s*", re.ASCII | re.IGNORECASE)
_EVERYTHING = ("", "all", "*")
BEST = ("best", "highest", "max", "auto")
"""Words for the best quality."""
_NOTHING = ("none", "off", "-")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted and how it is to be named. `height` None: the best; `locales` None: all."""

    height: int | None = None
    locales: frozenset[str] | None = None
    runs_on: bool = False
    """Numbers run on over the chapters instead of beginning anew in each."""
    is_named_by_id: bool = False
    """The course folder is called by the course's id."""
    base: str = ""
    """The platform's address: what links of its texts are relative to."""


def wishes(quality: str | None, captions: str | None) -> Wishes:
    """Read the two fields of the order; words that are no height mean the best."""
    return Wishes(height(quality or ""), _locales(captions or ""))


def height(label: str) -> int | None:
    """Return the height that a label such as "720" or "720p" names; None for any other."""
    found = _HEIGHT.fullmatch(label)
    return int(found[1]) if found else None


def rendition(streams: Iterable[Stream], wanted: int | None) -> Stream | None:
    """Return the MP4 whose height is nearest to `wanted`, or the highest; the first seen of equals.

    Labels that are no heights ("Auto", "audio") are taken only when there is nothing else.
    """
    files = [stream for stream in streams if stream.kind == MP4]
    known = [(tall, one) for one in files if (tall := height(one.label)) is not None]
    if not known:
        return files[0] if files else None
    return known[_nearest([tall for tall, _ in known], wanted)][1]


def _nearest(heights: Sequence[int], wanted: int | None) -> int:
    """Return where the nearest height stands; the highest for None, the first of equals."""
    if wanted is None:
        return heights.index(max(heights))
    return heights.index(min(heights, key=lambda tall: (abs(tall - wanted), -tall)))


def adaptive(streams: Iterable[Stream], wanted: int | None) -> Stream | None:
    """Return the HLS address to read: one for all heights if there is one, else the nearest."""
    lists = [stream for stream in streams if stream.kind == HLS]
    known = [(tall, one) for one in lists if (tall := height(one.label)) is not None]
    for stream in lists:
        if height(stream.label) is None:
            return stream
    return known[_nearest([tall for tall, _ in known], wanted)][1] if known else None


def variant(master: Master, wanted: int | None) -> Variant:
    """Return the rendition whose height is nearest to `wanted`, the richest of equals."""
    known = [one for one in master.variants if one.height is not None]
    by_richness = sorted(known or master.variants, key=lambda one: -one.bandwidth)
    return by_richness[_nearest([one.height or 0 for one in by_richness], wanted)]


def sound(master: Master, taken: Variant) -> Sound | None:
    """Return the sound track that goes with a rendition; None when it has its own."""
    fitting = [one for one in master.sounds if taken.audio and one.group == taken.audio]
    return next((one for one in fitting if one.is_default), fitting[0] if fitting else None)


def captions(offered: Sequence[Caption], wanted: frozenset[str] | None) -> list[Caption]:
    """Return the captions in the wanted languages: "en" takes en_GB too, "en_GB" only itself."""
    if wanted is None:
        return list(offered)
    return [one for one in offered if _same(one.locale) & wanted]


def _same(locale: str) -> set[str]:
    """Return the names by which a locale may be asked for."""
    plain = _normal(locale)
    return {plain, plain.partition("_")[0]}


def _locales(text: str) -> frozenset[str] | None:
    parts = [_normal(part) for part in text.split(",")]
    if any(part in _EVERYTHING for part in parts if part or len(parts) == 1):
        return None
    return frozenset(part for part in parts if part not in _NOTHING)


def _normal(locale: str) -> str:
    return locale.strip().replace("-", "_").lower()
