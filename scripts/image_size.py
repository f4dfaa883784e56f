"""Says what an image weighs on the wire: all of it, and beyond its base.

    python scripts/image_size.py ARCHIVE LAYERS_OF_BASE NAME

In: an archive of `docker save` or of OCI. Out: one line. Layers that the archive holds unpacked are
compressed on the fly, as a push would do.
"""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, Any

MEGABYTE = 1e6


def layers(archive: tarfile.TarFile) -> list[str]:
    """Return the layers' places in the archive, the base's first."""
    names = archive.getnames()
    if "manifest.json" in names:
        return list(_json(archive, "manifest.json")[0]["Layers"])
    index = _json(archive, "index.json")
    manifest = _json(archive, _blob(index["manifests"][0]["digest"]))
    return [_blob(layer["digest"]) for layer in manifest["layers"]]


def weight(file: IO[bytes]) -> int:
    """Return the bytes of a layer when compressed."""
    begin = file.read(2)
    file.seek(0)
    if begin == b"\x1f\x8b":
        return sum(len(chunk) for chunk in _chunks(file))
    counter = _Counter()
    with gzip.GzipFile(fileobj=counter, mode="wb") as packed:
        for chunk in _chunks(file):
            packed.write(chunk)
    return counter.count


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(1 << 20):
        yield chunk


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    if file is None:
        raise SystemExit(f"image_size: {name} is no file of the archive.")
    return file


def _json(archive: tarfile.TarFile, name: str) -> Any:
    with _open(archive, name) as file:
        return json.load(file)


def main() -> None:
    """Print the line."""
    path, base, image = sys.argv[1:]
    with tarfile.open(path) as archive:
        weights = [weight(_open(archive, name)) for name in layers(archive)]
    whole, ours = sum(weights) / MEGABYTE, sum(weights[int(base) :]) / MEGABYTE
    print(f"images: {image}: {whole:.1f} MB compressed, {ours:.1f} MB of it beyond the base")


if __name__ == "__main__":
    main()
