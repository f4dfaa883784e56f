"""Films in pieces over HTTPS: playlists, keys and pieces alike, on good lines and on torn ones."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import CourseRunnerError
from playground.certificate import make_certificate, server_context
from playground.content import Bytes, Content
from playground.portal import Portal, actions
from playground.portal.portal import Place
from playground.proxy import Proxy
from tests.job_image.fetch.footage import (
    FOLDER,
    NAME,
    SLUG,
    Footage,
    course,
    listing,
    look,
    read,
    say,
    sealed,
)
from tests.job_image.fetch.order import QUICK, Order

KEY, IV = b"sixteen byte key", bytes(range(16))
END = "#EXT-X-ENDLIST"


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a certificate that the environment names as trusted."""
    folder = tmp_path / "tls"
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(folder)))
    return folder


@contextmanager
def ordered(folder: Path, parts: Sequence[Content], fray: float = 0.0) -> Iterator[Order]:
    """An order of a film over HTTPS, by a way to the CDN that tears if it is told to."""
    with ExitStack() as stack:
        place = _torn(stack, fray) if fray else None
        portal = Portal([course(parts)], tls=server_context(folder), place=place)
        yield Order(stack.enter_context(portal), folder.parent / "sandbox", SLUG)


def _torn(stack: ExitStack, fray: float) -> Place:
    """A place for a portal whose CDN is reached by a way that tears."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    way = stack.enter_context(Proxy(("127.0.0.1", port)))
    way.fray(fray, seed=5)
    return Place(cdn_port=port, public_cdn=f"https://127.0.0.1:{way.port}")


def test_a_film_over_https(trusted: Path, footage: Footage) -> None:
    """Playlists and pieces come over TLS, and the token stays with the platform."""
    with ordered(trusted, footage.plain) as order:
        assert order.portal.cdn_url.startswith("https://")
        order.fetch()
        assert look(order.path(NAME)).pictures == footage.seen.pictures
        assert order.portal.ledger.credentials_at_cdn == []


def test_an_encrypted_film_over_https_on_a_bad_day(trusted: Path, footage: Footage) -> None:
    """Keys over TLS; links that end, a piece that breaks off and one that never came."""
    with ordered(trusted, [*(sealed(one, KEY, IV) for one in footage.plain), Bytes(KEY)]) as order:
        say(
            order, f'#EXT-X-KEY:METHOD=AES-128,URI="{{00003.ts}}",IV=0x{IV.hex()}', *listing(3), END
        )
        order.portal.faults.add(f"{FOLDER}/144/00000.ts", actions.CutBody(50_000))
        order.portal.faults.add(f"{FOLDER}/144/00001.ts", actions.Expired())
        order.portal.faults.add(f"{FOLDER}/144/00002.ts", actions.Drop())
        order.portal.faults.add(f"{FOLDER}/144/00003.ts", actions.CutBody(7))
        order.fetch()
        assert look(order.path(NAME)).pictures == footage.seen.pictures


def test_a_film_over_https_on_lines_that_tear(trusted: Path, footage: Footage) -> None:
    """Connections that are reset at random places, in the middle of a record or a greeting."""
    size = sum(len(read(one)) for one in footage.plain)
    with ordered(trusted, footage.plain, fray=size / 8) as order:
        order.pace = replace(QUICK, tries=40)
        order.fetch()
        assert look(order.path(NAME)).pictures == footage.seen.pictures
        assert order.portal.ledger.total(f"{FOLDER}/144/0").requests > 3


def test_a_certificate_that_nobody_trusts(
    tmp_path: Path, footage: Footage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request goes to a server that cannot prove its name, and the cure is named."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    make_certificate(tmp_path / "tls")
    with ordered(tmp_path / "tls", footage.plain) as order:
        with pytest.raises(CourseRunnerError) as caught:
            order.fetch()
        assert "SSL_CERT_FILE" in caught.value.advice
        assert order.portal.ledger.visits() == []
