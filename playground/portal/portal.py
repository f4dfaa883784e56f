"""The portal: API and CDN wired together, as two listeners in one process.

In: courses, tokens, addresses. Out: a running platform with its fault script, ledger and clock at
hand. Two ports make two origins, as the platform has them: what a client sends to one it must not
send to the other.
"""

import ssl
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote

from playground.content import Content
from playground.portal.accounts import ALL, Accounts
from playground.portal.api import Api
from playground.portal.catalogue import Catalogue, Stored
from playground.portal.cdn import Cdn
from playground.portal.control import Control
from playground.portal.courses import Course
from playground.portal.faults import Faults
from playground.portal.ledger import Ledger
from playground.portal.playlists import Playlists
from playground.portal.signing import Clock, Form, Signer, make_key
from playground.wire import Gate, Reply, Request, Server

TOKEN = "playground-token"
"""Accepted for every course when no tokens are given."""


@dataclass(frozen=True)
class Place:
    """Where a portal listens and under which names it is reached."""

    host: str = "127.0.0.1"
    port: int = 0
    """Of the API; 0 = any free one."""
    cdn_port: int = 0
    public_cdn: str | None = None
    """Base URL of the CDN in answers; None = the host name of the request with the CDN's port."""


class Portal:
    """A course platform; listens from construction, answers inside `with` or from start() to
    stop().
    """

    def __init__(
        self,
        courses: Iterable[Course] = (),
        tokens: Mapping[str, Collection[str]] | None = None,
        *,
        place: Place | None = None,
        ttl: float = 3600.0,
        page_cap: int = 100,
        seed: str = "playground",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        place = place or Place()
        self.gate = Gate()
        self.faults = Faults()
        self.ledger = Ledger()
        self.clock = Clock(ttl=ttl)
        self.catalogue = Catalogue(courses)
        self.accounts = Accounts({TOKEN: ALL} if tokens is None else tokens)
        self._signer = Signer(make_key(seed), self.clock)
        self._public_cdn = place.public_cdn
        playlists = Playlists(self.catalogue, self._signer)
        self._cdn = Cdn(
            self.catalogue.objects,
            playlists,
            self._signer,
            self.accounts,
            self.faults,
            self.ledger,
        )
        self._api = Api(
            self.catalogue,
            self.accounts,
            self._signer,
            self.faults,
            self.ledger,
            self._cdn_base,
            page_cap,
        )
        self._control = Control(self)
        self._listen(place, tls)

    def _listen(self, place: Place, tls: ssl.SSLContext | None) -> None:
        def listener(answer: Callable[[Request], Reply], port: int) -> Server:
            return Server(answer, host=place.host, port=port, gate=self.gate, tls=tls)

        self.api_server = listener(self._answer, place.port)
        self.cdn_server = listener(self._cdn.answer, place.cdn_port)
        self.ledger.meters = {"api": self.api_server.meter, "cdn": self.cdn_server.meter}

    @property
    def url(self) -> str:
        """Base URL of the API, which is the platform's URL."""
        return self.api_server.url

    @property
    def cdn_url(self) -> str:
        """Base URL of the CDN."""
        return self._public_cdn or self.cdn_server.url

    def course_url(self, slug: str) -> str:
        """What a user would put into an order."""
        return f"{self.url}/course/{slug}/"

    def signed_url(self, key: str, form: Form = Form.PAIR) -> str:
        """A link to an object as the API would give it out now."""
        return f"{self.cdn_url}/{quote(key)}?{self._signer.query(f'/{key}', form)}"

    def stored(self, key: str) -> Stored:
        """The object under a key; KeyError when there is none."""
        found = self.catalogue.objects.get(key)
        if found is None:
            raise KeyError(
                f"The portal has no object {key!r}; it has {list(self.catalogue.objects)}."
            )
        return found

    def replace(self, key: str, content: Content, *, keep_etag: bool = False) -> None:
        """Publish other bytes under a key."""
        self.catalogue.objects.replace(key, content, keep_etag=keep_etag)

    def expire_links(self) -> None:
        """Let every link given out so far be over; new ones are good."""
        self.clock.shift += self.clock.ttl + 1

    def release(self) -> None:
        """Let every stalled answer go on."""
        self.gate.release()

    def start(self) -> Self:
        """Begin to answer."""
        self.api_server.start()
        self.cdn_server.start()
        return self

    def stop(self) -> None:
        """End all connections and stop."""
        self.api_server.stop()
        self.cdn_server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answer(self, request: Request) -> Reply:
        if request.path.startswith("/_control/"):
            return self._control.answer(request)
        return self._api.answer(request)

    def _cdn_base(self, request: Request) -> str:
        if self._public_cdn:
            return self._public_cdn
        host = request.host.rpartition(":")[0] or request.host or "127.0.0.1"
        return f"{self.cdn_server.scheme}://{host}:{self.cdn_server.port}"
