"""The playlists and keys of one film, fetched and read.

Goes in: a file of the plan whose address is a playlist, and the wished height. Comes out: the media
playlist of the chosen rendition, and the sound's where that has one of its own. Links inside are
relative to where the playlist came from in the end, redirects included. What a fresh address could
mend is mended at the first playlist only; all others are seconds old.
"""

from __future__ import annotations

from collections.abc import Callable

from contract.errors import Temporary
from job_image.sources import choice, m3u8
from job_image.sources.documents import Documents
from job_image.sources.http import Means
from job_image.sources.m3u8 import Master, Media
from job_image.sources.plan import File
from job_image.stop import Stop


class Protected(Exception):
    """The film is under DRM: it is left out, and said so."""


class Playlists:
    """Reads the playlists of one film."""

    def __init__(self, file: File, means: Means, wanted: int | None) -> None:
        self._file = file
        self._links = means.links
        self._documents = Documents(means)
        self._wanted = wanted

    def read(self, stop: Stop) -> tuple[list[Media], int | None]:
        """Return the playlists of picture and sound, and the bytes to expect where that is told.

        Raise `Protected`, or `Temporary` when they cannot be had or read.
        """
        key, lecture = self._file.key, self._file.lecture
        first = self._playlist(
            lambda: self._links.get(key, lecture, stop),
            lambda stale: self._links.renew(key, lecture, stale, stop),
            stop,
        )
        if isinstance(first, Media):
            return [first], None
        taken = choice.variant(first, self._wanted)
        found = [self._media(taken.url, stop)]
        if sound := choice.sound(first, taken):
            found.append(self._media(sound.url, stop))
        return found, int(taken.bandwidth / 8 * found[0].seconds) or None

    def key(self, url: str, stop: Stop) -> bytes:
        """Return the 16 bytes of a key."""
        key = self._documents.get(lambda: url, None, "The key of the film", stop).content
        if len(key) != 16:
            raise Temporary(f"The key of the film has {len(key)} bytes instead of 16.")
        return key

    def _media(self, url: str, stop: Stop) -> Media:
        found = self._playlist(lambda: url, None, stop)
        if isinstance(found, Master):
            raise Temporary("The playlist of a rendition names renditions again.")
        return found

    def _playlist(
        self, address: Callable[[], str], renew: Callable[[str], object] | None, stop: Stop
    ) -> Master | Media:
        document = self._documents.get(address, renew, "The playlist", stop)
        try:
            return m3u8.read(document.content.decode("utf-8", "replace"), document.url)
        except m3u8.Protected as exc:
            raise Protected from exc
        except m3u8.Unreadable as exc:
            raise Temporary(f"The playlist cannot be used: {exc}.") from exc
