"""What goes over the wire: which headers to whom, over TLS, through a proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contract.env import Secret
from contract.errors import Misconfigured, Temporary
from job_image.sources.pace import Pace
from job_image.sources.wire import Wire
from playground.certificate import make_certificate, server_context
from playground.portal import Portal, actions
from tests.job_image.fetch.film import COURSE, FILM, NAME, SLUG, whole
from tests.job_image.fetch.order import Order

TOKEN = "a-token-of-the-account"
PACE = Pace(connect=2.0, read=2.0)


class Server:
    """Answers every GET with `answers[path]` (status, headers) and remembers who asked for what."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, headers = outer.answers.get(self.path, (200, {}))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """The platform, and a stranger."""
    pair = Server(), Server()
    yield pair
    for server in pair:
        server.close()


def get(wire: Wire, url: str, *, stay: bool = False) -> int:
    with wire.open(url, {"Accept-Encoding": "identity"}, stay=stay) as answer:
        return answer.status


def has_token(headers: dict[str, str]) -> list[bool]:
    names = ("authorization", "x-udemy-authorization")
    return [headers.get(name) == f"Bearer {TOKEN}" for name in names]


def test_the_token_goes_to_the_platform_in_both_headers(servers: tuple[Server, Server]) -> None:
    """The platform wants it twice, and gets it; compression is declined, the name is honest."""
    home, _ = servers
    get(Wire(home.url, Secret(TOKEN), PACE, 4), home.url + "/x")
    ((path, headers),) = home.seen
    assert path == "/x" and has_token(headers) == [True, True]
    assert headers["accept-encoding"] == "identity" and headers["user-agent"] == "course-runner"


def test_a_stranger_gets_no_token(servers: tuple[Server, Server]) -> None:
    """Neither by an address nor by a redirect from the platform."""
    home, stranger = servers
    wire = Wire(home.url, Secret(TOKEN), PACE, 4)
    home.answers["/away"] = (302, {"Location": stranger.url + "/b"})
    get(wire, stranger.url + "/a")
    get(wire, home.url + "/away")
    assert [path for path, _ in stranger.seen] == ["/a", "/b"]
    assert not any(name.endswith("authorization") for _, sent in stranger.seen for name in sent)


def test_a_stranger_cannot_send_the_token_back_home(servers: tuple[Server, Server]) -> None:
    """Once away, a redirect back to the platform is followed without the token."""
    home, stranger = servers
    stranger.answers["/a"] = (307, {"Location": home.url + "/b"})
    get(Wire(home.url, Secret(TOKEN), PACE, 4), stranger.url + "/a")
    ((_, headers),) = home.seen
    assert has_token(headers) == [False, False]


def test_the_api_follows_redirects_at_home_and_nowhere_else(
    servers: tuple[Server, Server],
) -> None:
    """A moved path is followed with the token; a moved host ends in advice."""
    home, stranger = servers
    wire = Wire(home.url, Secret(TOKEN), PACE, 4)
    home.answers["/old"] = (301, {"Location": "/new"})
    home.answers["/away"] = (301, {"Location": stranger.url})
    assert get(wire, home.url + "/old", stay=True) == 200
    assert has_token(home.seen[-1][1]) == [True, True]
    with pytest.raises(Misconfigured, match=stranger.url):
        get(wire, home.url + "/away", stay=True)
    assert stranger.seen == []


def test_a_circle_of_redirects_ends(servers: tuple[Server, Server]) -> None:
    """Five hops are enough for anybody."""
    home, _ = servers
    home.answers["/x"] = (302, {"Location": "/x"})
    with pytest.raises(Temporary, match="in circles"):
        get(Wire(home.url, Secret(TOKEN), PACE, 4), home.url + "/x")
    assert len(home.seen) == 6


@pytest.mark.parametrize("target", ["ftp://h/x", "file:///etc/passwd", "http://[", "//", "http://"])
def test_a_redirect_to_what_is_no_address_is_an_error_of_ours(
    servers: tuple[Server, Server], target: str
) -> None:
    """Nothing but http is ever opened."""
    home, _ = servers
    home.answers["/x"] = (302, {"Location": target})
    with pytest.raises(Temporary):
        get(Wire(home.url, Secret(TOKEN), PACE, 4), home.url + "/x")


@pytest.mark.parametrize(
    ("base", "url", "home"),
    [
        ("https://www.udemy.com", "https://www.udemy.com/x", True),
        ("https://www.udemy.com", "https://WWW.udemy.com:443/x", True),
        ("https://www.udemy.com", "http://www.udemy.com/x", False),
        ("https://www.udemy.com", "https://udemy.com/x", False),
        ("https://www.udemy.com", "https://www.udemy.com.evil.org/x", False),
        ("https://www.udemy.com", "https://www.udemy.com@evil.org/x", False),
        ("https://www.udemy.com", "https://www.udemy.com:8443/x", False),
        ("http://www.udemy.com", "https://www.udemy.com/x", True),
        ("http://127.0.0.1:80", "https://127.0.0.1/x", True),
        ("http://127.0.0.1:8080", "https://127.0.0.1:8080/x", False),
        ("https://www.udemy.com", "https://www.udemy.com:x/", False),
        ("https://www.udemy.com", "https://[bad", False),
    ],
)
def test_home_is_the_same_origin_or_the_same_made_safer(base: str, url: str, home: bool) -> None:
    """Scheme, host and port decide; http may become https, never the other way."""
    assert Wire(base, Secret(TOKEN), PACE, 4).is_home(url) is home


def test_a_proxy_of_the_environment_is_used_and_no_proxy_respected(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clusters have egress proxies; NO_PROXY names what goes past them."""
    proxy, home = servers
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url)
    get(Wire("http://platform.invalid", Secret(TOKEN), PACE, 4), "http://platform.invalid/x")
    assert [path for path, _ in proxy.seen] == ["http://platform.invalid/x"]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    get(Wire(home.url, Secret(TOKEN), PACE, 4), home.url + "/y")
    assert [path for path, _ in home.seen] == ["/y"]


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Order]:
    """An order from a portal that speaks TLS with a certificate of its own."""
    make_certificate(tmp_path / "tls")
    with Portal([COURSE], tls=server_context(tmp_path / "tls")) as portal:
        yield Order(portal, tmp_path / "sandbox", SLUG)


def test_an_untrusted_certificate_ends_the_run_with_advice(secure: Order) -> None:
    """No check is ever switched off; the cure is named."""
    with pytest.raises(
        Misconfigured, match=r"certificate of 127\.0\.0\.1 is not trusted"
    ) as caught:
        secure.fetch()
    assert "SSL_CERT_FILE" in caught.value.advice
    assert secure.portal.ledger.visits() == []


def test_a_bundle_of_the_environment_is_trusted(
    secure: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE adds the issuer of a company; cuts over TLS are noticed as anywhere."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls/certificate.pem"))
    secure.portal.faults.add("cdn:*", actions.CutBody(1_000_000, "close"))
    fetched = secure.fetch()
    assert secure.read(NAME) == whole(FILM) and fetched.bytes_fetched == FILM.size


def test_errors_name_the_host_and_never_the_query(ordering: Callable[..., Order]) -> None:
    """A signed address in an error would end in logs and records."""
    order = ordering(COURSE)
    order.portal.faults.add("cdn:*", actions.Drop(), times=None)
    with pytest.raises(Temporary) as caught:
        order.fetch()
    assert "127.0.0.1" in caught.value.summary
    for text in (caught.value.summary, order.log):
        assert "Expires=" not in text and "?" not in text
