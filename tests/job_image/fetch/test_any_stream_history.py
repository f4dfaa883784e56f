"""Whatever happens to a film in pieces on its way, in any order: its bytes are one version's."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.errors import Temporary
from job_image.sources import remux
from job_image.sources.pieces import Slice
from job_image.stop import Stop
from playground.content import Bytes
from playground.portal import Portal, actions
from playground.wire import Reply, Request
from tests.job_image.fetch.footage import FOLDER, NAME, SLUG, Footage, Says, course, read, sealed
from tests.job_image.fetch.order import QUICK, Order, run_child, started

IMPATIENT = replace(QUICK, base=0.001, tries=1, restarts=1)
END = "#EXT-X-ENDLIST"
IV = bytes(range(16))
FIRST_KEY, OTHER_KEY = b"sixteen byte key", b"another 16 bytes"
SEALED, KEY = (5, 6, 7), 8
"""Numbers of the encrypted objects, and of their key; before them lie those of two films."""

VERSIONS = {
    "plain": (0, 1, 2),
    "other": (3, 4),
    "swapped": (2, 1, 0),
    "both": (0, 1, 2, 3, 4),
    "sealed": SEALED,
}
"""Which objects a playlist names, in its order."""


@dataclass(frozen=True)
class Publish:
    """Another playlist from now on, or after so many reads of the old one."""

    version: str
    after: int = 0


@dataclass(frozen=True)
class Swap:
    """Another piece under the address of an old one."""

    number: int
    piece: int


@dataclass(frozen=True)
class Rekey:
    """The encrypted pieces and their key are others, under the same addresses."""

    key: bytes


@dataclass(frozen=True)
class Kill:
    """A run that is killed while a piece comes, or at a point."""

    at: int | str


@dataclass(frozen=True)
class Trouble:
    """What happens to the nth request of something in the next run; None: all links end there."""

    of: str | int
    """A name, or which of the playlist's pieces."""
    action: actions.Action | None
    skip: int = 0
    times: int | None = 1


@dataclass(frozen=True)
class Lose:
    """A finished film is gone from the volume: it is made anew."""


Change = Publish | Swap | Rekey | Lose | None
"""What changes between two runs."""
Run = Kill | Sequence[Trouble]
"""What happens in one."""


class Expires(actions.Action):
    """Every link given out so far is over, in the middle of a run."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def on_reply(self, request: Request, reply: Reply) -> Reply:
        self._portal.expire_links()
        return reply


PIECE = st.integers(0, 4)
TARGET = PIECE | st.sampled_from(
    ["hls/144/index.m3u8", "master.m3u8", "hls/144/*.ts", f"hls/144/{KEY:05}.ts"]
)
ACTION = st.one_of(
    st.builds(
        actions.CutBody, after=st.integers(0, 60_000), how=st.sampled_from(["reset", "close"])
    ),
    st.sampled_from(
        [
            None,
            actions.Expired(),
            actions.Expired(410),
            actions.Drop(),
            actions.Html(),
            actions.Status(503),
            actions.Status(404),
            actions.Gzip(),
            actions.Chunked(),
            actions.Unframed(),
            actions.IgnoreRange(),
            actions.NoEtag(also_date=True),
            actions.ReplaceObject("noise"),
        ]
    ),
)
TROUBLE = st.builds(Trouble, TARGET, ACTION, st.integers(0, 2))
MISSING = st.builds(Trouble, PIECE, st.just(actions.Status(404)), times=st.none())
"""Leaves a film half fetched."""
TROUBLES = st.lists(TROUBLE, max_size=2).flatmap(
    lambda some: st.lists(MISSING, min_size=1, max_size=2).map(lambda more: [*some, *more])
)
NAMES = st.sampled_from(sorted(VERSIONS))
CHANGES = st.one_of(
    st.builds(Publish, NAMES),
    st.builds(Publish, NAMES, st.integers(1, 2)),
    st.builds(Rekey, st.sampled_from([FIRST_KEY, OTHER_KEY])),
    st.builds(Swap, st.integers(0, 4), st.integers(0, 4)),
    st.sampled_from([None, Lose()]),
)
KILLS = st.builds(Kill, st.integers(0, 4) | st.sampled_from(["fetch:joined", "fetch:named"]))
RUNS = st.one_of(TROUBLES, TROUBLES, TROUBLES, st.lists(TROUBLE, min_size=1, max_size=3), KILLS)
HISTORIES = st.lists(st.tuples(CHANGES, RUNS), min_size=1, max_size=5)


@dataclass
class World:
    """A portal with two films, what it has published of them, and one order."""

    portal: Portal
    order: Order
    pieces: Sequence[bytes]
    version: str = "plain"
    ever: set[str] = field(default_factory=set)
    contents: dict[int, set[int]] = field(default_factory=dict)
    """Of each address: the pieces that ever lay there, as numbers."""

    def key_of(self, number: int) -> str:
        return f"{SLUG}/001/hls/144/{number:05}.ts"

    def piece(self, at: int) -> str:
        """Return the key of a piece of the playlist."""
        numbers = VERSIONS[self.version]
        return self.key_of(numbers[at % len(numbers)])

    def change(self, what: Change) -> None:
        """Let the world be another one."""
        match what:
            case Publish(version, after):
                self.publish(version, after)
            case Swap(number, piece):
                self.contents[number].add(piece)
                self.portal.replace(self.key_of(number), Bytes(self.pieces[piece]))
            case Rekey(key):
                self.seal(key)
            case Lose():
                self.order.path(NAME).unlink(missing_ok=True)

    def run(self, what: Run) -> None:
        """Fetch once, and let it happen meanwhile."""
        if isinstance(what, Kill):
            self.kill(what.at)
        else:
            for one in what:
                self._trouble(one)
            with suppress(Temporary):
                self.order.fetch()
        self.portal.faults.clear()
        self._say(self.version, 0, None)

    def publish(self, version: str, after: int) -> None:
        """Let the next run meet the old playlist so many times, then the new one."""
        self.portal.faults.clear()
        self._say(self.version, 0, after)
        self._say(version, after, None)
        self.version = version
        self.ever.add(version)

    def seal(self, key: bytes) -> None:
        for number, piece in zip(SEALED, self.pieces, strict=False):
            self.portal.replace(self.key_of(number), sealed(piece, key, IV))
        self.portal.replace(self.key_of(KEY), Bytes(key))

    def kill(self, at: int | str) -> None:
        """Run in a process of its own, which is killed if it gets there."""
        if isinstance(at, str):
            run_child(self.order, COURSE_RUNNER_FAULT=at)
            return
        target = f"cdn:{self.piece(at)}"
        self.portal.faults.add(target, actions.StallBody(20_000))
        self.portal.ledger.reset()
        with started(self.order) as child:
            _until(lambda: bool(self.portal.ledger.of(target).stalled), child)

    def right(self) -> Iterator[tuple[int, ...]]:
        """Give every film that may come of this: pieces whole, in the order of one playlist."""
        for version in sorted(self.ever):
            if version == "sealed":
                yield (0, 1, 2)
            else:
                yield from itertools.product(*(self.contents[n] for n in VERSIONS[version]))

    def _trouble(self, one: Trouble) -> None:
        action = one.action or Expires(self.portal)
        key = self.piece(one.of) if isinstance(one.of, int) else f"{SLUG}/001/{one.of}"
        self.portal.faults.add(f"cdn:{key}", action, skip=one.skip, times=one.times)

    def _say(self, version: str, skip: int, times: int | None) -> None:
        lines = ["#EXTM3U"]
        if version == "sealed":
            lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="{{{KEY:05}.ts}}",IV=0x{IV.hex()}')
        for number in VERSIONS[version]:
            lines += ["#EXTINF:2,", f"{{{number:05}.ts}}"]
        said = Says(self.order, "\n".join([*lines, END, ""]))
        self.portal.faults.add(f"{FOLDER}/144/index.m3u8", said, skip=skip, times=times)


def _until(is_so: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while child.poll() is None and not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)  # between two looks


class Films:
    """What films of these pieces look like, byte by byte, when nothing happens to them."""

    def __init__(self, footage: Footage, folder: Path) -> None:
        self.pieces = [read(one) for one in (*footage.plain, *footage.other)]
        self._folder = folder
        self._known: dict[tuple[int, ...], bytes] = {}
        for number, piece in enumerate(self.pieces):
            (folder / f"{number}.ts").write_bytes(piece)

    def film(self, numbers: tuple[int, ...]) -> bytes:
        if numbers not in self._known:
            target = self._folder / "film.mp4"
            remux.write([[[Slice(self._folder / f"{n}.ts") for n in numbers]]], target, Stop())
            self._known[numbers] = target.read_bytes()
        return self._known[numbers]


@pytest.fixture(scope="module")
def films(footage: Footage, tmp_path_factory: pytest.TempPathFactory) -> Films:
    """The films."""
    return Films(footage, tmp_path_factory.mktemp("films"))


def test_different_pieces_make_different_films(films: Films) -> None:
    """The comparison below can fail: no two films have the same bytes, and joining repeats."""
    found = [films.film(numbers) for numbers in ((0, 1, 2), (2, 1, 0), (3, 4), (0, 4, 2), (0, 1))]
    assert len(set(found)) == len(found)
    films._known.clear()
    assert films.film((0, 1, 2)) == found[0]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(first=NAMES, history=HISTORIES)
def test_the_film_is_of_whole_pieces_of_one_playlist(
    films: Films, first: str, history: list[tuple[Change, Run]]
) -> None:
    """Kills, cuts, ended links, swapped pieces, other playlists and other keys, in any order, never
    mix two playlists, break a piece or leave one out.
    """
    contents = [*map(Bytes, films.pieces), *[Bytes(b"")] * 4]
    root = Path(tempfile.mkdtemp())
    try:
        with Portal([course(contents)]) as portal:
            order = Order(portal, root, SLUG, pace=IMPATIENT, out=io.StringIO())
            world = World(portal, order, films.pieces)
            world.contents = {number: {number} for number in range(len(films.pieces))}
            world.seal(FIRST_KEY)
            world.publish(first, 0)
            for change, run in history:
                world.change(change)
                world.run(run)
            world.order.fetch()
        film = order.read(NAME)
        assert any(film == films.film(numbers) for numbers in world.right())
        assert not any((root / ".state/parts").iterdir())
    finally:
        shutil.rmtree(root)
