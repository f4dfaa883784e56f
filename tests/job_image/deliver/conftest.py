"""Runs for the delivering steps; remotes that are real rclone servers."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.job_image.deliver.bases import (  # noqa: F401 - fixtures
    base,
    locking_base,
    mariadb_base,
    postgres_base,
)
from tests.job_image.deliver.run import TOKEN, Run, Runs
from tests.job_image.deliver.scripted_webdav import Script, scripted
from tests.services import free_port, listens, server

_PASSWORD = re.compile(r"://[^/@\s]*:([^/@\s]+)@")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """Makes runs. At the end no secret of any of them may stand in its log or progress."""
    made: list[Run] = []

    def make(task_id: int | str = 999, course_url: str = "", **environ: str) -> Run:
        run = Run(tmp_path / f"sandbox-{len(made)}", environ, task_id)
        run.course_url = course_url or run.course_url
        made.append(run)
        return run

    yield make
    for run in made:
        run.close()
        told = run.log + str(run.seen.updates)
        for secret in _secrets(run):
            assert secret not in told


def _secrets(run: Run) -> list[str]:
    values = " ".join(run.environ.values())
    names = ("API_SECRET_KEY", "WEBHOOK_SIGNING_KEY")
    own = [run.environ[name] for name in names if name in run.environ]
    return [TOKEN, *own, *_PASSWORD.findall(values)]


@pytest.fixture
def webdav(rclone: str, tmp_path: Path) -> Iterator[Path]:
    """A plain WebDAV server without hashes; the path of an rclone.conf with remote `dav`.

    What it holds lies in the folder `dav` beside that file.
    """
    (tmp_path / "dav").mkdir()
    port, password = free_port(), uuid.uuid4().hex
    command = [rclone, "serve", "webdav", str(tmp_path / "dav"), "--addr", f"127.0.0.1:{port}"]
    command += ["--user", "course", "--dir-cache-time", "0s"]
    environment = {"RCLONE_PASS": password, "RCLONE_CONFIG": ""}
    with server(command, lambda: listens(port), tmp_path, environment=environment):
        yield _config(
            tmp_path,
            "[dav]\ntype = webdav\nvendor = other\nuser = course\n"
            f"url = http://127.0.0.1:{port}\npass = {obscured(rclone, password)}\n",
        )


@pytest.fixture
def s3(rclone: str, tmp_path: Path) -> Iterator[Path]:
    """An S3 server, which has MD5; the path of an rclone.conf with remote `s3`.

    What it holds lies in the folder `s3` beside that file; its one bucket is `courses`.
    """
    (tmp_path / "s3" / "courses").mkdir(parents=True)
    port, access, secret = free_port(), f"access{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    command = [rclone, "serve", "s3", str(tmp_path / "s3"), "--addr", f"127.0.0.1:{port}"]
    command += ["--dir-cache-time", "0s"]
    environment = {"RCLONE_AUTH_KEY": f'"{access},{secret}"', "RCLONE_CONFIG": ""}
    with server(command, lambda: listens(port), tmp_path, environment=environment):
        yield _config(
            tmp_path,
            "[s3]\ntype = s3\nprovider = Rclone\nforce_path_style = true\n"
            f"endpoint = http://127.0.0.1:{port}\n"
            f"access_key_id = {access}\nsecret_access_key = {secret}\n",
        )


def obscured(rclone: str, password: str) -> str:
    """A password as rclone's configuration holds it."""
    done = subprocess.run(
        [rclone, "obscure", "-"], input=password, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _config(folder: Path, text: str) -> Path:
    path = folder / "rclone.conf"
    path.write_text(text)
    return path


@pytest.fixture
def silent_webdav(rclone: str, tmp_path: Path) -> Iterator[Path]:
    """A WebDAV server that takes a file and never answers; its rclone.conf with remote `dav`."""
    with scripted(tmp_path, Script(silent=True)) as config:
        yield config
