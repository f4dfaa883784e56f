"""One film that comes as an HLS stream: its playlists, its pieces, and the MP4 they become.

Goes in: a file of the plan whose address is a playlist. Comes out: the pieces that are missing on
the volume, each fetched by any thread of the crew as a file of its own, durable on its own; and at
the end the film. The playlists are read anew in every run, for their tokens have ended; they are
compared by what does not change, and a film that is another one now begins anew. Nothing of two
versions is ever mixed.

    .state/parts/<key>.stream/   playlist.json · <number>.<bytes>.seg · <number>.part · film.mp4
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from contract import fault
from contract.errors import Temporary
from job_image.sandbox import refusals, sync_folder, write_durably
from job_image.sources import address, layout
from job_image.sources.http import Means
from job_image.sources.layout import Cut, Layout
from job_image.sources.links import Links
from job_image.sources.m3u8 import Span
from job_image.sources.part import Part
from job_image.sources.pieces import Slice, Unplayable
from job_image.sources.plan import File
from job_image.sources.playlists import Playlists
from job_image.sources.transfer import Transfer
from job_image.stop import Stop

FOLDER = ".stream"
_PLAYLIST = "playlist.json"
_PIECE = re.compile(r"(\d{5,6})\.(\d+)\.seg", re.ASCII)


def folder_of(parts: Path, key: str) -> Path:
    """Return where the pieces of a film lie until it is whole."""
    return parts / f"{key}{FOLDER}"


def pieces_in(folder: Path) -> dict[int, Path]:
    """Return the finished pieces in a folder, by number; what has not its size counts as none."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        named = _PIECE.fullmatch(path.name)
        if named and path.stat().st_size == int(named[2]):
            found[int(named[1])] = path
    return found


def bytes_in(folder: Path) -> int:
    """Return the bytes of the finished pieces in a folder."""
    return sum(path.stat().st_size for path in pieces_in(folder).values())


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A job: one piece of a film."""

    stream: Stream
    number: int

    @property
    def file(self) -> File:
        """The film that it belongs to."""
        return self.stream.file

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"{self.file.path}, piece {self.number + 1}"


class Stream:
    """One film on its way. `open` first; then every piece, by any thread; `join` last."""

    def __init__(self, file: File, means: Means, folder: Path, wanted: int | None) -> None:
        self.file = file
        self._playlists = Playlists(file, means, wanted)
        self._means = means
        self._folder = folder
        self._lock = threading.Lock()
        self._layout = Layout((), (), "")
        self._keys: dict[str, bytes] = {}
        self._missing: set[int] = set()
        self._is_broken = False

    def open(self, stop: Stop) -> list[Piece]:
        """Read the playlists and return the missing pieces.

        Raise `Protected`, or `Temporary` when there is nothing to rely on.
        """
        playlists, estimate = self._playlists.read(stop)
        self._layout = layout.make(playlists)
        self._keys = {url: self._playlists.key(url, stop) for url in sorted(self._layout.keys)}
        self._prepare()
        self._means.tally.learn(self.file.key, estimate)
        self._missing = set(range(len(self._layout.urls))) - set(pieces_in(self._folder))
        links = Links(self._addresses(self._layout), self._renew, self._means.pace.margin)
        self._means = replace(self._means, links=links)
        return [Piece(self, number) for number in sorted(self._missing)]

    def fetch(self, number: int, stop: Stop) -> bool:
        """Fetch one piece; whether it was the last one missing. Nothing once another has failed."""
        if self._is_broken:
            return False
        try:
            self._fetch(number, stop)
        except Temporary:
            self._is_broken = True
            raise
        with self._lock:
            self._missing.discard(number)
            return not self._missing

    def join(self, target: Path, stop: Stop) -> int:
        """Make the film of its pieces and give it its name; return its bytes.

        Raise `Unplayable` when the pieces make none.
        """
        there = pieces_in(self._folder)
        self._means.space.check(bytes_in(self._folder), self.file.path)
        scratch = self._folder / "film.mp4"
        remux = import_module("job_image.sources.remux")  # late: FFmpeg costs start-up time
        with self._alone(), refusals(scratch):
            tracks = [list(self._runs(cuts, there)) for cuts in self._layout.tracks]
            remux.write(tracks, scratch, stop)
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())
            size = scratch.stat().st_size
            fault.point("fetch:joined")
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(target)
            sync_folder(target.parent)
        return size

    def drop(self) -> None:
        """Forget the pieces: they make no film, or it has been made."""
        with refusals(self._folder):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self) -> None:
        """Have the folder, with nothing in it that belongs to another version of the film."""
        what = {"fingerprint": self._layout.fingerprint, "keys": self._prints()}
        mine = json.dumps(what).encode()
        note = self._folder / _PLAYLIST
        with refusals(note):
            if note.is_file() and note.read_bytes() == mine:
                return
            self.drop()
            self._folder.mkdir(parents=True)
        write_durably(note, mine)

    def _prints(self) -> list[str]:
        """Return what tells keys apart and opens nothing: pieces under an old key are not ours."""
        found = {address.without_query(url): key for url, key in self._keys.items()}
        return [hashlib.sha256(key).hexdigest() for _, key in sorted(found.items())]

    def _fetch(self, number: int, stop: Stop) -> None:
        part = Part(self._folder, f"{number:05}")
        part.load()
        path = Piece(self, number).path
        piece = File(self._name(number), "piece", path, self.file.lecture, None)
        try:
            Transfer(self._means, piece, part, stop).run()
            if not part.offset:
                raise Temporary("A piece of the film is empty.")
            part.become(self._folder / f"{number:05}.{part.offset}.seg")
        finally:
            part.close()

    def _name(self, number: int) -> str:
        return f"{self.file.key}/{number:05}"

    def _addresses(self, found: Layout) -> dict[str, str]:
        return {self._name(number): url for number, url in enumerate(found.urls)}

    def _renew(self, _: str, stop: Stop) -> Mapping[str, str]:
        """Return fresh addresses of the pieces."""
        found = layout.make(self._playlists.read(stop)[0])
        if found.fingerprint != self._layout.fingerprint:
            raise Temporary("The film has changed on the server; it begins anew.")
        return self._addresses(found)

    def _runs(self, cuts: tuple[Cut, ...], there: Mapping[int, Path]) -> Iterator[list[Slice]]:
        runs: dict[int, list[Slice]] = {}
        for cut in cuts:
            one, header = cut.segment, cut.segment.header
            if one.run not in runs:
                runs[one.run] = []
                if header is not None and cut.header is not None:
                    iv = header.key.iv if header.key else None
                    runs[one.run].append(self._slice(header, cut.header, iv or b"", there))
            runs[one.run].append(self._slice(one.span, cut.number, one.iv, there))
        yield from runs.values()

    def _slice(self, span: Span, number: int, iv: bytes, there: Mapping[int, Path]) -> Slice:
        if number not in there:
            raise Unplayable("A piece of the film is gone from the volume.")
        key = self._keys[span.key.url] if span.key else None
        return Slice(there[number], span.start, span.length, key, iv)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep out a thread that an ended attempt has left behind and that wakes up late."""
        with refusals(self._folder), (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
