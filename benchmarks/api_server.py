"""An etcd and an API server of the benchmark's own, on ports of the loopback, and nothing beside.

In: a folder, and the two programs that `tests.cluster` builds. Out: a kubeconfig, and objects by
the ten thousand, put into etcd as the API server would have stored them: a model is made through
the API, its text is copied under other names. No controller runs here, so nothing changes by
itself, and a cluster that others use is left alone.
"""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import urllib3

from contract.names import object_name
from tests.cluster import families, names
from tests.services import BOUND_TO_US, free_port, until

Json = dict[str, Any]
NAMESPACE = "scale"
TOKEN = "only-for-this-benchmark"
MODEL = "the-model-of-all"
"""The id of the order whose objects are copied."""
BATCH = 100
"""Objects of one transaction of etcd, which takes 128 at most."""
_HERE = "127.0.0.1"


class ApiServer:
    """Both processes; `url` and `kubeconfig` lead to the API server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._etcd_port, self._peer_port, self._port = free_port(), free_port(), free_port()
        self._etcd_url = f"http://{_HERE}:{self._etcd_port}"
        self.url = f"https://{_HERE}:{self._port}"
        self.kubeconfig = folder / "kubeconfig"
        self.authority = folder / "keys" / "apiserver.crt"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pool = urllib3.PoolManager()

    def start(self) -> None:
        """Start etcd, then the API server; return when it is ready and knows the namespace."""
        families.build(tuple(f for f in families.FAMILIES if f.name in ("etcd", "kubernetes")))
        self._spawn("etcd", self._etcd_flags())
        until(lambda: self._etcd("maintenance/status", {}), "etcd answers")
        self._write_keys()
        self.start_api()
        self.send("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})

    def start_api(self) -> None:
        """Start the API server on what etcd has."""
        self._spawn("kube-apiserver", self._api_flags())
        until(self.authority.exists, "the API server has made its certificate")
        self._write_kubeconfig()
        self._pool = urllib3.PoolManager(ca_certs=str(self.authority))
        until(self._ready, "the API server is ready", 120)

    def stop_api(self) -> None:
        """End the API server as a crash does."""
        process = self._processes.pop()
        process.kill()
        process.wait()

    def close(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def send(self, method: str, path: str, body: Json | None = None, kind: str = "json") -> Json:
        """Call the API server."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": f"application/{kind}"}
        data = None if body is None else json.dumps(body).encode()
        answer = self._pool.request(method, self.url + path, body=data, headers=headers)
        assert answer.status < 300, answer.data
        found: Json = json.loads(answer.data)
        return found

    def copy(self, paths: Iterable[tuple[str, str]], ids: Iterable[str]) -> None:
        """Copy the model's objects for each id. `paths`: where the API, and etcd, has a kind."""
        models = [(etcd, *self._stored(f"{api}/{object_name(MODEL)}")) for api, etcd in paths]
        copies = (
            (f"{place}/{object_name(one)}", _renamed(text, uid, one))
            for one in ids
            for place, text, uid in models
        )
        while batch := list(islice(copies, BATCH)):
            self._put(batch)

    # --- how ----------------------------------------------------------------------------------
    def _stored(self, path: str) -> tuple[str, str]:
        """Return an object's text as etcd may have it, and its uid."""
        found = self.send("GET", path)
        del found["metadata"]["resourceVersion"]
        return json.dumps(found, separators=(",", ":")), found["metadata"]["uid"]

    def _put(self, batch: list[tuple[str, str]]) -> None:
        puts = [{"requestPut": {"key": _b64(k), "value": _b64(v)}} for k, v in batch]
        assert self._etcd("kv/txn", {"success": puts}).get("succeeded"), "etcd refused"

    def _etcd(self, what: str, body: Json) -> Json:
        with suppress(urllib3.exceptions.HTTPError):
            url = f"{self._etcd_url}/v3/{what}"
            answer = self._pool.request("POST", url, body=json.dumps(body), retries=False)
            if answer.status == 200:
                found: Json = json.loads(answer.data)
                return found
        return {}

    def _ready(self) -> bool:
        assert self._processes[-1].poll() is None, f"it has ended; see {self._folder}"
        with suppress(urllib3.exceptions.HTTPError):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            url = f"{self.url}/readyz"
            return self._pool.request("GET", url, headers=headers, retries=False).status == 200
        return False

    def _spawn(self, name: str, flags: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [*BOUND_TO_US, str(families.binary(name)), *flags], stdout=log, stderr=log
                )
            )

    def _etcd_flags(self) -> list[str]:
        peer = f"http://{_HERE}:{self._peer_port}"
        return [
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync=true",
            "--log-level=warn",
        ]

    def _api_flags(self) -> list[str]:
        keys = self._folder / "keys"
        return [
            f"--etcd-servers={self._etcd_url}",
            f"--bind-address={_HERE}",
            f"--secure-port={self._port}",
            f"--cert-dir={keys}",
            f"--service-cluster-ip-range={names.SERVICE_RANGE}",
            f"--token-auth-file={keys / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys / 'accounts.key'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _write_keys(self) -> None:
        keys = self._folder / "keys"
        keys.mkdir(mode=0o700)
        (keys / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        command = ["openssl", "genrsa", "-out", str(keys / "accounts.key"), "2048"]
        subprocess.run(command, check=True, capture_output=True)

    def _write_kubeconfig(self) -> None:
        authority = {"server": self.url, "certificate-authority": str(self.authority)}
        context = {"cluster": "own", "user": "admin", "namespace": NAMESPACE}
        text = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "own",
            "clusters": [{"name": "own", "cluster": authority}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "own", "context": context}],
        }
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(text))


def _renamed(text: str, uid: str, one: str) -> str:
    """Return the model's text as that of another order. Every id must make a plain name."""
    assert object_name(one) == object_name(MODEL).replace(MODEL, one), one
    return text.replace(MODEL, one).replace(uid, str(uuid.uuid4()))


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
