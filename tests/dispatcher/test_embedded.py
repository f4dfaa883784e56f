"""The embedded server keeps what was pushed, lets nobody in, and goes when its program goes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract.errors import Misconfigured
from dispatcher.embedded import EmbeddedServer

ONCE = Retry(NoBackoff(), 0)
_HOST = """
import sys
from pathlib import Path
from dispatcher.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that does not exist yet."""
    return tmp_path / "state"


def _client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis.from_url(server.url.reveal(), decode_responses=True)


def _gone(descriptor: int) -> None:
    """Wait for the end of the process behind a pidfd."""
    try:
        assert select.select([descriptor], [], [], 20)[0], "the process does not end"
    finally:
        os.close(descriptor)


def test_what_was_pushed_survives_a_kill(state: Path) -> None:
    """Orders pushed before the server was killed are there when it starts again, in order."""
    with EmbeddedServer(state) as server:
        _client(server).lpush("queue", "one", "two", "three")
        assert server.pid is not None
        descriptor = os.pidfd_open(server.pid)
        os.kill(server.pid, signal.SIGKILL)
        _gone(descriptor)
    with EmbeddedServer(state) as server:
        assert _client(server).lrange("queue", 0, -1) == ["three", "two", "one"]


def test_what_was_pushed_survives_an_orderly_end(state: Path) -> None:
    """Orders are there after a close and a start, under the same address."""
    with EmbeddedServer(state) as server:
        first = server.url.reveal()
        _client(server).lpush("queue", "one")
    with EmbeddedServer(state) as server:
        assert server.url.reveal() == first
        assert _client(server).lrange("queue", 0, -1) == ["one"]


def test_a_torn_last_write_is_no_obstacle(state: Path) -> None:
    """After a power cut in the middle of a write the server starts with all writes before it."""
    with EmbeddedServer(state) as server:
        _client(server).lpush("queue", "one")
        _client(server).lpush("queue", "two")
    (file,) = (state / "redis" / "appendonlydir").glob("*.incr.aof")
    file.write_bytes(file.read_bytes()[:-5])
    with EmbeddedServer(state) as server:
        assert _client(server).lrange("queue", 0, -1) == ["one"]


def test_nobody_gets_in_without_the_password(state: Path) -> None:
    """The server listens on the loopback address alone and wants the password, on both doors."""
    with EmbeddedServer(state) as server:
        port = urlsplit(server.url.reveal()).port
        assert port is not None
        assert _listening(port) == {"127.0.0.1"}
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port, retry=ONCE).ping()
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port, password="guess", retry=ONCE).ping()
        assert server.socket is not None
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(unix_socket_path=str(server.socket), retry=ONCE).ping()
        password = urlsplit(server.url.reveal()).password
        assert redis.Redis(unix_socket_path=str(server.socket), password=password).ping()


def _listening(port: int) -> set[str]:
    """The addresses on which anybody listens on that port."""
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                words = [address[i : i + 8] for i in range(0, len(address), 8)]
                raw = b"".join(bytes.fromhex(word)[::-1] for word in words)
                found.add(socket.inet_ntop(family, raw))
    return found


def test_the_password_is_for_its_owner_only(state: Path) -> None:
    """The password is in one file of mode 0600, and in no argument, environment, log or repr."""
    with EmbeddedServer(state) as server:
        url = server.url.reveal()
        password = urlsplit(url).password
        assert password is not None
        assert len(password) >= 32
        file = state / "redis.url"
        assert file.read_text() == url + "\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE((state / "redis").stat().st_mode) == 0o700
        assert password not in repr(server) + repr(server.url) + str(server.url)
        for place in ("cmdline", "environ"):
            assert password not in Path(f"/proc/{server.pid}/{place}").read_text()
    kept = [path for path in state.rglob("*") if path.is_file() and path != file]
    assert kept
    assert not [path for path in kept if password.encode() in path.read_bytes()]


def test_the_secrets_of_the_dispatcher_are_not_the_servers(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does not inherit our environment, where the other settings are."""
    monkeypatch.setenv("API_SECRET_KEY", "a-very-secret-key")
    with EmbeddedServer(state) as server:
        environment = Path(f"/proc/{server.pid}/environ").read_text()
        assert environment
        assert "a-very-secret-key" not in environment


def test_nothing_is_ever_evicted(state: Path) -> None:
    """The server appends each write, syncs every second, dumps never and evicts never."""
    with EmbeddedServer(state) as server:
        config = _client(server).config_get(
            "appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "protected-mode"
        )
    assert config == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "protected-mode": "yes",
    }


def test_the_server_goes_when_its_program_is_killed(state: Path) -> None:
    """After SIGKILL of the dispatcher no server is left, and the next start has all orders."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOST, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        descriptor = os.pidfd_open(pid)
        with redis.Redis.from_url((state / "redis.url").read_text().strip()) as client:
            client.lpush("queue", "one")
        host.kill()
    with EmbeddedServer(state) as server:  # at once: it waits for the old one by itself
        assert server.pid != pid
        assert _client(server).lrange("queue", 0, -1) == ["one"]
    _gone(descriptor)


def test_the_server_outlives_the_thread_that_started_it(state: Path) -> None:
    """A server started from a thread that ends is still there: its program is what counts."""
    server = EmbeddedServer(state)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        pid = server.pid
        for _ in range(20):
            assert _client(server).ping()
        assert server.pid == pid
    finally:
        server.close()


def test_the_terminals_interrupt_does_not_reach_the_server(state: Path) -> None:
    """The server has a session of its own: Ctrl-C ends the dispatcher, which ends the server."""
    with EmbeddedServer(state) as server:
        assert server.pid is not None
        assert os.getsid(server.pid) != os.getsid(0)


def test_close_ends_the_server(state: Path) -> None:
    """After a close the process is gone, its address too, and closing again is no error."""
    server = EmbeddedServer(state)
    server.start()
    descriptor = os.pidfd_open(server.pid or 0)
    server.close()
    _gone(descriptor)
    server.close()
    assert server.pid is None
    with pytest.raises(Misconfigured):
        _ = server.url


def test_a_known_port_that_is_taken_is_changed(state: Path) -> None:
    """When somebody has the old port meanwhile, the server takes another; the password stays."""
    with EmbeddedServer(state) as server:
        before = urlsplit(server.url.reveal())
    with socket.create_server(("127.0.0.1", before.port or 0)), EmbeddedServer(state) as server:
        after = urlsplit(server.url.reveal())
        assert after.port != before.port
        assert after.password == before.password
        assert _client(server).ping()


def test_a_wished_port_is_had_or_refused(state: Path) -> None:
    """A port that was asked for is used; taken by somebody else, the error says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=str(port)):
            EmbeddedServer(state, port).start()
    with EmbeddedServer(state, port) as server:
        assert urlsplit(server.url.reveal()).port == port
        assert _client(server).ping()


def test_one_state_folder_has_one_server(state: Path) -> None:
    """A second program is refused on a folder in use, and the first server goes on."""
    with EmbeddedServer(state) as server:
        _client(server).lpush("queue", "one")
        with pytest.raises(Misconfigured, match="Another program"):
            EmbeddedServer(state).start()
        assert _client(server).lrange("queue", 0, -1) == ["one"]


@pytest.mark.parametrize("name", ['a "quoted" \\ name', "Ünïcode 日本", "x" * 150])
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    """Odd and long paths work; where a path is too long for a Unix socket there is none."""
    with EmbeddedServer(tmp_path / name) as server:
        assert _client(server).ping()
        assert (server.socket is None) == (len(name) > 100)
        assert server.socket is None or server.socket.is_socket()
        assert (tmp_path / name / "redis" / "appendonlydir").is_dir()


@pytest.mark.parametrize("content", ["", "nonsense", "redis://:short@127.0.0.1:x/0", "[", "\n"])
def test_a_broken_address_file_is_made_anew(state: Path, content: str) -> None:
    """When the file with the address was spoilt, a new password and port are written there."""
    state.mkdir()
    (state / "redis.url").write_text(content)
    with EmbeddedServer(state) as server:
        assert _client(server).ping()
        assert (state / "redis.url").read_text() == server.url.reveal() + "\n"


def test_a_state_that_is_no_folder_is_said(tmp_path: Path) -> None:
    """A state folder that cannot be made is an error with its name and the cure."""
    (tmp_path / "state").write_text("a file")
    with pytest.raises(Misconfigured, match="state") as caught:
        EmbeddedServer(tmp_path / "state").start()
    assert "REDIS_URL" in caught.value.advice


def test_a_spoilt_store_is_said(state: Path) -> None:
    """When the server cannot read its files it does not start empty: the error names the log."""
    with EmbeddedServer(state) as server:
        _client(server).lpush("queue", json.dumps({"taskId": 1}))
    (manifest,) = (state / "redis" / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(Misconfigured, match="does not start") as caught:
        EmbeddedServer(state).start()
    assert "server.log" in caught.value.advice


def test_the_address_is_one_that_redis_cli_takes(state: Path) -> None:
    """It logs in with what stands in the file, the user's name included."""
    cli = Path(sys.executable).with_name("redis-cli")
    with EmbeddedServer(state):
        address = (state / "redis.url").read_text().strip()
        said = subprocess.run([cli, "-u", address, "PING"], capture_output=True, text=True)
    assert said.stdout.strip() == "PONG"
