"""The log of a run across the cuts of a long connection: every line once, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.log import Log
from dispatcher.executors import Unavailable
from dispatcher.executors.kubernetes import endings, logs
from dispatcher.executors.kubernetes.client import Client
from dispatcher.executors.kubernetes.logs import PodLog
from tests.dispatcher.kubernetes_executor.api_server import ApiServer, Exchange, page, refuse

PATH = "/api/v1/namespaces/tasks/pods"


def stamp(second: int) -> str:
    """A time as the kubelet writes it."""
    return f"2026-01-12T16:00:{second:02}.000000000Z"


def put_pod(api: ApiServer, phase: str, state: str = "", name: str = "p") -> None:
    """Have the pod there in that phase, its container in that state."""
    states: list[dict[str, Any]] = [{"name": "job", "state": {state: {}}}] if state else []
    status = {"phase": phase, "containerStatuses": states}
    api.put("pods", {"metadata": {"name": name}, "status": status})


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[Client]:
    """A client of the server."""
    client = Client(api.kubeconfig(tmp_path), Log.for_task())
    yield client
    client.close()


@pytest.fixture
def log(client: Client) -> PodLog:
    """The newest pod's log, looked for often."""
    return PodLog(client, PATH, lambda: endings.newest(client.get(PATH)["items"]), 0.02)


def says(*seconds: int, then: Callable[[Exchange], None] | None = None) -> Any:
    """Send lines of those seconds, then end, or do something else."""

    def deed(exchange: Exchange) -> None:
        exchange.begin_stream()
        for second in seconds:
            exchange.chunk(f"{stamp(second)} line {second}\n".encode())
        if then:
            then(exchange)
        else:
            exchange.chunk(b"")

    return deed


def test_a_log_that_is_cut_goes_on_after_its_last_line(api: ApiServer, log: PodLog) -> None:
    """A broken stream is opened anew where it broke; lines sent twice are told once."""
    put_pod(api, "Running", "running")

    def end(exchange: Exchange) -> None:
        put_pod(api, "Succeeded", "terminated")
        exchange.chunk(b"")

    api.wrong("get", says(1, 2, then=Exchange.cut))
    api.wrong("get", says(2, 3, then=end))
    api.wrong("get", says(3))
    assert list(log.follow()) == ["line 1", "line 2", "line 3"]
    since = [request.query.get("sinceTime") for request in api.seen("get")]
    assert since == [None, stamp(2), stamp(3)]


def test_a_pod_that_has_not_begun_is_waited_for(api: ApiServer, log: PodLog) -> None:
    """Following begins with the container; the log is not asked for before."""
    put_pod(api, "Pending", "waiting")

    def begin(exchange: Exchange) -> None:
        assert api.seen("get") == []
        put_pod(api, "Succeeded", "terminated")
        api.serve(exchange)

    api.wrong("list", begin)
    api.wrong("get", says(1))
    assert list(log.follow()) == ["line 1"]


def test_a_pod_that_never_began_has_no_log(api: ApiServer, log: PodLog) -> None:
    """A pod that was evicted before its start, or has not started, has no lines."""
    put_pod(api, "Pending", "waiting")
    assert list(log.lines()) == []
    put_pod(api, "Failed")
    assert list(log.lines()) == []
    assert list(log.follow()) == []


def test_lines_of_one_moment_are_all_told(api: ApiServer, log: PodLog) -> None:
    """Two lines with the same time are two lines."""
    put_pod(api, "Succeeded", "terminated")
    api.wrong("get", says(1, 1))
    assert list(log.lines()) == ["line 1", "line 1"]


def test_a_log_that_is_gone_has_no_lines(api: ApiServer, log: PodLog) -> None:
    """A pod that disappears between two questions is no error."""
    put_pod(api, "Succeeded", "terminated")
    api.wrong("get", refuse(404, "NotFound", "pods p not found"))
    assert list(log.lines()) == []


def test_a_log_that_cannot_be_had_is_told(api: ApiServer, log: PodLog) -> None:
    """After several failures in a row following ends with the reason."""
    put_pod(api, "Running", "running")
    api.wrong("get", page(503, "no kubelet"), times=100)
    with pytest.raises(Unavailable, match="no kubelet"):
        list(log.follow())
    assert len(api.seen("get")) == logs.PATIENCE + 1
