"""The cases of the download: a shape (how many files of what size) under a condition.

Goes in: a case and a folder. Comes out: a portal that serves its course under that condition, and
what a right copy of it has. Conditions: HTTP or HTTPS, a longer way, connections that break, a
server that holds each connection back.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import film
from playground.certificate import make_certificate, server_context
from playground.content import Content, File, Synthetic, chunks
from playground.media.encode import SEGMENT_SECONDS
from playground.portal import Portal, actions
from playground.portal.courses import Chapter, Course, Hls, Rendition, Segment, Video
from playground.portal.portal import Place
from playground.proxy import Proxy

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SEED = 20
"""Of the connections that break: every client meets the same lengths of life in the same order."""


@dataclass(frozen=True)
class Case:
    """One shape under one condition."""

    name: str
    title: str
    count: int
    size: int = 0
    """Bytes of a file; 0: the film in pieces, and `count` is theirs."""
    tls: bool = False
    delay: float = 0.0
    """Seconds each way."""
    rate: int = 0
    """Bytes per second that the server gives each connection."""
    cuts: bool = False
    """Whether the first answer for every file breaks off in its middle."""
    fray: float = 0.0
    """Bytes after which a connection is reset, on average and at random."""
    most: int = 99
    """Most rounds: a case whose time the server's clock decides needs few."""

    @property
    def is_film(self) -> bool:
        return not self.size


FAR = 0.025
"""Seconds each way: 50 ms there and back."""
HELD = 2_000_000
"""Bytes per second of one connection."""

CASES = (
    Case("one-gib", "1 GiB", 1, GIB),
    Case("one-gib-tls", "1 GiB, HTTPS", 1, GIB, tls=True),
    Case("forty", "40 × 25 MiB", 40, 25 * MIB),
    Case("forty-tls", "40 × 25 MiB, HTTPS", 40, 25 * MIB, tls=True),
    Case("small-files", "2,000 × 10 KiB", 2000, 10 * KIB),
    Case("small-files-tls", "2,000 × 10 KiB, HTTPS", 2000, 10 * KIB, tls=True),
    Case("hls", "HLS, 600 pieces", film.PIECES),
    Case("hls-tls", "HLS, 600 pieces, HTTPS", film.PIECES, tls=True),
    Case("far", "40 × 2.5 MiB, 50 ms away", 40, 5 * MIB // 2, delay=FAR),
    Case("far-tls", "40 × 2.5 MiB, 50 ms away, HTTPS", 40, 5 * MIB // 2, delay=FAR, tls=True),
    Case("far-small", "500 × 10 KiB, 50 ms away", 500, 10 * KIB, delay=FAR),
    Case("far-hls", "HLS, 600 pieces, 50 ms away", film.PIECES, delay=FAR),
    Case("cut", "40 × 2.5 MiB, each cut once", 40, 5 * MIB // 2, cuts=True),
    Case("frayed", "20 × 10 MiB, cut at random", 20, 10 * MIB, fray=8e6),
    Case("frayed-tls", "20 × 10 MiB, cut at random, HTTPS", 20, 10 * MIB, fray=8e6, tls=True),
    Case("frayed-hls", "HLS, 600 pieces, cut at random", film.PIECES, fray=8e6),
    Case("held-back", "40 × 2 MiB, 2 MB/s a line", 40, 2 * MIB, rate=HELD, most=2),
    Case("held-back-tls", "40 × 2 MiB, 2 MB/s a line, HTTPS", 40, 2 * MIB, True, rate=HELD, most=2),
    Case("held-back-one", "1 × 40 MiB, 2 MB/s a line", 1, 40 * MIB, rate=HELD, most=1),
)  # fmt: skip

Sum = tuple[int, int]
"""Bytes of a file, and their checksum."""


@dataclass(frozen=True)
class Stage:
    """A portal that serves a case, and what a right copy has."""

    case: Case
    portal: Portal
    url: str
    """Of the course, for the job."""
    keys: Sequence[str]
    """Of the files, or of the pieces."""
    sums: Sequence[Sum]
    """Of the same, sorted."""
    print: film.Print | None
    """Of the film."""
    certificate: Path | None
    ways: Sequence[Proxy]

    @property
    def megabytes(self) -> float:
        """What there is to fetch."""
        return sum(size for size, _ in self.sums) / 1e6

    @property
    def links(self) -> list[str]:
        """Fresh links to the files, or to the pieces."""
        return [self.portal.signed_url(key) for key in self.keys]

    @property
    def playlist(self) -> str:
        """A fresh link to the film's playlist; "" where there is none."""
        return self.portal.signed_url(f"{self.case.name}/001/master.m3u8") if self.print else ""

    def spoil(self) -> None:
        """Set the faults for one run, the same for each."""
        faults, case = self.portal.faults, self.case
        faults.clear()
        if case.rate:
            faults.add("cdn:*", actions.Rate(case.rate), times=None)
        for key in self.keys if case.cuts else ():
            faults.add(f"cdn:{key}", actions.CutBody(case.size // 2))
        for way in self.ways:
            way.fray(case.fray, SEED)


@contextmanager
def stage(case: Case, base: Path) -> Iterator[Stage]:
    """Serve a case; films are made in `base` once and used again."""
    pieces = _pieces(base / "film") if case.is_film else []
    course, keys, contents = _film(case, pieces) if pieces else _files(case)
    certificate = make_certificate(base / "tls") if case.tls else None
    with ExitStack() as stack:
        portal, ways = _open(stack, case, course, certificate)
        host = f"{portal.api_server.scheme}://127.0.0.1"
        url = f"{host}:{ways[0].port}/course/{case.name}/" if ways else portal.course_url(case.name)
        found = film.look(base / "film/index.m3u8") if pieces else None
        sums = sorted(_sum(one) for one in contents)
        yield Stage(case, portal, url, keys, sums, found, certificate, ways)


def _open(
    stack: ExitStack, case: Case, course: Course, certificate: Path | None
) -> tuple[Portal, list[Proxy]]:
    """Start the portal, and the ways to it where they are worse than the loopback."""
    tls = server_context(certificate.parent) if certificate else None
    if not (case.delay or case.fray):
        return stack.enter_context(Portal([course], tls=tls)), []
    api, cdn = _free(), _free()
    ways = [
        stack.enter_context(Proxy(("127.0.0.1", port), delay=case.delay)) for port in (api, cdn)
    ]
    far = f"{'https' if tls else 'http'}://127.0.0.1:{ways[1].port}"
    place = Place(port=api, cdn_port=cdn, public_cdn=far)
    return stack.enter_context(Portal([course], place=place, tls=tls)), ways


def _free() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ts")) or film.make(folder)


def _film(case: Case, pieces: Sequence[Path]) -> tuple[Course, list[str], list[Content]]:
    contents: list[Content] = [File(path) for path in pieces]
    segments = tuple(Segment(one, float(SEGMENT_SECONDS)) for one in contents)
    item = Hls("Film", {360: Rendition(segments, film.CLIP.bits_per_second)})
    keys = [f"{case.name}/001/hls/360/{number:05}.ts" for number in range(len(contents))]
    return _course(case, item), keys, contents


def _files(case: Case) -> tuple[Course, list[str], list[Content]]:
    contents: list[Content] = [
        Synthetic(f"{case.name}-{number}", case.size) for number in range(case.count)
    ]
    items = [Video(f"Lecture {n}", {720: one}) for n, one in enumerate(contents)]
    keys = [f"{case.name}/{number:03}/720.mp4" for number in range(1, case.count + 1)]
    return _course(case, *items), keys, contents


def _course(case: Case, *items: Video | Hls) -> Course:
    return Course(case.name, case.name, chapters=(Chapter("All", items),))


def _sum(content: Content) -> Sum:
    checksum = 0
    for chunk in chunks(content):
        checksum = zlib.crc32(chunk, checksum)
    return content.size, checksum


def fault_of(copy: Path, stage: Stage) -> str:
    """Return what is wrong with a copy; "" when it is right."""
    files = [one for one in copy.rglob("*") if one.suffix in (".mp4", ".ts")]
    if stage.print and len(files) == 1:
        found = film.look(files[0])
        fault = f"wrong bytes: {found[0]} pictures of {stage.print[0]}, or other ones"
        return "" if found == stage.print else fault
    sums = sorted(_sum(File(one)) for one in files)
    if sums == list(stage.sums):
        return ""
    missing = len(set(stage.sums) - set(sums))
    return f"wrong bytes: {missing} of {len(stage.sums)} files are missing or wrong"
