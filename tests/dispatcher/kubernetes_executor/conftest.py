"""A misbehaving API server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dispatcher.kubernetes_executor.api_server import ApiServer, api_server


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A running API server of this test alone."""
    with api_server() as server:
        yield server
