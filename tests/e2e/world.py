"""Everything outside the cluster that an order meets: queue, portal, receiver, remote, database.

All of it runs on this machine and is reached by pods at the host's address.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import redis

from playground.content import Synthetic, sha256, text
from playground.portal import Portal, actions
from playground.portal.courses import Article, Caption, Chapter, Course, Video
from playground.portal.portal import Place
from playground.receiver import Receiver
from tests.cluster import cluster
from tests.e2e.backend import Backend, backend
from tests.e2e.forward import Forward
from tests.e2e.kube import until

API_SECRET = "e2e-body-secret"
SIGNING_KEY = "e2e-signing-key"
LONG = "002"
"""Number of the large lecture in each course."""
BIG = 24 << 20
"""Bytes of the large lecture: long enough to be interrupted, short enough to fetch in no time."""
STALLED_AT = BIG // 2


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
class World:
    """What a release talks to. Addresses are those that pods see."""

    portal: Portal
    receiver: Receiver
    backend: Backend
    redis: redis.Redis
    remote: Path
    redis_url: str
    database_url: str
    rclone_config: str
    folder: Path

    @property
    def ports(self) -> list[int]:
        """All that runs may reach of this machine."""
        remote = int(self.rclone_config.rpartition(":")[2])
        urls = (
            *(self.portal.url, self.portal.cdn_url, self.receiver.url),
            *(self.redis_url, self.database_url),
        )
        return [remote, *(urlsplit(url).port or 0 for url in urls)]

    def stall(self, slug: str) -> str:
        """Let the large lecture of a course stop in the middle, once; returns its target."""
        key = f"cdn:{slug}/{LONG}/720.mp4"
        self.portal.faults.add(key, actions.StallBody(after=STALLED_AT), times=1)
        return key

    def await_stall(self, key: str) -> None:
        """Wait until a run is in the middle of it."""
        self.portal.ledger.wait(lambda ledger: ledger.of(key).stalled, timeout=90)

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

    def announced(self, task: int) -> int:
        """How many of them were genuine."""
        return sum(1 for delivery in self.deliveries(task) if delivery.genuine)


@contextmanager
def world_around(redis_url: str, database_url: str, folder: Path) -> Iterator[World]:
    """Build it around a Redis and a PostgreSQL of this machine; it is gone at the end."""
    address, bind = cluster.host_address(), cluster.bind_address()
    with ExitStack() as stack:
        remote = folder / "remote"
        s3 = stack.enter_context(s3_server(remote, bind, address))
        rows, database = stack.enter_context(backend(database_url))
        portal = Portal([course(f"course-{n}") for n in range(1, 40)], place=Place(host=bind))
        stack.enter_context(portal)
        receiver = Receiver(secret=API_SECRET, signing_key=SIGNING_KEY, host=bind)
        stack.enter_context(receiver)
        yield World(
            portal=portal,
            receiver=receiver,
            backend=rows,
            redis=redis.Redis.from_url(redis_url),
            remote=remote,
            redis_url=stack.enter_context(reachable(redis_url, bind, address)),
            database_url=stack.enter_context(reachable(database, bind, address)),
            rclone_config=s3,
            folder=folder,
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
