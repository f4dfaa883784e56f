"""`make push` on a real registry of this machine: both images arrive whole, with their papers.

The registry is go-containerregistry's, on loopback. Engine, script and Makefile are those of users;
told to the engine is only that this registry speaks plain HTTP, and where layers lie that the tests
have built already.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cluster import cluster
from tests.deploy.chart import ROOT
from tests.e2e.ground import have
from tests.services import free_port, listens, server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LIMITS = {"dispatcher": 60, "job": 110}
"""Compressed megabytes (10^6) that an image may weigh beyond its base."""

_VERSION = "9.8.7-test"
_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclass(frozen=True, slots=True)
class Pushed:
    """What `make push` said and made, and where the registry is."""

    said: str
    dist: Path
    url: str

    def get(self, part: str, what: str) -> bytes:
        """A manifest or blob, as the registry serves it."""
        path = f"{self.url}/v2/team/course-runner-{part}/{what}"
        answer = requests.get(path, headers={"Accept": ", ".join(_TYPES)}, timeout=60)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.content


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    """Both images in an empty registry."""
    have(lambda: cluster.tool("crane"))
    folder, port = tmp_path_factory.mktemp("push"), free_port()
    serve = [str(cluster.tool("crane")), "registry", "serve", "--address", f"127.0.0.1:{port}"]
    serve += ["--disk", str(folder / "blobs")]
    (folder / "blobs").mkdir()
    with server(serve, lambda: listens(port), folder):
        said = _push(f"127.0.0.1:{port}", folder)
        yield Pushed(said, folder / "dist", f"http://127.0.0.1:{port}")


def _push(registry: str, folder: Path) -> str:
    plain = folder / "registries.conf"
    plain.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    settings = {
        "CONTAINERS_REGISTRIES_CONF": str(plain),
        "DIST": str(folder / "dist"),
        "VERSION": _VERSION,
    }
    with cluster.users_builder(folder) as builder:
        done = _make(f"REGISTRY={registry}/team", **settings, **builder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "push", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.mark.parametrize("part", LIMITS)
def test_the_registry_has_the_whole_image(pushed: Pushed, part: str) -> None:
    """Manifest, configuration and every layer are there, each with the digest by which it is named;
    version and revision are in the labels.
    """
    manifest = json.loads(pushed.get(part, f"manifests/{_VERSION}"))
    config = json.loads(_blob(pushed, part, manifest["config"]))
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) > 1
    for layer in manifest["layers"]:
        _blob(pushed, part, layer)
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == _VERSION
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])


def _blob(pushed: Pushed, part: str, named: dict[str, Any]) -> bytes:
    data = pushed.get(part, f"blobs/{named['digest']}")
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == named["digest"]
    assert len(data) == named["size"]
    return data


@pytest.mark.parametrize("part", LIMITS)
def test_the_size_is_told_and_within_its_limit(pushed: Pushed, part: str) -> None:
    """The build says what the image weighs beyond its base; that is within the limit, and what the
    registry holds of it is no more than said of the whole.
    """
    line = rf"course-runner-{part}:{_VERSION}: ([\d.]+) MB compressed, ([\d.]+) MB of it beyond"
    found = re.search(line, pushed.said)
    assert found, pushed.said[-2000:]
    whole, ours = float(found[1]), float(found[2])
    assert 1 < ours <= LIMITS[part]
    manifest = json.loads(pushed.get(part, f"manifests/{_VERSION}"))
    held = sum(layer["size"] for layer in manifest["layers"]) / 1e6
    assert held == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize(("part", "package"), [("dispatcher", "redis"), ("job", "sqlalchemy")])
def test_the_bill_of_materials_is_told_and_names_what_is_inside(
    pushed: Pushed, part: str, package: str
) -> None:
    """CycloneDX, with the versions that are pinned and nothing that only development needs."""
    file = pushed.dist / f"course-runner-{part}.cdx.json"
    assert f"packages in {file}" in pushed.said
    bill = json.loads(file.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    inside = {each["name"]: each["version"] for each in bill["components"]}
    pinned = re.search(rf'name = "{package}"\nversion = "(.*)"', (ROOT / "uv.lock").read_text())
    assert pinned and inside[package] == pinned[1]
    assert not {"pytest", "mypy", "ruff"} & set(inside)


def test_a_push_without_a_registry_is_refused_before_anything_is_built() -> None:
    """The error says what to give."""
    done = _make(REGISTRY="")
    assert done.returncode != 0
    assert "push needs REGISTRY, e.g. REGISTRY=" in done.stderr
    assert "STEP" not in done.stdout


def test_the_same_sources_give_the_same_layers(tmp_path: Path) -> None:
    """Two builds from nothing, byte for byte; of the smaller image, for both are made alike."""
    with cluster.users_builder(tmp_path) as given:
        if "CONTAINERS_STORAGE_CONF" not in given:
            pytest.skip("Docker's layers keep the times of the build")
        first, second = (_layers(given, f"again:{number}") for number in (1, 2))
    assert first == second and "sha256:" in first


def _layers(given: dict[str, str], name: str) -> str:
    """Build the dispatcher's image from nothing; return its layers."""
    how = ("--no-cache", "--isolation", "chroot", "--network", "host", "--timestamp", "1700000000")
    what = (
        "--build-arg",
        f"PYTHON_IMAGE={given['PYTHON_IMAGE']}",
        "--file",
        "dispatcher/Dockerfile",
    )
    env = {**os.environ, **given}
    subprocess.run(
        ["buildah", "build", *how, *what, "--tag", name, "."],
        cwd=ROOT, env=env, check=True, capture_output=True,
    )  # fmt: skip
    asked = ["buildah", "inspect", "--type", "image", "--format", "{{.OCIv1.RootFS.DiffIDs}}", name]
    return subprocess.run(asked, env=env, check=True, capture_output=True, text=True).stdout
