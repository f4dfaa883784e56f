"""The way of one kind of object into the cache: JSON in, what the dispatcher goes by out.

Lists, watches and the answers to own writes all go this way, so that all are read alike and the
cache alone decides which is the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic

from dispatcher.executors.kubernetes.cache import Cache, Shelf, T
from dispatcher.executors.kubernetes.readings import Json, id_of, name_of, version_of


class Feed(Generic[T]):
    """Brings objects of one kind onto one shelf."""

    def __init__(self, cache: Cache, shelf: Shelf[T], read: Callable[[Json], T]) -> None:
        self._cache = cache
        self._shelf = shelf
        self._read = read

    def read(self, obj: Json) -> tuple[str, int, T]:
        """Return the object's name, its version, and what counts of it."""
        return name_of(obj), version_of(obj), self._read(obj)

    def seen(self, obj: Json) -> None:
        """Take an object as a watch, a look or a write has shown it."""
        self._cache.put(self._shelf, *self.read(obj))

    def gone(self, obj: Json) -> None:
        """Take a watch's word that an object is gone; `obj` is its last state."""
        self._cache.drop(self._shelf, name_of(obj), version_of(obj), id_of(obj))

    def forget(self, name: str, object_id: str) -> None:
        """Take the server's answer to our question: this very object is gone."""
        self._cache.forget(self._shelf, name, object_id)

    def removed(self, name: str, object_id: str, answer: Json) -> None:
        """Take the answer to a removal: the object if it lingers, a Status if it is gone."""
        if id_of(answer) == object_id:
            self.seen(answer)
        else:
            self.forget(name, object_id)

    def listed(self, found: Mapping[str, tuple[int, T]], version: int) -> None:
        """Take a whole list: what is not in it is gone, unless it is younger than the list."""
        self._cache.replace(self._shelf, found, version)
