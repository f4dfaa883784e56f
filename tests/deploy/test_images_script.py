"""`scripts/images.sh` with Docker: what it asks of the engine, and in which order.

A small program stands in for the engine, so that this needs none, and behaves as a fresh one does:
what BuildKit builds from is not in its store until it is pulled.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.deploy.chart import ROOT

ENGINE = r"""#!/bin/sh
echo "$*" >> "$STATE/asked"
case "$1 $2" in
  "save --output") cp "$STATE/image.tar" "$3" ;;
  "pull --quiet") touch "$STATE/pulled" ;;
  "image inspect")
    [ -e "$STATE/pulled" ] || { echo "Error: No such image" >&2; exit 1; }
    [ "$3" != --format ] || echo 1 ;;
esac
"""


def _archive(file: Path) -> None:
    """An image of a base's layer of 3 MB and one of 2 MB; neither packs any smaller."""
    manifest = json.dumps([{"Layers": ["base/layer.tar", "ours/layer.tar"]}]).encode()
    layers = {"base/layer.tar": os.urandom(3_000_000), "ours/layer.tar": os.urandom(2_000_000)}
    with tarfile.open(file, "w") as archive:
        for name, data in {"manifest.json": manifest, **layers}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


@pytest.fixture
def fresh(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine whose engine has no image yet."""
    engine = tmp_path / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    _archive(tmp_path / "image.tar")
    path = f"{engine.parent}:{os.environ['PATH']}"
    given = {"PATH": path, "STATE": str(tmp_path), "DIST": str(tmp_path / "dist")}
    return {**os.environ, **given, "ENGINE": "docker", "PYTHON_IMAGE": "python:3.13-slim"}


def _build(environment: dict[str, str]) -> tuple[str, list[str]]:
    """What the script says of sizes, and what it asked the engine."""
    done = subprocess.run(
        ["scripts/images.sh"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, (Path(environment["STATE"]) / "asked").read_text().splitlines()


def test_both_images_are_weighed_on_a_fresh_machine(fresh: dict[str, str]) -> None:
    """The base is pulled once, because the build leaves none behind; then it is counted."""
    said, asked = _build(fresh)
    for part in ("dispatcher", "job"):
        assert f"course-runner-{part}:" in said
    assert said.count("5.0 MB compressed, 2.0 MB of it beyond the base") == 2
    assert [line for line in asked if line.startswith("pull")] == ["pull --quiet python:3.13-slim"]


def test_the_address_of_the_sources_is_in_the_label(fresh: dict[str, str]) -> None:
    """SOURCE reaches the build of both images; without it the label says that it is unknown."""
    for source in ("https://git.example/course-runner", "unknown"):
        given = {name: value for name, value in fresh.items() if name != "SOURCE"}
        _, asked = _build(given | ({"SOURCE": source} if source != "unknown" else {}))
        builds = [line for line in asked if line.startswith("build ")][-2:]
        for line in builds:
            assert f"--label org.opencontainers.image.source={source}" in line
            assert f"--build-arg SOURCE={source} " in line
