"""The proxy: bytes come through whole, late, not at all or with a reset, as told."""

import json
import random
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests
import urllib3

from playground.content import Synthetic
from playground.proxy import Proxy
from tests.playground.playground_course import SIZE, VIDEO


@pytest.fixture
def proxy(portal):
    """A proxy in front of the portal's CDN."""
    with Proxy(("127.0.0.1", portal.cdn_server.port)) as running:
        yield running


@pytest.fixture
def url(portal, proxy):
    """The video by way of the proxy."""
    return portal.signed_url(VIDEO).replace(f":{portal.cdn_server.port}/", f":{proxy.port}/")


def seconds(url):
    started = time.monotonic()
    answer = requests.get(url, timeout=10)
    assert answer.content == Synthetic("welcome", SIZE).read(0, SIZE)
    return time.monotonic() - started


def test_everything_comes_through_unchanged(url):
    seconds(url)


def test_each_direction_takes_the_delay(proxy, url):
    proxy.delay(0.1)
    assert 0.2 <= seconds(url) < 2


def test_latency_takes_no_throughput_away(portal, proxy):
    """16 MiB at 50 ms: a proxy that waited for each 64 KiB would need 13 seconds."""
    portal.replace(VIDEO, Synthetic("large", 16 << 20))
    proxy.delay(0.05)
    link = portal.signed_url(VIDEO).replace(f":{portal.cdn_server.port}/", f":{proxy.port}/")
    started = time.monotonic()
    assert len(requests.get(link, timeout=30).content) == 16 << 20
    assert time.monotonic() - started < 6


def test_a_cut_resets_every_connection_and_new_ones_are_welcome(portal, proxy, url):
    portal.replace(VIDEO, Synthetic("large", 64 << 20))
    link = portal.signed_url(VIDEO).replace(f":{portal.cdn_server.port}/", f":{proxy.port}/")
    with requests.get(link, stream=True, timeout=10) as answer:
        answer.raw.read(1000)
        assert proxy.connections == 1
        assert proxy.cut() == 1
        with pytest.raises(urllib3.exceptions.ProtocolError, match="reset"):
            while answer.raw.read(1 << 20):
                pass
    portal.replace(VIDEO, Synthetic("welcome", SIZE))
    seconds(url)


def test_a_freeze_holds_everything_and_a_thaw_lets_it_go(proxy, url):
    proxy.freeze()
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, timeout=0.2)
    took = []
    client = threading.Thread(target=lambda: took.append(seconds(url)))
    client.start()
    proxy.thaw()
    client.join(10)
    assert took


def test_new_connections_are_reset_while_it_refuses(proxy, url):
    proxy.refuse()
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=10)
    proxy.refuse(False)
    seconds(url)


def broken_at(link):
    """How many bytes of a body come before its connection breaks."""
    came = 0
    with requests.get(link, stream=True, timeout=10) as answer:
        try:
            while piece := answer.raw.read(1 << 14):
                came += len(piece)
        except urllib3.exceptions.ProtocolError:
            return came
    return None


def test_frayed_connections_break_at_random_places_that_a_seed_repeats(portal, proxy):
    """Each connection has a life of its own in bytes; the same seed gives the same lives."""
    portal.replace(VIDEO, Synthetic("large", 64 << 20))
    link = portal.signed_url(VIDEO).replace(f":{portal.cdn_server.port}/", f":{proxy.port}/")
    proxy.fray(1e6, seed=3)
    first = [broken_at(link) for _ in range(5)]
    assert None not in first and max(first) < 64 << 20
    assert len({one >> 16 for one in first}) > 1
    proxy.fray(0)
    portal.replace(VIDEO, Synthetic("welcome", SIZE))
    seconds(link)


def test_a_frayed_connection_ends_at_the_byte_its_seed_says():
    """The server's bytes are counted, not the client's, and both ends are told."""
    life = int(random.Random(8).expovariate(1 / 5000))
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Proxy(server.getsockname()) as proxy,
    ):
        proxy.fray(5000, seed=8)
        with socket.create_connection((proxy.host, proxy.port), timeout=10) as client:
            far, _ = server.accept()
            with far:
                client.sendall(b"q" * (life + 100))
                far.settimeout(10)
                far.recv(1)
                far.sendall(b"a" * (life - 1))
                came = b""
                while len(came) < life - 1:
                    came += client.recv(1 << 16)
                far.sendall(b"aa")
                with pytest.raises(ConnectionResetError):
                    while client.recv(1 << 16):
                        pass


def test_a_server_that_is_not_there_is_a_reset_connection():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Proxy(("127.0.0.1", port)) as proxy, pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://127.0.0.1:{proxy.port}/", timeout=10)


def test_an_end_is_passed_on_in_one_direction_while_the_other_lives():
    """A client may finish sending and still wait for the answer."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Proxy(server.getsockname()) as proxy,
        socket.create_connection((proxy.host, proxy.port), timeout=10) as client,
    ):
        far, _ = server.accept()
        with far:
            far.settimeout(10)
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: far.recv(100), b"")) == b"question"
            far.sendall(b"answer")
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"answer"


def test_a_proxy_process_is_commanded_over_http(portal, tmp_path):
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "playground", "proxy", "--delay-ms", "1"]
    command += ["--to", f"127.0.0.1:{portal.cdn_server.port}", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)  # between two looks, not instead of one
        said = json.loads(ready.read_text())
        link = portal.signed_url(VIDEO).replace(
            f"127.0.0.1:{portal.cdn_server.port}", said["address"]
        )
        seconds(link)
        control = f"{said['control']}/_control"
        assert requests.get(f"{control}/health", timeout=10).json()["ok"]
        requests.post(f"{control}/weather", json={"refusing": True}, timeout=10)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(link, timeout=10)
        frayed = requests.post(f"{control}/weather", json={"fray": 1e6, "seed": 2}, timeout=10)
        assert frayed.status_code == 200
        bad = requests.post(f"{control}/weather", json={"delay_ms": "x"}, timeout=10)
        assert bad.status_code == 400
        process.terminate()
        assert process.wait(30) == 0
