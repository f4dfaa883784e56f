"""What the measurements of the hand-off share: a namespace, a queue, a dispatcher, a bare client.

In: a kubeconfig and an address of Redis. Out: orders, a dispatcher as a process of its own, the
same objects made by urllib3, the moment at which each Job was seen. Pods are kept from starting by
a node selector that fits no node, for all alike. A cluster's controllers take minutes to remove
what a round has made (20 calls a second, three for each task), so `sweep` does it itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import new_client_from_config

from contract.env import Reader
from contract.handoff import Assignment
from contract.task import Task
from dispatcher.executors.kubernetes import manifests, settings
from tests.cluster import cluster
from tests.e2e.kube import Kube, until
from tests.services import free_port

THREADS = 8
COURSE = "https://portal.invalid/course/benchmark/"
NOWHERE = {"benchmark": "nowhere"}
"""The node selector of all pods: there is no such node."""
SWEPT = 120.0
"""Seconds that a namespace may take to be empty."""
MERGE = "application/merge-patch+json"

Json = dict[str, Any]


class Api:
    """The API server by pooled connections, as lean as Python has them."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        known = new_client_from_config(str(kubeconfig))
        known.configuration.connection_pool_maxsize = THREADS
        self._pool = RESTClientObject(known.configuration).pool_manager
        base = known.configuration.host.rstrip("/")
        token = known.configuration.get_api_key_with_prefix("BearerToken")
        self._headers = {"Authorization": token} if token else {}
        self.claims = f"{base}/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self.pods = f"{base}/api/v1/namespaces/{namespace}/pods"
        self.jobs = f"{base}/apis/batch/v1/namespaces/{namespace}/jobs"

    def send(self, method: str, url: str, body: bytes, kind: str = "application/json") -> bytes:
        """Call; fail on anything but success, or an object that is gone."""
        headers = {"Content-Type": kind, **self._headers}
        answer = self._pool.request(method, url, body=body, headers=headers)
        assert answer.status < 300 or answer.status == 404, answer.data
        return bytes(answer.data)

    def names(self, url: str) -> list[str]:
        """Return what a collection holds; only metadata is asked for."""
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        answer = self._pool.request("GET", url, headers={"Accept": accept, **self._headers})
        assert answer.status == 200, answer.data
        return [item["metadata"]["name"] for item in json.loads(answer.data)["items"] or ()]

    def sweep(self) -> None:
        """Remove all Jobs, pods and claims, finalizers and all; return when nothing is left."""
        kinds, deadline = (self.jobs, self.pods, self.claims), time.monotonic() + SWEPT
        options = b'{"propagationPolicy":"Background","gracePeriodSeconds":0}'
        while sum(self._remove(url, options) for url in kinds):  # each is asked every time
            assert time.monotonic() < deadline, "the namespace is not empty yet"

    def _remove(self, url: str, options: bytes) -> int:
        """Delete what is in a collection; return how much there was."""
        if not self.names(url):
            return 0
        self.send("DELETE", url, options)
        left = self.names(url)
        free = b'{"metadata":{"finalizers":null}}'
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: self.send("PATCH", f"{url}/{name}", free, MERGE), left))
        return max(1, len(left))


@dataclass
class Bench:
    """A namespace, a queue, and the settings that both sides share."""

    kube: Kube
    kubeconfig: Path
    redis: redis.Redis
    url: str
    folder: Path
    values: dict[str, str] = field(init=False)
    api: Api = field(init=False)

    def __post_init__(self) -> None:
        self.api = Api(self.kubeconfig, self.kube.namespace)
        self.values = {
            "REDIS_URL": self.url,
            "QUEUE": f"bench:{uuid.uuid4().hex[:6]}",
            "KUBECONFIG": str(self.kubeconfig),
            "NAMESPACE": self.kube.namespace,
            "JOB_IMAGE": cluster.JOB_IMAGE,
            "JOB_NODE_SELECTOR": json.dumps(NOWHERE),
            "MAX_ACTIVE": "1000000",
            "HEALTH_PORT": str(free_port()),
            "HEALTH_HOST": "127.0.0.1",
        }

    @contextmanager
    def dispatcher(self) -> Iterator[subprocess.Popen[bytes]]:
        """The dispatcher as a process of its own, ready."""
        with (self.folder / "dispatcher.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dispatcher"],
                env={**os.environ, **self.values},
                stdout=log,
                stderr=log,
            )
            try:
                until(self._is_ready, "the dispatcher is ready", 30)
                yield process
            finally:
                process.terminate()
                process.wait(20)

    def _is_ready(self) -> bool:
        url = f"http://127.0.0.1:{self.values['HEALTH_PORT']}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def orders(self, count: int) -> list[bytes]:
        """Orders with new ids."""
        run = uuid.uuid4().hex[:6]
        return [
            json.dumps({"taskId": f"{run}-{n}", "courseUrl": COURSE}).encode() for n in range(count)
        ]


class Bare:
    """The bare client: a connection pool and JSON made beforehand."""

    def __init__(self, bench: Bench) -> None:
        self._settings = settings.read(Reader(bench.values))
        self._api = bench.api
        self._values = bench.values

    def bodies(self, raw: bytes) -> tuple[bytes, bytes]:
        """Both objects of an order as JSON."""
        task = Task.parse(raw)
        claim = manifests.claim(task, self._settings)
        job = manifests.job(Assignment(task, 1), self._settings, self._values)
        return json.dumps(claim).encode(), json.dumps(job).encode()

    def make(self, bodies: tuple[bytes, bytes]) -> None:
        """Create both."""
        for url, body in zip((self._api.claims, self._api.jobs), bodies, strict=True):
            self._api.send("POST", url, body)


class Births:
    """When each Job was seen first, by name."""

    def __init__(self, bench: Bench) -> None:
        self.at: dict[str, float] = {}
        self._changed = threading.Condition()
        self._watch = bench.kube.popen(
            "get", "jobs", "--watch-only", "-o", "jsonpath={.metadata.name}{'\\n'}"
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._watch.stdout is not None
        for line in self._watch.stdout:
            with self._changed:
                self.at.setdefault(line.strip(), time.perf_counter())
                self._changed.notify_all()

    def wait(self, name: str) -> float:
        """When the Job called `name` was seen first."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.at, 20), f"{name} never came"
            return self.at[name]

    def close(self) -> None:
        """End the watch."""
        self._watch.terminate()
        self._watch.wait(10)
