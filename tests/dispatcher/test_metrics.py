"""`/metrics` of a real dispatcher: real Redis, real runs of the real job, a portal and a receiver.

One journey is made once: an order that completes, one that fails for good, one whose webhook is
delivered at the second try, a message that is no order. Each test reads what was served after it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import requests
from prometheus_client.parser import text_string_to_metric_families as parse

from contract import names, outcome
from dispatcher import audit, tally, verdict
from dispatcher.executors.kubernetes import obstacles
from dispatcher.record import CANCELLED
from playground.media import outline
from playground.portal import Portal
from playground.portal.course_file import parse as courses_in
from playground.proxy import Proxy
from playground.receiver import Receiver
from playground.receiver.script import Answer
from tests.promtool import promtool
from tests.services import free_port, until

QUEUE = "q:metrics"
TOKEN = "a-token"
LIMIT = 120.0
Samples = dict[tuple[str, tuple[str, ...]], float]


@dataclass(frozen=True)
class Served:
    """What a dispatcher served: the text, and each sample by name and label values."""

    text: str
    samples: Samples
    later: Served | None = None
    """What the next dispatcher served, after its first audit."""

    def __call__(self, name: str, *labels: str) -> float:
        return self.samples["course_runner_" + name, labels]


def served(port: int) -> Served:
    """Read the metrics."""
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parse(answer.text)
        for sample in family.samples
    }
    return Served(answer.text, samples)


@contextmanager
def dispatcher(folder: Path, port: int, **settings: str) -> Iterator[None]:
    """A running dispatcher of one machine; killed at the end of the block."""
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "EXECUTOR": "local"}
    known |= {"QUEUE": QUEUE, "DISPATCHER_ID": "d1", "HEALTH_PORT": str(port)}
    with (folder / "dispatcher.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher"],
            cwd=folder,
            env={**known, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def journey(redis7: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """What is served when the orders of this module have come to their end."""
    folder, port = tmp_path_factory.mktemp("metrics"), free_port()
    (folder / "remote").mkdir()
    plan = courses_in(outline.course_file(outline.computed), Path())
    settings = {
        "REDIS_URL": redis7,
        "PROGRESS_REDIS_URL": redis7,
        "PLATFORM_TOKEN": TOKEN,
        "API_SECRET_KEY": "secret-of-the-body",
        "RCLONE_REMOTE": str(folder / "remote"),
        "MAX_RETRIES": "1",
        "WEBHOOK_TRIES": "0s",
        "WEBHOOK_SCHEDULE": "1s",
    }
    with (
        redis.Redis.from_url(redis7) as client,
        Portal(plan.courses, {TOKEN: ("*",)}) as portal,
        Receiver(secret="secret-of-the-body") as receiver,
    ):
        client.flushall()
        with dispatcher(folder, port, WEBHOOK_URL=receiver.url, **settings):

            def order(task: int, course: str, status: str) -> None:
                message = {"taskId": task, "courseUrl": f"{portal.url}/course/{course}/"}
                client.lpush(QUEUE, json.dumps(message))
                key = names.task_hash(str(task))
                until(
                    lambda: client.hget(key, "status") == status.encode(),
                    f"order {task} is {status}; {client.hgetall(key)}",
                    LIMIT,
                )

            order(1, "short-course", "completed")
            order(2, "no-such-course", "failed")
            receiver.answer_with(Answer(status=503))
            order(3, "short-course", "completed")
            client.lpush(QUEUE, "this is no order")
            until(lambda: client.llen(names.dead_list(QUEUE)), "it is a dead letter", LIMIT)
            until(lambda: served(port)("orders_ended_total", "completed") == 2, "counted", LIMIT)
            now = served(port)
        with dispatcher(folder, port, WEBHOOK_URL=receiver.url, **settings):
            audited = ("course_runner_audit_timestamp_seconds", ())
            until(lambda: _listens(port) and audited in served(port).samples, "an audit", LIMIT)
            yield replace(now, later=served(port))


def test_every_order_that_ended_is_counted_by_how(journey: Served) -> None:
    assert journey("orders_ended_total", "completed") == 2
    assert journey("orders_ended_total", "failed") == 1
    assert journey("orders_ended_total", "cancelled") == 0


def test_failures_and_retries_are_counted_by_category(journey: Served) -> None:
    assert journey("failures_total", "not_entitled") == 1
    assert journey("retries_total", "webhook_not_delivered") == 1
    assert sum(journey("failures_total", word) for word in tally.CATEGORIES) == 1
    assert sum(journey("retries_total", word) for word in tally.CATEGORIES) == 1


def test_deliveries_are_counted_by_outcome(journey: Served) -> None:
    assert journey("webhook_deliveries_total", "delivered") == 2
    assert journey("webhook_deliveries_total", "not_delivered") == 1
    assert journey("webhook_deliveries_total", "refused") == 0


def test_what_runs_say_of_their_steps_arrives_without_a_scrape_of_them(journey: Served) -> None:
    """Two courses fetched and uploaded; the second's second run only announced."""
    assert journey("step_seconds_count", "fetch") == 2
    assert journey("step_seconds_count", "upload") == 2
    assert journey("step_seconds_count", "announce") == 2
    assert journey("step_seconds_count", "record") == 0  # no database, no such step
    assert journey("step_seconds_sum", "fetch") > 0


def test_bytes_are_those_that_went_over_the_network(journey: Served) -> None:
    """Two orders fetched the course; the second found at the remote what the first had sent."""
    fetched = journey("fetched_bytes_total")
    assert fetched > 1_000_000
    assert journey("uploaded_bytes_total") == pytest.approx(fetched / 2, rel=0.01)


def test_runs_and_waits_are_measured(journey: Served) -> None:
    """Four runs; three orders were handed over, and the queue's wait is that of four messages."""
    assert journey("run_seconds_count", "completed") == 2
    assert journey("run_seconds_count", "failed") == 1
    assert journey("run_seconds_count", "retried") == 1
    assert journey("handover_seconds_count") == 3
    assert journey("queue_wait_seconds_count") == 4


def test_what_is_there_now_is_read_from_what_is_there(journey: Served) -> None:
    assert journey("tasks", "completed") == 2
    assert journey("tasks", "failed") == 1
    assert journey("volumes", "completed") == 2
    assert journey("dead_letters") == 1
    assert (journey("queued_orders"), journey("claimed_orders")) == (0, 0)
    assert (journey("ready"), journey("paused"), journey("redis_up")) == (1, 0, 1)
    assert journey("max_active_runs") == 5


def test_the_law_of_conservation_is_shown(journey: Served) -> None:
    """By the first audit of a dispatcher that was started when all was over."""
    later = journey.later
    assert later is not None
    assert later("audit_orders", "finished") == 3
    assert later("audit_orders", "dead") == 1
    assert all(later("audit_findings", kind.replace(" ", "_")) == 0 for kind in audit.KINDS)
    assert later("orders_ended_total", "completed") == 0  # counted by the one before


def test_what_is_running_is_named(journey: Served) -> None:
    built = [key for key in journey.samples if key[0] == "course_runner_build_info"]
    assert len(built) == 1
    assert "local" in built[0][1]


def test_no_label_holds_what_belongs_to_one_order(journey: Served) -> None:
    """Label values are words of a closed list, or bounds of buckets."""
    values = {v for name, labels in journey.samples for v in labels if "build_info" not in name}
    assert {v for v in values if not re.fullmatch(r"[a-z_]+|\d+\.\d+|\+Inf|[012]", v)} == set()


def test_promtool_finds_no_fault_in_names_and_units(journey: Served) -> None:
    checked = subprocess.run(
        [promtool(), "check", "metrics"], input=journey.text, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_when_redis_is_away_the_metrics_say_so_in_time(redis7: str, tmp_path: Path) -> None:
    port, unused = free_port(), free_port()
    with dispatcher(tmp_path, port, REDIS_URL=f"redis://127.0.0.1:{unused}/0"):
        until(lambda: _listens(port), "it serves", LIMIT)
        until(lambda: served(port)("redis_errors_total", "connection") > 0, "counted", LIMIT)
        now = served(port)
    assert (now("redis_up"), now("ready")) == (0, 0)
    assert ("course_runner_queued_orders", ()) not in now.samples  # not known, so not 0


def test_a_redis_that_hangs_does_not_hang_the_metrics(redis7: str, tmp_path: Path) -> None:
    """A scraper gives up after ten seconds, just when its reader wants to know what is wrong."""
    port, parts = free_port(), urlsplit(redis7)
    with Proxy((parts.hostname or "", parts.port or 0)) as proxy:
        through = f"redis://{proxy.host}:{proxy.port}{parts.path}"
        with dispatcher(tmp_path, port, REDIS_URL=through):
            until(lambda: _listens(port) and served(port)("redis_up") == 1, "it is up", LIMIT)
            proxy.freeze()
            now = served(port)  # which waits ten seconds at most
            assert now("redis_up") == 0
            assert served(port)("redis_up") == 0  # and does not pile questions up
            assert ("course_runner_queued_orders", ()) not in now.samples


def _listens(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def test_every_category_of_a_verdict_has_its_own_label() -> None:
    known = {*outcome.CATEGORIES.values(), outcome.WEBHOOK_REFUSED, CANCELLED} - {"done"}
    own = ("CRASHED", "DEADLINE", "DISRUPTED", "REMOVED", "REFUSED")
    known |= {getattr(verdict, name) for name in own} | set(obstacles._ADVICE)
    assert known == set(tally.CATEGORIES) - {tally.OTHER}


def test_a_word_that_no_list_holds_counts_as_other() -> None:
    """A run's last words are anybody's: they must not make a label each."""
    counted = tally.Tally()
    for number in range(1000):
        counted.add(tally.FAILURES, f"made up {number}")
    assert counted.count(tally.FAILURES)[tally.OTHER] == 1000
    assert set(counted.count(tally.FAILURES)) == set(tally.CATEGORIES)
