"""The plain ways to an API server: what they give, what is left to the package, no secret shown."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.errors import Misconfigured
from dispatcher.executors import Unavailable
from dispatcher.executors.kubernetes import access, plain

ROOT = Path(__file__).parents[3]
SERVER = "https://cluster.invalid:6443"


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a pod nor a proxy."""
    for name in ("KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("http_proxy", raising=False)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a pod finds."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    (tmp_path / "ca.crt").write_text("the authority")
    (tmp_path / "token").write_text("first\n")
    return tmp_path


def config(tmp_path: Path, user: dict[str, Any], **cluster: Any) -> str:
    """A kubeconfig's path."""
    text = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "b", "user": "c"}}],
        "clusters": [{"name": "b", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "other", "user": {"exec": {}}}, {"name": "c", "user": user}],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(text))
    return str(path)


def test_a_pod_goes_by_its_service_account(account: Path) -> None:
    way = plain.find("", account)
    assert way is not None
    assert (way.host, way.authority) == ("https://10.0.0.1:6443", "the authority")
    assert plain.bearer(way) == "Bearer first"


def test_an_address_of_the_sixth_version_stands_in_brackets(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    way = plain.find("", account)
    assert way is not None and way.host == "https://[fd00::1]:6443"


def test_a_rotated_token_is_the_one_that_counts(account: Path) -> None:
    way = plain.find("", account)
    assert way is not None
    (account / "token").write_text("second")
    assert plain.bearer(way) == "Bearer second"
    (account / "token").unlink()
    with pytest.raises(Unavailable, match="cannot be renewed"):
        plain.bearer(way)


def test_a_named_kubeconfig_wins_over_the_service_account(account: Path) -> None:
    way = plain.find(config(account, {"token": "of a person"}), account)
    assert way is not None and way.host == SERVER
    assert plain.bearer(way) == "Bearer of a person"


def test_texts_and_files_of_a_kubeconfig_are_read(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("the key")
    certificate = base64.b64encode(b"the certificate").decode()
    user = {"client-certificate-data": certificate, "client-key": "key.pem"}
    way = plain.find(config(tmp_path, user))
    assert way is not None
    assert (way.certificate, way.key, way.authority) == ("the certificate", "the key", "")
    assert plain.bearer(way) == ""


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"exec": {"command": "login"}}, {}),
        ({"auth-provider": {"name": "x"}}, {}),
        ({"username": "a", "password": "b"}, {}),
        ({"token": "a", "as": "another"}, {}),
        ({"token": "a"}, {"proxy-url": "http://proxy.invalid"}),
        ({"token": "a"}, {"insecure-skip-tls-verify": True}),
        ({"token": "a"}, {"server": ""}),
    ],
)
def test_whatever_asks_for_more_is_left_to_the_package(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any]
) -> None:
    assert plain.find(config(tmp_path, user, **cluster)) is None


def test_a_proxy_is_left_to_the_package(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    assert plain.find("", account) is None


def test_no_secret_shows(tmp_path: Path) -> None:
    way = plain.find(config(tmp_path, {"token": "hidden"}))
    assert "hidden" not in repr(way)


def test_the_package_is_not_imported_for_a_plain_kubeconfig(tmp_path: Path) -> None:
    """It costs half a second and a third of a small dispatcher's memory."""
    program = (
        "import sys; from dispatcher.executors.kubernetes.access import connect; "
        "print(connect(sys.argv[1]).headers(), 'kubernetes' in sys.modules)"
    )
    command = [sys.executable, "-c", program, config(tmp_path, {"token": "a"})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "{'Authorization': 'Bearer a'} False"


def test_a_login_command_speaks_through_the_package(tmp_path: Path) -> None:
    api = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": api, "kind": "ExecCredential", "status": {"token": "of the command"}}
    login = {"apiVersion": api, "command": "echo", "args": [json.dumps(answer)]}
    found = access.connect(config(tmp_path, {"exec": {**login, "interactiveMode": "Never"}}))
    assert found.host == SERVER
    assert found.headers() == {"Authorization": "Bearer of the command"}


def test_a_kubeconfig_without_its_server_is_a_setting(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no way to a Kubernetes API"):
        access.connect(config(tmp_path, {"token": "a", "certificate-authority": 1}, server=None))
