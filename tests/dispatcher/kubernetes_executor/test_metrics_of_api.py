"""Calls of the API server that fail are counted by kind; its everyday answers are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.errors import CourseRunnerError
from contract.log import Log
from dispatcher.executors.kubernetes.client import Client
from dispatcher.tally import API_ERRORS, TALLY
from tests.dispatcher.kubernetes_executor.api_server import (
    ApiServer,
    Exchange,
    api_server,
    cut,
    refuse,
)

PODS = "/api/v1/namespaces/tasks/pods"


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[Client]:
    """A client of the server."""
    client = Client(api.kubeconfig(tmp_path), Log.for_task())
    yield client
    client.close()


def added(client: Client) -> dict[str, int]:
    """What one call, which fails, adds."""
    before = TALLY.count(API_ERRORS)
    with pytest.raises(CourseRunnerError):
        client.get(f"{PODS}/p", tries=1)
    now = TALLY.count(API_ERRORS).items()
    return {kind: count - before[kind] for kind, count in now if count != before[kind]}


@pytest.mark.parametrize(
    ("deed", "kinds"),
    [
        (refuse(500, "InternalError", "x"), {"server": 1}),
        (refuse(429, "TooManyRequests", "x"), {"throttled": 1}),
        (refuse(401, "Unauthorized", "x"), {"unauthorized": 2}),  # with fresh credentials again
        (cut, {"broken": 1}),
        (refuse(404, "NotFound", "x"), {}),
        (refuse(409, "AlreadyExists", "x"), {}),
    ],
    ids=["500", "429", "401", "cut", "404", "409"],
)
def test_an_answer_is_counted_by_what_it_is(
    api: ApiServer, client: Client, deed: Callable[[Exchange], None], kinds: dict[str, int]
) -> None:
    api.wrong("get", deed, times=2)
    assert added(client) == kinds


def test_a_server_that_is_away_is_unreachable(tmp_path: Path) -> None:
    with api_server() as gone:
        kubeconfig = gone.kubeconfig(tmp_path)
    client = Client(kubeconfig, Log.for_task())
    assert added(client) == {"unreachable": 1}
    client.close()
