"""The door to the API server: what is repeated, what is not, and what each failure becomes."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.errors import Misconfigured
from contract.log import Log
from dispatcher.executors import Refused, Unavailable
from dispatcher.executors.kubernetes.answers import NotFound, Throttled, Unauthorized
from dispatcher.executors.kubernetes.client import Client, Unreachable
from tests.dispatcher.kubernetes_executor.api_server import (
    ApiServer,
    Exchange,
    Mute,
    cut,
    cut_in_stream,
    page,
    raw_lines,
    refuse,
    status,
)

PODS = "/api/v1/namespaces/tasks/pods"
POD = {"metadata": {"name": "p"}}


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[Client]:
    """A client of the server."""
    client = Client(api.kubeconfig(tmp_path), Log.for_task())
    yield client
    client.close()


def delete(client: Client) -> object:
    """Delete the pod."""
    return client.delete(f"{PODS}/p", {"preconditions": {"uid": "u"}})


CALLS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get(f"{PODS}/p"),
    "list": lambda client: client.get(PODS),
    "create": lambda client: client.create(PODS, POD),
    "patch": lambda client: client.patch(f"{PODS}/p", {"metadata": {}}),
    "delete": delete,
}


@pytest.mark.parametrize("verb", ["get", "list", "patch"])
@pytest.mark.parametrize(
    "deed", [refuse(500, "InternalError", "x"), page(504, "<html>"), cut], ids=["500", "504", "cut"]
)
def test_what_may_be_repeated_is_repeated(
    api: ApiServer, client: Client, verb: str, deed: Callable[[Exchange], None]
) -> None:
    """A call whose repetition is harmless survives two failures of the server."""
    api.put("pods", POD)
    api.wrong(verb, deed, times=2)
    CALLS[verb](client)
    assert len(api.seen(verb)) == 3


@pytest.mark.parametrize(
    "deed", [refuse(500, "InternalError", "x"), page(504, "<html>"), cut], ids=["500", "504", "cut"]
)
def test_a_creation_is_not_repeated_blindly(
    api: ApiServer, client: Client, deed: Callable[[Exchange], None]
) -> None:
    """After an answer that leaves open whether the object was made, the caller must ask again."""
    api.wrong("create", deed)
    with pytest.raises(Unavailable):
        client.create(PODS, POD)
    assert len(api.seen("create")) == 1


@pytest.mark.parametrize("verb", CALLS)
def test_a_throttled_call_waits_as_told(api: ApiServer, client: Client, verb: str) -> None:
    """A server with too much to do has done nothing: any call comes again, when it was told to."""
    if verb != "create":
        api.put("pods", POD)
    api.wrong(verb, refuse(429, "TooManyRequests", "later", Retry_After="1"))
    if verb == "delete":
        with pytest.raises(Exception, match="does not match"):
            delete(client)  # the second one is answered, in the right way: it is another's pod
    else:
        CALLS[verb](client)
    first, second = api.seen(verb)
    assert second.at - first.at >= 1.0


def test_a_long_wait_is_left_to_the_caller(api: ApiServer, client: Client) -> None:
    """When more than a few seconds are asked for, the error carries them instead of a thread."""
    api.wrong("get", refuse(429, "TooManyRequests", "later", Retry_After="60"))
    with pytest.raises(Throttled) as caught:
        client.get(f"{PODS}/p")
    assert caught.value.retry_after == 60.0
    assert len(api.seen("get")) == 1


def test_a_refusal_is_not_repeated(api: ApiServer, client: Client) -> None:
    """What the server refuses once it would refuse again."""
    api.wrong("create", refuse(422, "Invalid", "spec is wrong"))
    with pytest.raises(Refused, match="spec is wrong"):
        client.create(PODS, POD)
    with pytest.raises(NotFound):
        client.get(f"{PODS}/p")
    assert len(api.seen("create")) == len(api.seen("get")) == 1


def test_a_server_that_stays_away_is_unavailable(api: ApiServer, client: Client) -> None:
    """After the last try the error says what was asked for."""
    api.wrong("get", page(503, "<html>no upstream</html>"), times=3)
    with pytest.raises(Unavailable, match=rf"503 to GET {PODS}/p: <html>no upstream</html>"):
        client.get(f"{PODS}/p")


def test_nobody_at_the_address_is_unreachable(tmp_path: Path, api: ApiServer) -> None:
    """A refused connection is told with the address, after tries that were free to make."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = Path(api.kubeconfig(tmp_path))
    path.write_text(path.read_text().replace(str(api.server_port), str(port)))
    with pytest.raises(Unreachable, match=str(port)):
        Client(str(path), Log.for_task()).create(PODS, POD)


def test_a_page_in_place_of_an_object_is_no_object(api: ApiServer, client: Client) -> None:
    """A proxy's cheerful 200 with a page is a failure, and so is a JSON that is no object."""
    api.wrong("create", page(200, "<html>Welcome</html>"))
    api.wrong("create", page(200, "[]"))
    for _ in range(2):
        with pytest.raises(Unavailable, match="something else than a Kubernetes object"):
            client.create(PODS, POD)


def test_no_way_to_a_cluster_is_a_setting(tmp_path: Path) -> None:
    """A kubeconfig that is missing or broken is told as such, with the cure."""
    broken = tmp_path / "broken"
    broken.write_text("{]")
    for path in (tmp_path / "missing", broken):
        with pytest.raises(Misconfigured, match="no way to a Kubernetes API") as caught:
            Client(str(path), Log.for_task()).open()
        assert "KUBECONFIG" in caught.value.advice


# --- who we are -----------------------------------------------------------------------------------
def known_token(token: str) -> Callable[[Exchange], None]:
    """Answer 401 unless the token is that one."""

    def deed(exchange: Exchange) -> None:
        if exchange.headers["Authorization"] == f"Bearer {token}":
            exchange.api.serve(exchange)
        else:
            exchange.reply(401, status(401, "Unauthorized", "Unauthorized"))

    return deed


def test_a_rotated_token_is_read_anew(api: ApiServer, tmp_path: Path) -> None:
    """When the server no longer knows us, credentials are loaded again, and the call goes on."""
    client = Client(api.kubeconfig(tmp_path, "first"), Log.for_task())
    client.create(PODS, POD)
    api.kubeconfig(tmp_path, "second")
    api.wrong("create", known_token("second"), times=2)
    client.create(PODS, {"metadata": {"name": "q"}})
    sent = [request.headers["Authorization"] for request in api.seen("create")]
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]


def test_a_refused_token_makes_everything_wait(api: ApiServer, client: Client) -> None:
    """Credentials that stay refused are no fault of the order."""
    api.wrong("create", known_token("other"), times=9)
    with pytest.raises(Unauthorized) as caught:
        client.create(PODS, POD)
    assert "service account" in caught.value.advice
    assert len(api.seen("create")) == 2


def test_no_secret_shows_in_an_error(api: ApiServer, client: Client) -> None:
    """Neither the token nor a query gets into what is logged."""
    api.wrong("list", page(503, "away"), times=3)
    with pytest.raises(Unavailable) as caught:
        client.get(PODS, {"labelSelector": "hidden=yes"})
    told = str(caught.value) + caught.value.advice + repr(caught.value)
    assert "hidden" not in told
    assert "first" not in told


# --- streams --------------------------------------------------------------------------------------
def lines(client: Client, silence: float = 5) -> Iterator[bytes]:
    """Open a stream of lines."""
    return iter(client.lines(PODS, {"watch": "true"}, silence))


def test_lines_are_whole_whatever_the_chunks(api: ApiServer, client: Client) -> None:
    """Chunks end anywhere; lines do not. The last one needs no end."""

    def deed(exchange: Exchange) -> None:
        exchange.begin_stream()
        for chunk in (b"one\ntw", b"o\n\nthr", b"ee"):
            exchange.chunk(chunk)
        exchange.chunk(b"")

    api.wrong("watch", deed)
    assert list(lines(client)) == [b"one", b"two", b"", b"three"]


def test_a_stream_that_breaks_says_so(api: ApiServer, client: Client) -> None:
    """A cut in the middle of a chunk is a failure, never a clean end."""
    api.wrong("watch", cut_in_stream)
    with pytest.raises(Unavailable, match="broke"):
        list(lines(client))


def test_a_mute_stream_is_given_up(api: ApiServer, client: Client) -> None:
    """A half-open connection is noticed by its silence."""
    mute = Mute()
    api.wrong("watch", mute)
    with pytest.raises(Unavailable, match="silent for too long"):
        list(lines(client, 0.2))
    mute.over.set()


def test_a_stream_that_is_refused_speaks_like_any_call(api: ApiServer, client: Client) -> None:
    """An answer without a stream is translated like others."""
    api.wrong("watch", refuse(403, "Forbidden", "not yours"))
    with pytest.raises(Refused, match="not yours"):
        lines(client)


def test_a_stream_can_be_closed_while_it_is_waited_for(api: ApiServer, client: Client) -> None:
    """Closing from another thread ends the wait at once, without an error."""
    mute = Mute()
    api.wrong("watch", mute)
    stream = client.lines(PODS, {"watch": "true"}, 60)
    got: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: got.append(list(stream)))
    reader.start()
    assert mute.begun.wait(10)
    began = time.monotonic()
    stream.close()
    reader.join(10)
    mute.over.set()
    assert got == [[]]
    assert time.monotonic() - began < 5


def test_closing_twice_or_after_the_end_is_no_error(api: ApiServer, client: Client) -> None:
    """A stream that has ended may still be closed."""
    api.wrong("watch", raw_lines(b"{}"))
    stream = client.lines(PODS, {"watch": "true"}, 5)
    assert list(stream) == [b"{}"]
    stream.close()
    stream.close()


def test_connections_are_used_again(api: ApiServer, client: Client) -> None:
    """Many calls from one thread need one connection."""
    ports: set[int] = set()

    def deed(exchange: Exchange) -> None:
        ports.add(exchange.client_address[1])
        exchange.api.serve(exchange)

    api.put("pods", POD)
    api.wrong("get", deed, times=5)
    for _ in range(5):
        client.get(f"{PODS}/p")
    assert len(ports) == 1


def test_each_warning_is_told_once(
    api: ApiServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """What the server warns of is logged, but not for every object again."""

    def deed(exchange: Exchange) -> None:
        warning = '299 - "would violate PodSecurity \\"restricted\\""'
        exchange.reply(201, json.loads(json.dumps(POD)), {"Warning": warning})

    api.wrong("create", deed, times=3)
    for _ in range(3):
        client.create(PODS, POD)
    assert [record.getMessage() for record in caplog.records].count(
        'The API server warns: would violate PodSecurity \\"restricted\\"'
    ) == 1
