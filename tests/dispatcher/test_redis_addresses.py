"""Redis behind sentinels, behind TLS, in a cluster: one address each, and the reason where not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from contract.env import Secret
from contract.errors import BadMessage, BadSettings, Misconfigured
from contract.log import Log
from dispatcher.executors.local import LocalExecutor
from dispatcher.loop import Loop, Pace
from dispatcher.redis_address import CLUSTER, SENTINEL, BadAddress, missing_tag, parse
from dispatcher.service import settings_from
from dispatcher.settings import Limits
from dispatcher.store import Store, StoreUnavailable, connect
from playground.certificate import make_certificate
from tests.dispatcher.own_redis import OwnRedis, command
from tests.dispatcher.tasks import order
from tests.dispatcher.town import PROGRAM
from tests.services import free_port, listens, server, until

QUEUE = "{q}:orders"


def serves(store: Store) -> None:
    """All that a dispatcher does with the queue and the board works."""
    store.check()
    store.beat()
    assert store.listed() == store.alive() == {"d1"}
    for number in (1, 2, 3):
        store.push(order(number))
    assert store.claim(1) == 1
    assert store.claim_or_wait(1)
    assert store.claim_these([order(3)]) == 1
    assert store.give_back(order(3))
    assert set(store.walk()) == {order(1), order(2), order(3)}
    assert store.window(10) == [order(3)]
    store.settle(order(1))
    store.bury(BadMessage("No.", order(2)))
    (letter,) = store.letters()
    assert store.requeue(letter)
    store.write("1", {"status": "completed"}, forget_in=60)
    assert dict(store.tasks())["1"]["status"] == "completed"
    assert store.withdraw(order(2)) == store.withdraw(order(3)) == 1
    store.pause("test")
    assert store.paused()["why"] == "test"
    assert store.resume()
    store.ask("retry", "1")
    (ask,) = store.asks()
    store.answered(ask[0])
    assert store.claims() == {}
    store.leave()
    assert store.adopt_orphans() == 0


@contextmanager
def opened(url: str, queue: str = QUEUE) -> Iterator[Store]:
    """The store behind an address."""
    client = connect(Secret(url))
    yield Store(client, queue, "d1")
    client.close()


# --- TLS ------------------------------------------------------------------------------------------
@contextmanager
def tls_server(folder: Path) -> Iterator[tuple[int, Path]]:
    """A server that speaks TLS alone; its port and what to trust."""
    certificate, port = make_certificate(folder), free_port()
    words = ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
    words += ["--tls-cert-file", str(certificate), "--tls-key-file", str(folder / "key.pem")]
    words += ["--tls-auth-clients", "no", "--requirepass", "s3cret"]
    with server(command(words), lambda: listens(port), folder):
        yield port, certificate


def test_a_server_behind_tls_is_used_once_its_certificate_is_trusted(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (port, certificate):
        address = f"rediss://:s3cret@localhost:{port}/0"
        with opened(f"{address}?ssl_ca_certs={certificate}") as store:
            serves(store)
        with opened(address) as store, pytest.raises(StoreUnavailable, match="certificate") as no:
            store.ping()
        assert "s3cret" not in str(no.value)
        with opened(address.replace("rediss", "redis")) as store, pytest.raises(StoreUnavailable):
            store.ping()


# --- sentinels ------------------------------------------------------------------------------------
@contextmanager
def sentinel(folder: Path, master: int) -> Iterator[int]:
    """One sentinel that looks after a master and decides alone; its port."""
    folder.mkdir()
    port = free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nrequirepass watch\n"
        f"sentinel monitor courses 127.0.0.1 {master} 1\n"
        "sentinel auth-pass courses s3cret\n"
        "sentinel down-after-milliseconds courses 500\n"
        "sentinel failover-timeout courses 5000\n"
    )
    with server(command([str(config), "--sentinel"]), lambda: listens(port), folder):
        yield port


def test_after_a_failover_the_sentinels_new_master_is_used_within_seconds(tmp_path: Path) -> None:
    with ExitStack() as stack:
        secret = ("--requirepass", "s3cret", "--masterauth", "s3cret")
        master = OwnRedis(tmp_path / "one", *secret)
        follows = ("--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
        replica = OwnRedis(tmp_path / "two", *secret, *follows)
        for one in (master, replica):
            one.password = "s3cret"
            one.start()
            stack.callback(one.stop)
        until(lambda: follower(replica), "the replica is in step", 20)
        port = stack.enter_context(sentinel(tmp_path / "sentinel", master.port))
        nobody = free_port()  # a sentinel that is away: the next one is asked
        url = f"redis+sentinel://:s3cret@127.0.0.1:{nobody},127.0.0.1:{port}/courses/0"
        store = stack.enter_context(opened(f"{url}?sentinel_password=watch"))
        serves(store)
        store.push(order(7))
        watch = stack.enter_context(redis.Redis(port=port, password="watch"))
        until(lambda: watch.sentinel_slaves("courses"), "the sentinel knows the replica")
        master.stop()
        until(lambda: claimed(store) == [order(7)], "the new master is used", 30)


def follower(replica: OwnRedis) -> bool:
    """Whether a replica has all that its master has."""
    with replica.client() as client:
        return client.info("replication").get("master_link_status") == "up"  # type: ignore[union-attr]


def claimed(store: Store) -> list[bytes]:
    """What is claimed after another try to claim; none while Redis is away."""
    try:
        store.claim(1)
        return store.claimed()
    except StoreUnavailable:
        return []


def test_sentinels_that_are_all_away_are_trouble_and_not_an_end(tmp_path: Path) -> None:
    address = f"redis+sentinel://127.0.0.1:{free_port()}/courses"
    with opened(address) as store, pytest.raises(StoreUnavailable, match="No master found"):
        store.ping()


# --- a cluster ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis Cluster of one shard; its port."""
    own = OwnRedis(tmp_path_factory.mktemp("cluster") / "node", "--cluster-enabled", "yes")
    own.start()
    with own.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"), "it is up")
    yield own.port
    own.stop()


def test_in_a_cluster_a_queue_with_a_hash_tag_is_served(cluster: int) -> None:
    with opened(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster}") as store:
        serves(store)


def test_in_a_cluster_orders_are_run_to_their_end(cluster: int, tmp_path: Path) -> None:
    """The whole loop, choices and promises included: every script and transaction has one slot."""
    with opened(f"redis+cluster://127.0.0.1:{cluster}", "{r}:orders") as store:
        executor = LocalExecutor(tmp_path, {}, PROGRAM, interval=0.05)
        executor.start()
        loop = Loop(
            store, executor, Limits(max_active=2), Log.for_task(), pace=Pace(0.05, recheck=0.2)
        )
        for number in range(5):
            store.push(order(f"r{number}", email=f"{number % 2}@b.c", priority=number % 3))
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            until(lambda: all(ended(store, f"r{number}") for number in range(5)), "all end", 20)
            until(lambda: store.audit().get("found") == 0, "the audit finds nothing", 20)
        finally:
            loop.stop()
            thread.join(20)
            executor.close()
        assert loop.pulse.trouble == ""
        assert store.claimed() == []


def ended(store: Store, key: str) -> bool:
    """Whether the board says that a task is completed."""
    return store.show(key).get("status") == "completed"


def test_in_a_cluster_a_queue_without_a_hash_tag_is_refused_with_the_reason(cluster: int) -> None:
    client = connect(Secret(f"redis+cluster://127.0.0.1:{cluster}"))
    with pytest.raises(Misconfigured, match=r"different slots.*\{rq:queue:downloads\}"):
        Store(client, "rq:queue:downloads", "d1")


def test_a_cluster_that_is_named_like_a_lone_server_is_refused_with_the_cure(cluster: int) -> None:
    with opened(f"redis://127.0.0.1:{cluster}/0") as store:
        with pytest.raises(Misconfigured, match="Redis Cluster") as caught:
            store.check()
        assert "redis+cluster://" in caught.value.advice


def test_a_cluster_that_is_away_is_trouble_and_not_an_end() -> None:
    client = connect(Secret(f"redis+cluster://127.0.0.1:{free_port()}"))
    with pytest.raises(StoreUnavailable):
        Store(client, QUEUE, "d1").ping()


@pytest.mark.parametrize("queue", ["{q}", "{q}:orders", "a{b}c", "x{{y}z"])
def test_a_hash_tag_is_what_stands_in_the_first_braces(queue: str) -> None:
    assert missing_tag(queue) == ""


@pytest.mark.parametrize("queue", ["q", "{}q", "q}{", "rq:queue:downloads"])
def test_without_anything_in_braces_there_is_no_hash_tag(queue: str) -> None:
    assert queue in missing_tag(queue)


# --- what a server must be ------------------------------------------------------------------------
def test_a_server_that_may_drop_the_queue_is_warned_of(tmp_path: Path) -> None:
    own = OwnRedis(tmp_path / "r", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    own.start()
    with opened(own.url) as store:
        (warning,) = store.check()
    own.stop()
    assert "allkeys-lru" in warning


# --- reading an address ---------------------------------------------------------------------------
def test_sentinels_are_read_with_ports_account_service_and_database() -> None:
    read = parse("rediss+sentinel://us%40er:p%2Fw@a:1,[::1],b/my%20m/3?ssl_ca_certs=/x")
    assert (read.kind, read.tls, read.user) == (SENTINEL, True, "us@er")
    assert read.hosts == (("a", 1), ("::1", 26379), ("b", 26379))
    assert (read.service, read.db) == ("my m", 3)
    assert read.password is not None
    assert read.password.reveal() == "p/w"
    assert "p/w" not in repr(read)
    assert read.options["ssl_ca_certs"].reveal() == "/x"


def test_a_cluster_is_read_with_the_usual_port() -> None:
    read = parse("redis+cluster://h,g:7001/")
    assert (read.kind, read.hosts) == (CLUSTER, (("h", 6379), ("g", 7001)))


@pytest.mark.parametrize(
    "address",
    [
        "redis+sentinel://s3cret@h:1",
        "redis+sentinel://:s3cret@h:x/m",
        "redis+sentinel://:s3cret@/m",
        "redis+sentinel://:s3cret@h/m/zero",
        "redis+sentinel://:s3cret@h/m?timeout=1",
        "redis+cluster://:s3cret@h/3",
        "redis+cluster://:s3cret@h?ssl_ca_certs=/x",
        "http://:s3cret@h",
        "redis://:s3cret@h:port",
        "redis://",
        "unix://",
        "s3cret",
        "",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse(address)
    assert "s3cret" not in str(caught.value)
    if address:
        with pytest.raises(BadSettings, match="REDIS_URL must be an address"):
            settings_from({"REDIS_URL": address, "EXECUTOR": "local"})
