"""Through the proxy of a company: tunnels, logins, and TLS within TLS."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from contract.env import Secret
from contract.errors import Misconfigured, Temporary
from job_image.sources.pace import Pace
from job_image.sources.wire import Wire
from playground.certificate import make_certificate, server_context
from playground.portal import TOKEN, Portal
from playground.portal.portal import Place
from tests.job_image.fetch.film import COURSE, FILM, KEY, whole

PACE = Pace(connect=5.0, read=5.0)


class Tunnels:
    """A proxy that passes CONNECT on, and remembers the heads it was sent."""

    def __init__(self, answer: bytes = b"200 Connection established", tls: Path | None = None):
        self.heads: list[bytes] = []
        self._answer = answer
        self._tls = server_context(tls) if tls else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with suppress(OSError):
            sock = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1)
            self.heads.append(head)
            sock.sendall(b"HTTP/1.1 " + self._answer + b"\r\n\r\n")
            if self._answer.startswith(b"200"):
                host, port = head.split()[1].decode().split(":")
                self._join(sock, socket.create_connection((host, int(port))))
            sock.close()

    def _join(self, one: socket.socket, other: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(other, one), daemon=True)
        back.start()
        _pump(one, other)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Portal]:
    """A portal over TLS that is trusted, and no proxy settings of this machine."""
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    certificate = make_certificate(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = server_context(tmp_path / "tls")
    with Portal([COURSE], place=Place(host="0.0.0.0"), tls=context) as portal:
        yield portal


@pytest.fixture
def tunnels() -> Iterator[Callable[..., Tunnels]]:
    made: list[Tunnels] = []

    def make(*words: bytes, **more: Path) -> Tunnels:
        made.append(Tunnels(*words, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def get(portal: Portal) -> bytes:
    with Wire(portal.url, Secret(TOKEN), PACE, 4).open(portal.signed_url(KEY), {}) as answer:
        return answer.body(1 << 30)


def test_tls_goes_through_a_tunnel_and_the_login_no_further(
    secure: Portal, tunnels: Callable[..., Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CONNECT names the server and carries the login; the film comes whole; no token is told."""
    proxy = tunnels()
    monkeypatch.setenv("https_proxy", f"http://me:p%40ss@{proxy.place}")
    assert get(secure) == whole(FILM)
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % secure.cdn_server.port)
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:p@ss") in head
    assert TOKEN.encode() not in head


def test_a_proxy_may_be_named_without_a_scheme(
    secure: Portal, tunnels: Callable[..., Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """host:port is what people write."""
    proxy = tunnels()
    monkeypatch.setenv("https_proxy", proxy.place)
    assert get(secure) == whole(FILM) and len(proxy.heads) == 1


def test_a_proxy_may_speak_tls_itself(
    secure: Portal,
    tunnels: Callable[..., Tunnels],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TLS to the proxy, and within it TLS to the server."""
    proxy = tunnels(tls=tmp_path / "tls")
    monkeypatch.setenv("https_proxy", f"https://{proxy.place}")
    assert get(secure) == whole(FILM) and len(proxy.heads) == 1


def test_a_proxy_that_refuses_is_named_with_its_answer(
    secure: Portal, tunnels: Callable[..., Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """407 of the proxy is no answer of the server."""
    proxy = tunnels(b"407 Proxy Authentication Required")
    monkeypatch.setenv("https_proxy", f"http://{proxy.place}")
    with pytest.raises(Temporary, match="its proxy answered 407"):
        get(secure)


def test_a_proxy_of_another_kind_is_a_wrong_setting(
    secure: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SOCKS is not spoken here; the cure is named."""
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(Misconfigured, match="no http address") as caught:
        get(secure)
    assert "https_proxy" in caught.value.advice


def test_a_certificate_of_another_server_is_refused(
    secure: Portal,
) -> None:
    """The name in the certificate must be the server's, also when its issuer is trusted."""
    url = secure.signed_url(KEY).replace("127.0.0.1", "127.0.0.2")
    wire = Wire(secure.url, Secret(TOKEN), PACE, 4)
    with pytest.raises(Misconfigured, match=r"127\.0\.0\.2 is not trusted"), wire.open(url, {}):
        pass
    assert secure.ledger.visits() == []
