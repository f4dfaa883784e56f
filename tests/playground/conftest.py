"""A running portal, and clients that know its rules."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from playground.portal import TOKEN, Portal
from tests.playground.playground_course import COURSE, VIDEO


@pytest.fixture
def portal() -> Iterator[Portal]:
    """A portal with COURSE and the usual token."""
    with Portal([COURSE]) as running:
        yield running


Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(portal: Portal) -> Ask:
    """GET a path or URL of the API with the right token in both headers."""

    def get(path: str, token: str = TOKEN, **query: str | int) -> requests.Response:
        url = path if path.startswith("http") else f"{portal.url}/api-2.0/{path}"
        bearer = f"Bearer {token}"
        headers = {"Authorization": bearer, "X-Udemy-Authorization": bearer}
        return requests.get(url, headers=headers, params=query, timeout=10)

    return get


@pytest.fixture
def fetch(portal: Portal) -> Ask:
    """GET an object by a fresh signed link."""

    def get(key: str = VIDEO, **headers: str) -> requests.Response:
        sent = {"Accept-Encoding": "identity"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(portal.signed_url(key), headers=sent, timeout=10, allow_redirects=True)

    return get


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the real sample media, made once for the whole run."""
    from playground.media.build import build  # PyAV is slow to load; most tests do not need it

    return build(tmp_path_factory.mktemp("media")).parent
