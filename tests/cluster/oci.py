"""Write a one-layer container image as an OCI archive, without any container tool.

In: a folder tree. Out: a tar that `ctr images import`, `buildah pull oci-archive:` and `kind load
image-archive` read. The layer is not compressed: it never travels further than this machine.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture(machine: str) -> str:
    """Go's name of the machine's architecture."""
    return _ARCHITECTURES.get(machine, machine)


def write(
    archive: Path, name: str, layer: Path, machine: str, config: Mapping[str, object]
) -> None:
    """Make `archive` hold the image `name` whose only layer is the tar `layer`."""
    layer_digest = _digest_of_file(layer)
    blobs: dict[str, bytes] = {}
    image = {
        "architecture": architecture(machine),
        "os": "linux",
        "config": config,
        # Buildah refuses an image whose history does not count its layers.
        "history": [{"created_by": "tests/cluster"}],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
    }
    kind = "application/vnd.oci.image"
    config_part = _blob(blobs, f"{kind}.config.v1+json", image)
    layer_part = _part(f"{kind}.layer.v1.tar", layer_digest, layer.stat().st_size)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": config_part,
        "layers": [layer_part],
    }
    entry = _blob(blobs, f"{kind}.manifest.v1+json", manifest)
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    _pack(archive, blobs, layer, layer_digest, entry)


def _part(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _blob(blobs: dict[str, bytes], media_type: str, content: object) -> dict[str, object]:
    data = json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return _part(media_type, digest, len(data))


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(
    archive: Path, blobs: dict[str, bytes], layer: Path, digest: str, entry: dict[str, object]
) -> None:
    half = archive.with_name(f".{archive.name}")
    with tarfile.open(half, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        index = {"schemaVersion": 2, "manifests": [entry]}
        _add(tar, "index.json", json.dumps(index).encode())
        for name, data in blobs.items():
            _add(tar, f"blobs/sha256/{name}", data)
        tar.add(layer, f"blobs/sha256/{digest}")
    half.rename(archive)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
