"""HTTP/1.1 as servers really speak it: every way to frame a body, and every way to get it wrong."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.env import Secret
from contract.errors import Misconfigured, Temporary
from job_image.sources.exchange import Exchange, request
from job_image.sources.line import Broken, Line, Via
from job_image.sources.pace import Pace
from job_image.sources.wire import Wire

PACE = Pace(connect=2.0, read=2.0)
OK = b"HTTP/1.1 200 OK\r\n"


def answer(*sent: bytes) -> Exchange:
    """The answer to a request that a server sends like this, and then closes."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=_say, args=(theirs, sent), daemon=True).start()
    return Exchange(Line(ours, Via()))


def _say(sock: socket.socket, pieces: tuple[bytes, ...]) -> None:
    with sock, suppress(OSError):  # the client may have seen enough
        for piece in pieces:
            sock.sendall(piece)


def body(found: Exchange, most: int = 1 << 20) -> bytes:
    return b"".join(iter(lambda: bytes(found.unpacked(most)), b""))


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"content-length:5\r\n\r\nhello and more", b"hello"),
        (OK + b"Content-Length: 5, 5\r\n\r\nhello", b"hello"),
        (OK + b"\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\nContent-Length: 5\n\nhello", b"hello"),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", b"hi"),
        (CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"3;a=b\r\nhel\r\n02 \r\nlo\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    ],
)
def test_a_body_is_what_the_server_says_it_is(sent: bytes, said: bytes) -> None:
    """Lengths, chunks and ends of the connection, whole or a byte at a time."""
    assert body(answer(sent)) == said
    assert body(answer(*(bytes([byte]) for byte in sent)), most=1) == said


@pytest.mark.parametrize(
    "sent",
    [
        OK + b"Content-Length: 6\r\n\r\nhello",
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        CHUNKED + b"5\r\nhelloo\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"ffffffffffffffffff\r\nhello",
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello")[:-6],
        OK + b"Content-Encoding: gzip\r\n\r\nhello",
    ],
)
def test_a_body_that_breaks_off_never_looks_whole(sent: bytes) -> None:
    """Whatever ends before its time, or is not what it says, is an error."""
    with pytest.raises(Broken):
        body(answer(sent))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"hello\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: five\r\n\r\nhello",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"X: " + b"x" * 200_000,
    ],
)
def test_what_is_no_answer_is_refused(sent: bytes) -> None:
    """Nothing is guessed at: two lengths, another protocol, a head without end."""
    with pytest.raises(Broken):
        answer(sent)


@pytest.mark.parametrize("most", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        (b"gzip", gzip.compress(b"hello " * 5000)),
        (b"GZIP", gzip.compress(b"hello " * 2000) + gzip.compress(b"hello " * 3000)),
        (b"deflate", zlib.compress(b"hello " * 5000)),
        (b"identity", b"hello " * 5000),
    ],
)
def test_a_packed_body_is_unpacked_in_small_bites(coding: bytes, packed: bytes, most: int) -> None:
    """Never more than asked for at once, however well it was packed."""
    found = answer(OK + b"Content-Encoding: " + coding + b"\r\n\r\n", packed)
    pieces = list(iter(lambda: bytes(found.unpacked(most)), b""))
    assert b"".join(pieces) == b"hello " * 5000
    assert max(map(len, pieces)) <= most


def test_a_packing_that_nobody_asked_for_is_refused() -> None:
    """What cannot be unpacked must not be taken for the file."""
    with pytest.raises(Broken, match="packed"):
        body(answer(OK + b"Content-Encoding: br\r\n\r\nhello"))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_an_error_of_ours(sent: bytes) -> None:
    """No server, however mad, is an accident."""
    for before in (b"", OK, CHUNKED):
        try:
            body(answer(before + sent))
        except Broken:
            continue


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX: y", "\u0141"])
def test_a_header_is_one_line_of_latin_letters(value: str) -> None:
    """A value of a stranger, such as an ETag, cannot add a header of its own."""
    with pytest.raises(ValueError, match=r"line break|latin-1"):
        request("/", "h", {"If-Range": value})


class Script:
    """A server that answers the n-th request, of whatever connection, with the n-th answer."""

    def __init__(self, *answers: bytes, closes: bool = False) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = threading.Event()
        self._answers = list(answers)
        self._closes = closes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while self._answers:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with sock, suppress(OSError):
                self._converse(sock)
            self.closed.set()

    def _converse(self, sock: socket.socket) -> None:
        while self._answers:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(65536)
                if not piece:
                    return
                head += piece
            self.requests.append(head)
            sock.sendall(self._answers.pop(0))
            if self._closes:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    made: list[Script] = []

    def make(*answers: bytes, **more: bool) -> Script:
        made.append(Script(*answers, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


HELLO = OK + b"Content-Length: 5\r\n\r\nhello"


def get(wire: Wire, url: str) -> bytes:
    with wire.open(url, {}) as found:
        return found.body(1 << 20)


@pytest.mark.parametrize("first", [HELLO, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
def test_a_line_is_used_again_once_its_answer_is_read(
    script: Callable[..., Script], first: bytes
) -> None:
    """Two requests, one connection."""
    server = script(first, HELLO)
    wire = Wire(server.url, Secret("t"), PACE, 4)
    assert get(wire, server.url) == get(wire, server.url) == b"hello"
    assert server.connections == 1


@pytest.mark.parametrize(
    "first",
    [
        OK + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ],
)
def test_a_line_that_is_not_clean_is_not_used_again(
    script: Callable[..., Script], first: bytes
) -> None:
    """What came unasked is never taken for the next answer."""
    server = script(first, HELLO, closes=True)
    wire = Wire(server.url, Secret("t"), PACE, 4)
    assert get(wire, server.url) == get(wire, server.url) == b"hello"
    assert server.connections == 2


def test_a_line_that_the_server_has_ended_meanwhile_is_no_failure(
    script: Callable[..., Script],
) -> None:
    """Servers close idle connections without a word; the next request takes a new one."""
    server = script(HELLO, HELLO, closes=True)
    wire = Wire(server.url, Secret("t"), PACE, 4)
    assert get(wire, server.url) == b"hello"
    assert server.closed.wait(5)
    assert get(wire, server.url) == b"hello"


def test_a_body_that_is_left_unread_ends_its_line(script: Callable[..., Script]) -> None:
    """The rest of an answer that nobody wanted is not read on and on."""
    server = script(OK + b"Content-Length: 100000\r\n\r\nhello", HELLO, closes=True)
    wire = Wire(server.url, Secret("t"), PACE, 4)
    with wire.open(server.url, {}) as found:
        assert found.read(5) == b"hello"
    assert get(wire, server.url) == b"hello"
    assert server.connections == 2


def test_an_address_is_sent_as_the_letters_a_request_may_have(
    script: Callable[..., Script],
) -> None:
    """Spaces and letters of other scripts are encoded once; a signature stays as it is."""
    server = script(HELLO)
    wire = Wire("http://elsewhere", Secret("t"), PACE, 4)
    get(wire, f"{server.url}/a b/ü%20?s=a~b/c+d%2B&t=ä#part")
    line = server.requests[0].split(b"\r\n")[0]
    assert line == b"GET /a%20b/%C3%BC%20?s=a~b/c+d%2B&t=%C3%A4 HTTP/1.1"


def test_a_silent_server_is_given_up(script: Callable[..., Script]) -> None:
    """Nothing for the time that was set: an error that says so."""
    server = script(OK + b"Content-Length: 5\r\n\r\nhe", HELLO)
    wire = Wire(server.url, Secret("t"), Pace(connect=2.0, read=0.3), 4)
    with pytest.raises(Temporary, match=r"127\.0\.0\.1 fell silent"):
        get(wire, f"{server.url}/x?secret=1")


def test_a_token_with_a_line_break_is_a_wrong_setting(script: Callable[..., Script]) -> None:
    """It would end up as a header of its own; the cure is named and the token is not."""
    server = script(HELLO)
    with pytest.raises(Misconfigured, match="line break") as caught:
        get(Wire(server.url, Secret("to\nken"), PACE, 4), server.url)
    assert "PLATFORM_TOKEN" in caught.value.advice and "to" not in caught.value.summary.split()
    assert server.requests == []
