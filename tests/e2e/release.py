"""A release of the chart on the real cluster, installed and asked as a user does it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract import names
from playground.portal import TOKEN
from tests.cluster import cluster
from tests.deploy.chart import CHART
from tests.e2e import objects
from tests.e2e.kube import Kube, until
from tests.e2e.world import API_SECRET, SIGNING_KEY, World

Object = dict[str, Any]


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
        try:
            return self.helm(*verb, "--wait", "--timeout", "120s", *words)
        except AssertionError as exc:
            exc.add_note(self.log())
            raise

    @contextmanager
    def installed(self, values: Object) -> Iterator[None]:
        """Installed with these values inside, and gone at the end."""
        try:
            self.install(values)
            yield
        finally:
            self.helm("uninstall", self.name, "--wait", "--ignore-not-found")

    def ask(self, *words: str) -> str:
        """Run the command line where users do: in the dispatcher's pod."""
        return self.kube.run("exec", self.dispatcher, "--", "course-runner", *words)

    def order(self, task: int, slug: str) -> None:
        """Insert a row and push its order, as a backend does."""
        self.world.backend.add(task)
        self.ask("enqueue", str(task), self.world.portal.course_url(slug))

    def shown(self, task: int) -> Object:
        """What `show` tells of the task; nothing while nobody can tell."""
        try:
            return dict(json.loads(self.ask("show", str(task), "--json")))
        except AssertionError:  # nobody knows of it, or no dispatcher is there to ask
            return {}

    def status(self, task: int) -> str:
        """Where the task stands; "" while nobody can tell."""
        return str(self.shown(task).get("status", ""))

    def until_status(self, task: int, status: str, seconds: float = 120) -> None:
        """Wait for it, a look each second: each takes a process in the pod, so none is taken before
        the backend's row has got there.
        """
        end = time.monotonic() + seconds
        if status == "completed":
            row = self.world.backend.row
            until(lambda: row(task) == status, lambda: f"row {task}\n{self.log()}", seconds)
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
    """What a user would set: own images, tokens, remote, webhook, database, walls."""
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
                {"secret": "database", "key": "uri", "as": "DATABASE_URL"},
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


def secrets(made: World) -> list[Object]:
    """The Secrets that `values` refers to."""
    return [
        objects.secret("platform", {"token": TOKEN}),
        objects.secret("webhook", {"sign": SIGNING_KEY}),
        objects.secret("database", {"uri": made.database_url}),
    ]


@contextmanager
def namespace(purpose: str) -> Iterator[Kube]:
    """A namespace that admits restricted pods alone, gone at the end."""
    name = f"{purpose}-{uuid.uuid4().hex[:6]}"
    kube = Kube(cluster.kubectl(), cluster.kubeconfig(), name)
    kube.apply(objects.namespace(name))
    try:
        yield kube
    finally:
        kube.run("delete", "namespace", name, "--wait=false")


def gone(kube: Kube, kind: str, selector: str) -> Callable[[], bool]:
    """Whether none is left."""
    return lambda: not kube.items(kind, selector)
