"""Everything outside the cluster that an order meets: queue, portal, receiver, remote, database.

All of it runs on this machine and is reached by pods at the host's address. `Town.dispatcher`
installs a dispatcher with a queue of its own, so that tests do not see each other.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    address: str
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
        return {str(path.relative_to(folder)): _sha256(path) for path in files}

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
            f"task {task} is {status} (it is {self.status(task)})\n{self.log()}",
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
def town(services: Services, kubeconfig: Path, folder: Path) -> Iterator[Town]:
    """Build the world; it is gone at the end."""
    address, bind = cluster.host_address(), cluster.bind_address()
    kube = Kube(cluster.kubectl(), kubeconfig, f"e2e-{uuid.uuid4().hex[:6]}")
    with ExitStack() as stack:
        forward = [
            stack.enter_context(Forward(bind, port))
            for port in (services.redis_port, services.postgres_port, services.s3_port)
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
            redis=redis.Redis(port=services.redis_port, password=services.redis_password),
            engine=sa.create_engine(services.postgres_url(f"127.0.0.1:{services.postgres_port}")),
            remote=services.s3_folder,
            redis_url=_redis_url(services, f"{address}:{forward[0].port}"),
            database_url=services.postgres_url(f"{address}:{forward[1].port}"),
            rclone_config=services.s3_config(f"http://{address}:{forward[2].port}"),
            address=address,
        )
