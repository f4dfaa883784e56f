"""Further lines at servers that answer ranges badly: few requests, and the file is whole."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contract.env import Secret
from contract.errors import Temporary
from contract.log import Log
from job_image.progress import Progress
from job_image.sources.helper import Help, Helper
from job_image.sources.http import Means
from job_image.sources.links import Links
from job_image.sources.pace import Pace, Patience
from job_image.sources.part import Part
from job_image.sources.plan import File
from job_image.sources.ranges import Known
from job_image.sources.share import FAILURES, Share
from job_image.sources.space import Space
from job_image.sources.tally import Tally
from job_image.sources.transfer import Transfer
from job_image.sources.wire import Wire
from job_image.stop import Stop
from playground.content import Synthetic
from tests.job_image.fetch.film import whole
from tests.job_image.fetch.order import QUICK

BODY = whole(Synthetic("helped", 2_000_000))
HALF = len(BODY) // 2
LEAST = 200_000
FILE = File("key", "video", "film.mp4", "1", None)


@dataclass
class Server:
    """Answers a request for the whole with `first` bytes of it, and ranges by `ranged`."""

    first: int = HALF
    ranged: Callable[[BaseHTTPRequestHandler, int, int], None] = lambda *_: None
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(wanted := to.headers.get("Range", ""))
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted):
            self.ranged(to, int(found[1]), int(found[2] or len(BODY) - 1))
            return
        head(to, 200, **{"Content-Length": str(len(BODY)), "Accept-Ranges": "bytes"})
        to.wfile.write(BODY[: self.first])
        to.close_connection = True


def head(to: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    """Send the head of an answer."""
    to.send_response(status)
    for name, value in {"ETag": '"one"', "Content-Type": "video/mp4", **headers}.items():
        to.send_header(name, value)
    to.end_headers()


def empty(to: BaseHTTPRequestHandler, start: int, last: int) -> None:
    """Announce a range, and end the chunks before the first byte of it."""
    claim = f"bytes {start}-{last}/{len(BODY)}"
    head(to, 206, **{"Content-Range": claim, "Transfer-Encoding": "chunked"})
    to.wfile.write(b"0\r\n\r\n")


def too_many(to: BaseHTTPRequestHandler, *_: int) -> None:
    """Ask for fewer requests."""
    head(to, 429, **{"Content-Length": "0", "Retry-After": "0"})


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine."""
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    found.url = f"http://127.0.0.1:{listening.server_address[1]}/film.mp4"
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    listening.shutdown()
    listening.server_close()


def means(server: Server, folder: Path, pace: Pace = QUICK) -> Means:
    """What a transfer of the server's file needs."""
    links = Links({FILE.key: server.url}, lambda *_: {FILE.key: server.url}, 60.0)
    wire = Wire("http://127.0.0.1:1", Secret("token"), pace, 4)
    tally = Tally(Progress(), Log.for_task(7))
    return Means(wire, links, pace, Patience(pace), Space(folder), tally)


@pytest.fixture
def begun(tmp_path: Path) -> Share:
    """A file of which the beginning is there, under way on its own line."""
    share = Share(Part(tmp_path, FILE.key), LEAST)
    mine = share.next(Stop())
    assert mine is not None
    share.begin(mine, Known('"one"', total=len(BODY)))
    share.write(mine, memoryview(BODY)[:LEAST])
    share.allow(True)
    return share


def help_with(share: Share, server: Server, folder: Path) -> bool:
    """Let a further line bring what it can; whether there was anything for one to bring."""
    if (mine := share.spare()) is None:
        return False
    Helper(means(server, folder), Help(FILE, share, mine), Stop()).run()
    return True


def test_a_range_that_ends_before_its_first_byte_is_a_failure(
    server: Server, tmp_path: Path
) -> None:
    """Well-formed answers without a byte are counted as tries, like every other one."""
    server.ranged = empty
    part = Part(tmp_path, FILE.key)
    with pytest.raises(Temporary, match="less than it had announced"):
        Transfer(means(server, tmp_path), FILE, part, Stop(), Share(part)).run()
    assert len(server.asked) <= 1 + QUICK.tries


def test_a_further_line_is_not_asked_again_for_nothing(
    server: Server, begun: Share, tmp_path: Path
) -> None:
    """Three of them in a row without a byte, and the file's own line is alone."""
    server.ranged = empty
    while help_with(begun, server, tmp_path):
        assert len(server.asked) < 10
    assert len(server.asked) == FAILURES


def test_a_further_line_that_is_one_too_many_is_the_last(
    server: Server, begun: Share, tmp_path: Path
) -> None:
    """After a 429 the file's own line is alone for good; the run's patience is not used up."""
    server.ranged = too_many
    assert help_with(begun, server, tmp_path)
    assert not begun.allow(True)
    assert not help_with(begun, server, tmp_path)
    assert len(server.asked) == 1
