"""What the cluster holds, as last seen: runs and volumes by name, kept level by three sources.

Goes in: pages of lists, watch events, and the answers to our own writes. Comes out: a snapshot of
`Holding`s, and a signal when it changed. Own writes must be visible at once, while the watch is
still bringing older news; so each entry carries its resource version, and what is older than an
entry never replaces or removes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from dispatcher.executors import Holding, Run, Volume


class Identified(Protocol):
    """Something with an id that no other ever has."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Identified)

ALWAYS = -1
"""A version that cannot be compared: such news is taken as it comes."""

ENDS = 512
"""Ended objects whose ids are remembered: an answer that is later than the watch's news of so many
others is none of a server that works."""


class Shelf(Generic[T]):
    """The objects of one kind by name. Not locked: `Cache` does that."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, T]] = {}
        self._gone: dict[str, tuple[int, str]] = {}
        """Names whose object the server said is gone while the watch may not know it yet: the last
        version known of it, and its id."""
        self._ended: dict[str, None] = {}
        """Ids that the watch said are gone, oldest first. The answer to a write of ours may come
        after that, and would bring an object back of which nothing more is ever heard."""

    @property
    def remembered(self) -> int:
        """How many ended objects are remembered."""
        return len(self._ended)

    def get(self, name: str) -> T | None:
        """Return the object of that name."""
        entry = self._entries.get(name)
        return entry[1] if entry else None

    def put(self, name: str, version: int, value: T) -> bool:
        """Take a newer state of an object; true when it is another than the one known."""
        if self._is_old(name, version) or self._is_gone(name, value.id):
            return False
        if value.id in self._ended:
            return False
        known = self.get(name)
        self._entries[name] = (version, value)
        self._gone.pop(name, None)
        return known != value

    def drop(self, name: str, version: int, object_id: str) -> bool:
        """Take the news that an object is gone; false when its successor is known already."""
        if self._is_gone(name, object_id):
            del self._gone[name]
        self._remember(object_id)
        if self._is_old(name, version):
            return False
        return self._entries.pop(name, None) is not None

    def forget(self, name: str, object_id: str) -> bool:
        """Take the server's word that this very object is gone, ahead of the watch."""
        entry = self._entries.get(name)
        if entry is None or entry[1].id != object_id:
            return False
        del self._entries[name]
        self._gone[name] = (entry[0], object_id)
        return True

    def replace(self, found: Mapping[str, tuple[int, T]], version: int) -> set[str]:
        """Take a whole list made at `version`; return the names that changed."""
        missing = [name for name in self._entries if name not in found]
        changed = {name for name in missing if not self._is_old(name, version)}
        for name in changed:
            _, value = self._entries.pop(name)
            if version != ALWAYS:  # else it may be younger than the list, and come again
                self._remember(value.id)
        changed |= {name for name, (at, value) in found.items() if self.put(name, at, value)}
        # A list without an object is its end only if it is younger than what was known of it.
        self._gone = {n: g for n, g in self._gone.items() if g[0] > version or n in found}
        return changed

    def _remember(self, object_id: str) -> None:
        self._ended[object_id] = None
        if len(self._ended) > ENDS:
            del self._ended[next(iter(self._ended))]

    def _is_old(self, name: str, version: int) -> bool:
        """Whether more is known of `name` than what was true at `version`."""
        entry, gone = self._entries.get(name), self._gone.get(name)
        known = entry[0] if entry else gone[0] if gone else ALWAYS
        return version != ALWAYS and known > version

    def _is_gone(self, name: str, object_id: str) -> bool:
        gone = self._gone.get(name)
        return gone is not None and gone[1] == object_id


class Cache:
    """Runs and volumes under one lock, and who waits for a change."""

    def __init__(self) -> None:
        self.runs: Shelf[Run] = Shelf()
        self.volumes: Shelf[Volume] = Shelf()
        self._holdings: dict[str, Holding] = {}
        self._snapshot: Mapping[str, Holding] | None = None
        self._changed = threading.Condition()
        self._changes = 0
        self._told = 0

    def put(self, shelf: Shelf[T], name: str, version: int, value: T) -> None:
        """Take a state of an object, from a watch or from the answer to an own write."""
        with self._changed:
            if shelf.put(name, version, value):
                self._renew(name)

    def drop(self, shelf: Shelf[T], name: str, version: int, object_id: str) -> None:
        """Take the watch's news that an object is gone."""
        with self._changed:
            if shelf.drop(name, version, object_id):
                self._renew(name)

    def forget(self, shelf: Shelf[T], name: str, object_id: str) -> None:
        """Take the server's own word that an object is gone."""
        with self._changed:
            if shelf.forget(name, object_id):
                self._renew(name)

    def replace(self, shelf: Shelf[T], found: Mapping[str, tuple[int, T]], version: int) -> None:
        """Take a whole list of one kind."""
        with self._changed:
            for name in shelf.replace(found, version):
                self._renew(name)

    def holdings(self) -> Mapping[str, Holding]:
        """Return a snapshot; the same one until something changes."""
        with self._changed:
            if self._snapshot is None:
                self._snapshot = MappingProxyType(self._holdings.copy())
            return self._snapshot

    def wait(self, seconds: float) -> bool:
        """Wait until something has changed since the last call; false after `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._changes == self._told:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            changed = self._changes != self._told
            self._told = self._changes
            return changed

    def wake(self) -> None:
        """End waits: there is something to look at besides objects."""
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def _renew(self, name: str) -> None:
        volume, run = self.volumes.get(name), self.runs.get(name)
        if volume is None and run is None:
            self._holdings.pop(name, None)
        else:
            self._holdings[name] = Holding(name, volume, run)
        self._snapshot = None
        self._changes += 1
        self._changed.notify_all()
