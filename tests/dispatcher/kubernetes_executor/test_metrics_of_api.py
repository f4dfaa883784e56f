"""What metrics tell of a cluster: calls that failed, by kind; runs by what they are at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from contract.env import Reader, Secret
from contract.errors import CourseRunnerError
from contract.log import Log
from dispatcher.executors.kubernetes.client import Client
from dispatcher.metrics import page
from dispatcher.settings import read
from dispatcher.store import Store, connect
from dispatcher.tally import API_ERRORS, TALLY
from tests.dispatcher.kubernetes_executor.api_server import (
    NAMESPACE,
    ApiServer,
    Exchange,
    api_server,
    cut,
    refuse,
)
from tests.dispatcher.kubernetes_executor.cluster_town import LIMITS, Town
from tests.dispatcher.kubernetes_executor.test_late_runs import job_of, stuck_pod

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


def test_a_run_that_something_keeps_from_beginning_is_held_up(
    redis7: str, api: ApiServer, tmp_path: Path
) -> None:
    """Told apart from one at work, as long as it waits; its volume and the bytes of it count."""
    town = Town(redis7, NAMESPACE, lambda name: 0, api.kubeconfig(tmp_path))
    with town.dispatcher(replace(LIMITS, pending=1e10)):  # the small server's Jobs are old
        town.push("a")
        job = job_of(api, town, "a", 1)
        api.put("pods", stuck_pod(job))
        town.until(lambda: gauges(town)["runs", "held_up"] == 1, "it is held up")
        assert gauges(town)["volumes", "running"] == 1
        assert gauges(town)["volume_bytes", "running"] == 2**20
        api.put("jobs", {**job, "status": {"active": 1, "ready": 1}})
        town.until(lambda: gauges(town)["runs", "working"] == 1, "it is at work")
        assert gauges(town)["runs", "held_up"] == 0


def gauges(town: Town) -> dict[tuple[str, str], float]:
    """What a scrape of the town's loop gives, by name and label value."""
    values = {"REDIS_URL": town.url, "QUEUE": town.queue}
    settings = read(Reader(values), values)
    assert town.loop is not None
    store = Store(connect(Secret(town.url)), town.queue, "d1")
    text = page(settings, town.loop, store, town.ready)()[1].decode()
    return {
        (sample.name.removeprefix("course_runner_"), "".join(sample.labels.values())): sample.value
        for family in parse(text)
        for sample in family.samples
    }
