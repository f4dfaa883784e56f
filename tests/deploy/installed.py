"""A release on the real cluster, and the world outside it: portal, receiver, remote."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contract import names
from playground.portal import TOKEN, Portal, actions
from playground.portal.portal import Place
from playground.receiver import Receiver
from tests.cluster import cluster
from tests.deploy.chart import CHART
from tests.e2e import manifests
from tests.e2e.kube import Kube, until
from tests.e2e.world import API_SECRET, BIG, SIGNING_KEY, course, s3_server

Object = dict[str, Any]

STALLED_AT = BIG // 2


@dataclass
class World:
    """What a release talks to outside the cluster, on this machine."""

    portal: Portal
    receiver: Receiver
    remote: Path
    rclone_config: str
    folder: Path

    @property
    def ports(self) -> list[int]:
        """All that runs may reach of this machine."""
        config = self.rclone_config.rpartition(":")[2]
        urls = (self.portal.url, self.portal.cdn_url, self.receiver.url)
        api, cdn, receiver = (urlsplit(url).port or 0 for url in urls)
        return [api, cdn, int(config), receiver]

    def stall(self, slug: str) -> str:
        """Let the large lecture of a course stop in the middle, once; returns its target."""
        key = f"cdn:{slug}/002/720.mp4"
        self.portal.faults.add(key, actions.StallBody(after=STALLED_AT), times=1)
        return key

    def await_stall(self, key: str) -> None:
        """Wait until a run is in the middle of it."""
        self.portal.ledger.wait(lambda ledger: ledger.of(key).stalled, timeout=90)

    def announced(self, task: object) -> int:
        """Genuine webhooks that came for a task."""
        return sum(
            1 for d in self.receiver.deliveries if d.genuine and d.json.get("task_id") == task
        )


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Build it; it is gone at the end."""
    address, bind = cluster.host_address(), cluster.bind_address()
    with ExitStack() as stack:
        remote = folder / "remote"
        s3 = stack.enter_context(s3_server(remote, bind, address))
        portal = Portal([course(f"course-{n}") for n in range(1, 40)], place=Place(host=bind))
        stack.enter_context(portal)
        receiver = Receiver(secret=API_SECRET, signing_key=SIGNING_KEY, host=bind)
        stack.enter_context(receiver)
        yield World(portal, receiver, remote, s3, folder)


class Release:
    """One release of the chart in a namespace."""

    def __init__(self, made: World, kube: Kube, name: str, helm: Path) -> None:
        self.world, self.kube, self.name, self._helm = made, kube, name, helm
        self.stem = f"{name}-course-runner"
        self.dispatcher = f"deployment/{self.stem}-dispatcher"

    def helm(self, *words: str) -> str:
        """Run Helm in the release's namespace; all that it says."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(cluster.kubeconfig()),
            "HOME": str(self.world.folder),
        }
        command = [str(self._helm), *words, "--namespace", self.kube.namespace]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}{ended.stderr}"
        return ended.stdout + ended.stderr

    def install(self, values: Object, *words: str) -> str:
        """Install, or upgrade to these values, and wait until all is ready."""
        file = self.world.folder / f"{uuid.uuid4().hex}.json"
        file.write_text(json.dumps(values))
        verb = ["upgrade", "--install", self.name, str(CHART), "--values", str(file)]
        return self.helm(*verb, "--wait", "--timeout", "120s", *words)

    def ask(self, *words: str) -> str:
        """Run the command line where users do: in the dispatcher's pod."""
        return self.kube.run("exec", self.dispatcher, "--", "course-runner", *words)

    def order(self, task: int, slug: str) -> None:
        """Push an order."""
        self.ask("enqueue", str(task), self.world.portal.course_url(slug))

    def status(self, task: int) -> str:
        """Where the task stands; "" while nobody can tell."""
        try:
            return str(json.loads(self.ask("show", str(task), "--json")).get("status", ""))
        except AssertionError:  # nobody knows of it, or no dispatcher is there to ask
            return ""

    def until_status(self, task: int, status: str, seconds: float = 120) -> None:
        """Wait for it, a look each second: each takes a process in the pod."""
        end = time.monotonic() + seconds
        while (now := self.status(task)) != status:
            assert time.monotonic() < end, f"task {task} is {now!r}\n{self.log()}"
            time.sleep(1)

    def log(self) -> str:
        """The dispatchers' log."""
        return self.kube.run("logs", self.dispatcher, "--tail=40", "--all-pods=true")

    def pods(self, task: int) -> list[Object]:
        """Pods of a task."""
        return self.kube.items("pods", f"{names.LABEL_TASK}={task}")

    def parts(self, component: str) -> list[str]:
        """Names of the release's own pods of a kind."""
        selector = f"{names.LABEL_INSTANCE}={self.name},{names.LABEL_COMPONENT}={component}"
        return [pod["metadata"]["name"] for pod in self.kube.items("pods", selector)]

    def await_ready(self, kind: str) -> None:
        """Wait until the release's Deployment or StatefulSet is as it should be."""
        self.kube.run("rollout", "status", kind, "--timeout=90s")


def values(made: World, **more: Object) -> Object:
    """What a user would set: own images, tokens, remote, webhook, walls."""
    base: Object = {
        "dispatcher": {"image": _image(cluster.DISPATCHER_IMAGE)},
        "job": {"image": _image(cluster.JOB_IMAGE)},
        "redis": {"server": {"image": _image(cluster.REDIS_IMAGE)}},
        "settings": {
            "VOLUME_SIZE": "1Gi",
            "RCLONE_REMOTE": "remote:courses",
            "WEBHOOK_URL": made.receiver.url,
            "WEBHOOK_TRIES": "0,1",
            "RETRY_WAIT": "1s",
            "RETRY_SCHEDULE": "2s,2s,2s",
            "KEEP_COMPLETED": "5s",
            "REAP_MIN_AGE": "1s",
        },
        "secrets": {
            "API_SECRET_KEY": API_SECRET,
            "RCLONE_CONFIG": made.rclone_config,
            "from": [
                {"secret": "platform", "key": "token", "as": "PLATFORM_TOKEN"},
                {"secret": "webhook", "key": "sign", "as": "WEBHOOK_SIGNING_KEY"},
            ],
        },
        "networkPolicy": {
            "apiServer": {"cidrs": api_server_ranges()},
            "jobEgress": [
                {
                    "to": [{"ipBlock": {"cidr": f"{cluster.host_address()}/32"}}],
                    "ports": [{"protocol": "TCP", "port": port} for port in made.ports],
                }
            ],
        },
    }
    for key, value in more.items():
        base[key] = {**base.get(key, {}), **value}
    return base


def _image(name: str) -> Object:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


def api_server_ranges() -> list[str]:
    """Where the API server really is, as NOTES.txt tells users to find out."""
    kube = Kube(cluster.kubectl(), cluster.kubeconfig(), "default")
    [found] = kube.items("endpointslices", "kubernetes.io/service-name=kubernetes")
    return [f"{a}/32" for each in found["endpoints"] for a in each["addresses"]]


def secrets() -> list[Object]:
    """The Secrets that `values` refers to."""
    return [
        manifests.secret("platform", {"token": TOKEN}),
        manifests.secret("webhook", {"sign": SIGNING_KEY}),
    ]


@contextmanager
def namespace(purpose: str) -> Iterator[Kube]:
    """A namespace that admits restricted pods alone, gone at the end."""
    name = f"{purpose}-{uuid.uuid4().hex[:6]}"
    kube = Kube(cluster.kubectl(), cluster.kubeconfig(), name)
    kube.apply(manifests.namespace(name))
    try:
        yield kube
    finally:
        kube.run("delete", "namespace", name, "--wait=false")


def gone(kube: Kube, kind: str, selector: str) -> Callable[[], bool]:
    """Whether none is left."""
    return lambda: not kube.items(kind, selector)


__all__ = ["Release", "World", "gone", "namespace", "secrets", "until", "values", "world"]
