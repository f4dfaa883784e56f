"""Letting go: a file on one machine, one PATCH of the own claim in a cluster."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contract.errors import Misconfigured, Temporary
from job_image.release import release
from job_image.stop import Stop
from tests.job_image.deliver.run import Run, Runs
from tests.services import absent, free_port

TOKEN = "projected-token-77ac"
QUICK = (0.0, 0.01, 0.01)


def test_a_file_tells_the_time_of_release(runs: Runs) -> None:
    run = runs(RELEASE="file")
    release(run.context())
    text = (run.root / ".state/released").read_text().strip()
    assert abs((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()) < 60


def test_releasing_twice_is_harmless(runs: Runs) -> None:
    run = runs(RELEASE="file")
    release(run.context())
    release(run.context())
    assert (run.root / ".state/released").is_file()


# --- in a cluster ---------------------------------------------------------------------------------
@dataclass
class Api:
    """An API server over TLS: answers with the statuses in turn, at last with 200."""

    account: Path
    statuses: list[int] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API server, and the environment of a pod beside it."""
    account = tmp_path / "account"
    account.mkdir()
    certificate, key = certified(account)
    (account / "token").write_text(TOKEN + "\n")
    (account / "namespace").write_text("from-the-account")
    fake = Api(account)

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fake.asked.append((self.path, dict(self.headers.items()), body))
            status = fake.statuses.pop(0) if fake.statuses else 200
            text = json.dumps({"kind": "Status", "message": f"the words of {status}"})
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    yield fake
    server.shutdown()
    server.server_close()


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    openssl = shutil.which("openssl") or absent("openssl")
    certificate, key = folder / "ca.crt", folder / "key"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def podded(runs: Runs, **settings: str) -> Run:
    """A run in a pod."""
    return runs(**{"RELEASE": "kubernetes", "CLAIM": "course-999", "NAMESPACE": "shop", **settings})


def test_the_claim_gets_its_annotation_and_nothing_else(runs: Runs, api: Api) -> None:
    release(podded(runs).context(), account=api.account)
    ((path, headers, body),) = api.asked
    assert path == "/api/v1/namespaces/shop/persistentvolumeclaims/course-999"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/merge-patch+json"
    data = json.loads(body)
    released = data["metadata"]["annotations"].pop("course-runner/released")
    assert datetime.fromisoformat(released).tzinfo is not None
    assert data == {"metadata": {"annotations": {}}}


def test_the_namespace_comes_from_the_account_unless_set(runs: Runs, api: Api) -> None:
    release(podded(runs, NAMESPACE="").context(), account=api.account)
    assert "/namespaces/from-the-account/" in api.asked[0][0]


@pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
def test_a_passing_answer_is_tried_again(runs: Runs, api: Api, status: int) -> None:
    api.statuses = [status]
    release(podded(runs).context(), account=api.account, schedule=QUICK)
    assert len(api.asked) == 2


def test_a_renewed_token_is_read_again(runs: Runs, api: Api) -> None:
    run = podded(runs)
    api.statuses = [401]

    class Renewing(Stop):
        """Renews the token while the program waits."""

        def wait(self, seconds: float) -> None:
            if api.asked:
                (api.account / "token").write_text("renewed-token")

    run.stop = Renewing()
    release(run.context(), account=api.account, schedule=QUICK)
    assert [headers["Authorization"] for _, headers, _ in api.asked] == [
        f"Bearer {TOKEN}",
        "Bearer renewed-token",
    ]


def test_an_api_server_that_stays_away_is_a_passing_failure(runs: Runs, api: Api) -> None:
    api.statuses = [503] * 9
    with pytest.raises(Temporary, match="course-999 could not be released: 503, the words of 503"):
        release(podded(runs).context(), account=api.account, schedule=QUICK)
    assert len(api.asked) == len(QUICK)


def test_nobody_listening_is_a_passing_failure(
    runs: Runs, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(free_port()))
    with pytest.raises(Temporary, match="does not answer"):
        release(podded(runs).context(), account=api.account, schedule=QUICK)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_is_final_and_told_in_the_servers_words(
    runs: Runs, api: Api, status: int
) -> None:
    api.statuses = [status]
    with pytest.raises(Misconfigured, match=f"course-999: {status}, the words of {status}"):
        release(podded(runs).context(), account=api.account, schedule=QUICK)
    assert len(api.asked) == 1


def test_a_server_with_another_certificate_gets_no_token(
    runs: Runs, api: Api, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    certified(other)
    shutil.copy(api.account / "token", other)
    with pytest.raises(Temporary, match="SSLError"):
        release(podded(runs).context(), account=other, schedule=QUICK)
    assert api.asked == []


def test_without_an_account_it_is_said(runs: Runs, api: Api, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"service account cannot be read: .*token"):
        release(podded(runs).context(), account=tmp_path / "none", schedule=QUICK)


def test_outside_a_cluster_it_is_said(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Misconfigured, match="KUBERNETES_SERVICE_HOST"):
        release(podded(runs).context(), schedule=QUICK)
