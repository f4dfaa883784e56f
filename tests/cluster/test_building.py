"""What decides a build is pinned, and images written without any tool are well formed.

In: this folder's go.mod files and a made-up layer. Out: no build is started here.
"""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster import oci
from tests.cluster.families import FAMILIES, Family, arguments, source, version


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_pinned(family: Family) -> None:
    """Each family has a version in go.mod, sums for it in go.sum, and what it builds is a tool."""
    sums = (source(family) / "go.sum").read_text()
    assert f"{family.module} {version(family)} h1:" in sums
    pins = (source(family) / "go.mod").read_text()
    for target in arguments(family)[-len(family.packages) :]:
        assert target == "." or target in pins


@pytest.mark.parametrize("name", ["kubernetes", "helm"])
def test_programs_know_their_version(name: str) -> None:
    """The pinned version is linked in, or Helm's checks of the server's version would fail."""
    family = next(each for each in FAMILIES if each.name == name)
    assert f"ersion={version(family)}" in " ".join(arguments(family))


def test_an_archive_holds_what_it_says(tmp_path: Path) -> None:
    """Every part of an archive has the digest and size by which the part above names it."""
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"a layer")
    oci.write(tmp_path / "image.tar", "localhost/x:1", layer, "x86_64", {"Cmd": ["x"]})
    with tarfile.open(tmp_path / "image.tar") as tar:
        parts = {member.name: _content(tar, member) for member in tar.getmembers()}
    (entry,) = json.loads(parts["index.json"])["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "localhost/x:1"
    manifest = json.loads(_checked(parts, entry))
    config = json.loads(_checked(parts, manifest["config"]))
    assert config["architecture"] == "amd64"
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert _checked(parts, manifest["layers"][0]) == b"a layer"
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _checked(parts: dict[str, bytes], named: dict[str, str]) -> bytes:
    kind, digest = named["digest"].split(":")
    data = parts[f"blobs/{kind}/{digest}"]
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) == int(named["size"])
    return data
