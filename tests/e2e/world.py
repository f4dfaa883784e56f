"""Everything outside the cluster that an order meets: queue, portal, receiver, remote, database.

All of it runs on this machine and is reached by pods at the host's address. `Town.dispatcher`
installs a dispatcher with a queue of its own, so that tests do not see each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis
import sqlalchemy as sa

from contract import names
from playground.content import Synthetic, sha256, text
from playground.portal import TOKEN, Portal
from playground.portal.courses import Article, Caption, Chapter, Course, Video
from playground.portal.portal import Place
from playground.receiver import Receiver
from tests.cluster import cluster
from tests.e2e import manifests
from tests.e2e.forward import Forward
from tests.e2e.kube import Kube, until

API_SECRET = "e2e-body-secret"
SIGNING_KEY = "e2e-signing-key"
BIG = 24 << 20
"""Bytes of the large lecture: long enough to be interrupted, short enough to fetch in no time."""


def course(slug: str) -> Course:
    """A small course with one large lecture, a caption and an article."""
    lectures = (
        Video("Welcome", {720: Synthetic(f"{slug}-welcome", 3 << 20)}),
        Video(
            "The long one",
            {720: Synthetic(f"{slug}-long", BIG)},
            captions=(Caption("en_GB", text("WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n")),),
        ),
        Article("Read me", "<p>Hello</p>"),
    )
    return Course(slug, slug.replace("-", " ").title(), chapters=(Chapter("Start", lectures),))


@dataclass
class Town:
    """The world around the cluster."""

    kube: Kube
    portal: Portal
    receiver: Receiver
    redis: redis.Redis
    engine: sa.Engine
    remote: Path
    redis_url: str
    database_url: str
    rclone_config: str
    rows: sa.Table = field(init=False)

    def __post_init__(self) -> None:
        self.rows = sa.Table(
            "tasks",
            sa.MetaData(),
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("status", sa.Text),
        )
        self.rows.create(self.engine, checkfirst=True)

    @contextmanager
    def dispatcher(self, **environment: str) -> Iterator[Desk]:
        """A dispatcher in a pod with a queue of its own, gone at the end with all it made."""
        name = f"d-{uuid.uuid4().hex[:8]}"
        desk = Desk(self, name, f"e2e:{name}")
        self.kube.apply(
            manifests.secret(f"{name}-job", self._secrets(desk)),
            manifests.dispatcher(name, cluster.DISPATCHER_IMAGE, self._settings(desk, environment)),
        )
        try:
            self.kube.run("rollout", "status", f"deployment/{name}", "--timeout=110s")
            yield desk
        finally:
            self.kube.run("delete", "deployment", name, "--wait=true")
            selector = f"{names.LABEL_INSTANCE}={name}"
            self.kube.run("delete", "jobs", f"--selector={selector}", "--wait=true")
            self.kube.run("delete", "pvc", f"--selector={selector}", "--wait=true")
            self.kube.run("delete", "secret", f"{name}-job")

    def _secrets(self, desk: Desk) -> dict[str, str]:
        return {
            "API_SECRET_KEY": API_SECRET,
            "WEBHOOK_SIGNING_KEY": SIGNING_KEY,
            "DATABASE_URL": self.database_url,
            "PLATFORM_TOKEN": TOKEN,
            "PROGRESS_REDIS_URL": self.redis_url,
            "rclone.conf": self.rclone_config,
        }

    def _settings(self, desk: Desk, environment: dict[str, str]) -> dict[str, str]:
        return {
            "REDIS_URL": self.redis_url,
            "QUEUE": desk.queue,
            "INSTANCE": desk.name,
            "NAMESPACE": self.kube.namespace,
            "JOB_IMAGE": cluster.JOB_IMAGE,
            "JOB_SECRET": f"{desk.name}-job",
            "VOLUME_SIZE": "1Gi",
            "RCLONE_REMOTE": "remote:courses",
            "RCLONE_CONFIG": "/etc/course-runner/rclone.conf",
            "WEBHOOK_URL": self.receiver.url,
            "WEBHOOK_TRIES": "0,1",
            "RETRY_WAIT": "1s",
            "KEEP_COMPLETED": "15s",
            "REAP_MIN_AGE": "1s",
            **environment,
        }

    def add_row(self, task: int) -> None:
        """The backend's row of an order."""
        with self.engine.begin() as connection:
            connection.execute(self.rows.insert().values(id=task, status="queued"))

    def row(self, task: int) -> str:
        """The status in the backend's database."""
        with self.engine.connect() as connection:
            query = sa.select(self.rows.c.status).where(self.rows.c.id == task)
            return str(connection.execute(query).scalar_one())

    def uploaded(self, slug: str) -> dict[str, str]:
        """SHA-256 of every file of a course on the remote, by path."""
        folder = self.remote / "courses" / slug
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }

    def served(self, slug: str, lecture: str) -> str:
        """SHA-256 of what the portal serves for a lecture."""
        return sha256(self.portal.stored(f"{slug}/{lecture}/720.mp4").content)

    def deliveries(self, task: int) -> list[Any]:
        """Webhooks that came for a task."""
        return [d for d in self.receiver.deliveries if d.json.get("task_id") == task]


@dataclass
class Desk:
    """One dispatcher and its queue."""

    town: Town
    name: str
    queue: str

    def order(self, task: int, slug: str, **more: Any) -> None:
        """Push an order as a backend does, its row first."""
        self.town.add_row(task)
        self.push({"taskId": task, "courseUrl": self.town.portal.course_url(slug), **more})

    def push(self, message: dict[str, Any] | bytes) -> None:
        """LPUSH a message."""
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.town.redis.lpush(self.queue, raw)

    def status(self, task: int) -> dict[str, str]:
        """The task's hash."""
        found = self.town.redis.hgetall(names.task_hash(str(task)))
        return {k.decode(): v.decode() for k, v in found.items()}  # type: ignore[union-attr]

    def until_status(self, task: int, status: str, seconds: float = 120) -> None:
        """Wait for a status of the task."""
        until(
            lambda: self.status(task).get("status") == status,
            lambda: f"task {task} is {status} (it is {self.status(task)})\n{self.log()}",
            seconds,
        )

    def jobs(self) -> list[dict[str, Any]]:
        """This dispatcher's Jobs."""
        return self.town.kube.items("jobs", f"{names.LABEL_INSTANCE}={self.name}")

    def claims(self) -> list[dict[str, Any]]:
        """This dispatcher's claims."""
        return self.town.kube.items("pvc", f"{names.LABEL_INSTANCE}={self.name}")

    def pods(self, task: int) -> list[dict[str, Any]]:
        """The pods of a task."""
        return self.town.kube.items("pods", f"{names.LABEL_TASK}={task}")

    def log(self) -> str:
        """The dispatcher's log."""
        return self.town.kube.run("logs", f"deployment/{self.name}", "--tail=60")


@contextmanager
def town(redis_url: str, database_url: str, kubeconfig: Path, folder: Path) -> Iterator[Town]:
    """Build the world around a Redis and a PostgreSQL of this machine; it is gone at the end."""
    address, bind = cluster.host_address(), cluster.bind_address()
    kube = Kube(cluster.kubectl(), kubeconfig, f"e2e-{uuid.uuid4().hex[:6]}")
    with ExitStack() as stack:
        remote = folder / "remote"
        s3 = stack.enter_context(s3_server(remote, bind, address))
        seen_by_pods = [
            stack.enter_context(reachable(url, bind, address)) for url in (redis_url, database_url)
        ]
        portal = Portal([course(f"course-{n}") for n in range(1, 20)], place=Place(host=bind))
        stack.enter_context(portal)
        receiver = Receiver(secret=API_SECRET, signing_key=SIGNING_KEY, host=bind)
        stack.enter_context(receiver)
        kube.apply(manifests.namespace(kube.namespace))
        kube.apply(*manifests.rights(kube.namespace))
        stack.callback(kube.run, "delete", "namespace", kube.namespace, "--wait=false")
        yield Town(
            kube=kube,
            portal=portal,
            receiver=receiver,
            redis=redis.Redis.from_url(redis_url),
            engine=sa.create_engine(database_url, poolclass=sa.NullPool),
            remote=remote,
            redis_url=seen_by_pods[0],
            database_url=seen_by_pods[1],
            rclone_config=s3,
        )


@contextmanager
def reachable(url: str, bind: str, address: str) -> Iterator[str]:
    """The URL under which pods reach a server of this machine's loopback."""
    parts = urlsplit(url)
    assert parts.port is not None, url
    with Forward(bind, parts.port) as forward:
        login = parts.netloc.rpartition("@")[0]
        place = f"{address}:{forward.port}"
        yield urlunsplit(parts._replace(netloc=f"{login}@{place}" if login else place))


@contextmanager
def s3_server(folder: Path, bind: str, address: str) -> Iterator[str]:
    """A real S3 server (rclone's) that keeps its objects as files in `folder`; its rclone.conf."""
    (folder / "courses").mkdir(parents=True)
    access, secret = f"access{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    port = free_port(bind)
    rclone = Path(sys.executable).parent / "rclone"
    command = [str(rclone), "serve", "s3", str(folder), "--addr", f"{bind}:{port}"]
    environment = {**os.environ, "RCLONE_AUTH_KEY": f'"{access},{secret}"', "RCLONE_CONFIG": ""}
    with (folder.parent / "s3.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: _listens(bind, port), "the S3 server listens", 30)
            yield (
                "[remote]\ntype = s3\nprovider = Rclone\nforce_path_style = true\n"
                f"access_key_id = {access}\nsecret_access_key = {secret}\n"
                f"endpoint = http://{address}:{port}\n"
            )
        finally:
            server.terminate()
            server.wait(10)


def free_port(bind: str) -> int:
    """A port that nothing listens on at this moment."""
    with socket.create_server((bind, 0)) as listener:
        return int(listener.getsockname()[1])


def _listens(bind: str, port: int) -> bool:
    try:
        socket.create_connection((bind, port), timeout=1).close()
    except OSError:
        return False
    return True
