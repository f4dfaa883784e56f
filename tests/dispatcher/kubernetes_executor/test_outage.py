"""The dispatcher's own process while the API server hangs or refuses: it tells, and it ends."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contract import names
from contract.env import Secret
from contract.log import Log, Redactor, set_up
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.executors.kubernetes.settings import KubernetesSettings
from dispatcher.executors.kubernetes.watch import Pace
from dispatcher.loop import Loop
from dispatcher.service import _started
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from playground.proxy import Proxy
from tests.dispatcher.kubernetes_executor.api_server import NAMESPACE, ApiServer, page
from tests.dispatcher.tasks import order
from tests.dispatcher.test_service import QUEUE, dispatcher, status
from tests.services import free_port, until


@pytest.fixture
def queue(redis7: str) -> Iterator[redis.Redis]:
    """A client of an empty server."""
    with redis.Redis.from_url(redis7) as client:
        client.flushall()
        yield client


def settings(api: ApiServer, folder: Path, url: str, port: int) -> dict[str, str]:
    """Settings of a dispatcher of the server."""
    return {
        "EXECUTOR": "kubernetes",
        "JOB_IMAGE": "i",
        "NAMESPACE": NAMESPACE,
        "KUBECONFIG": api.kubeconfig(folder),
        "REDIS_URL": url,
        "HEALTH_PORT": str(port),
    }


def test_it_ends_in_time_while_the_api_server_hangs_and_the_order_stays_claimed(
    api: ApiServer, queue: redis.Redis, redis7: str, tmp_path: Path
) -> None:
    """An answer is waited for 30 s; being told to stop is not."""
    port = free_port()
    with Proxy(("127.0.0.1", api.server_port)) as proxy:
        chosen = settings(api, tmp_path, redis7, port)
        path = Path(chosen["KUBECONFIG"])
        path.write_text(path.read_text().replace(str(api.server_port), str(proxy.port)))
        with dispatcher(tmp_path, **chosen) as process:
            until(lambda: status(port, "/readyz")[0] == 200, "it is ready", 30)
            proxy.freeze()
            raw = order(720)
            queue.lpush(QUEUE, raw)
            claimed = names.claimed_list(QUEUE, "d1")
            until(lambda: queue.llen(claimed) == 1, "it is claimed", 30)
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
            assert time.monotonic() - started < 10
    assert process.returncode == 0, out
    assert "Runs go on." in out or "runs go on." in out
    assert "Traceback" not in out
    assert queue.lrange(claimed, 0, -1) == [raw]  # others adopt it
    assert queue.exists(names.heartbeat_key(QUEUE, "d1"))  # once it cannot be acted on any more


def test_it_is_not_ready_while_nothing_can_be_created_and_says_so_once(
    api: ApiServer, queue: redis.Redis, redis7: str, tmp_path: Path
) -> None:
    """The watches may be well all the while."""
    port = free_port()
    with dispatcher(tmp_path, **settings(api, tmp_path, redis7, port)) as process:
        until(lambda: status(port, "/readyz")[0] == 200, "it is ready", 30)
        api.wrong("create", page(503, "no upstream"), times=1000)
        for number in range(720, 723):  # fewer than there are slots: each is kept for a minute
            queue.lpush(QUEUE, order(number))
        until(lambda: status(port, "/readyz")[0] == 503, "it is not ready", 30)
        assert "no upstream" in status(port, "/readyz")[1]
        asked = len(api.seen("create"))
        until(lambda: len(api.seen("create")) >= asked + 6, "all were tried again", 30)
        assert status(port, "/readyz")[0] == 503
        api.right_again()
        until(lambda: status(port, "/readyz")[0] == 200, "it is ready again", 30)
        process.terminate()
        out, _ = process.communicate(timeout=30)
    lines = [line for line in out.splitlines() if "no upstream" in line]
    assert len(lines) == 1
    assert "[KEEP] Task 72" in lines[0]


def test_a_server_that_is_away_at_start_is_told_of_once(
    api: ApiServer, redis7: str, tmp_path: Path
) -> None:
    """Not at every try: a line whose number alone is new is no news."""
    api.wrong("list", page(503, "no upstream"), times=1000)
    lines = io.StringIO()
    set_up("text", Redactor(), lines)
    chosen = KubernetesSettings("i", namespace=NAMESPACE, kubeconfig=api.kubeconfig(tmp_path))
    executor = KubernetesExecutor(chosen, {}, pace=Pace(0.05, 0.2, worry=0.3, start=0.7))
    store = Store(connect(Secret(redis7)), QUEUE, "d1")
    loop = Loop(store, executor, Limits(), Log.for_task())
    thread = threading.Thread(target=_started, args=(executor, loop, Log.for_task()))
    thread.start()
    troubles: set[str] = set()

    def many() -> bool:
        troubles.add(loop.pulse.trouble)
        return len({one for one in troubles if "was last seen" in one}) >= 3

    until(many, "several tries failed", 30)
    loop.stop()
    thread.join(10)
    executor.close()
    assert not thread.is_alive()
    assert len([one for one in lines.getvalue().splitlines() if "was last seen" in one]) == 1
