"""Image archives in the cache: where one lies, and which old ones go.

In: a stem and the key of the content. Out: a path. Beyond the newest few of a stem, files go.
"""

from pathlib import Path

from tests.cluster.names import cache

_KEPT = 2


def path_of(stem: str, key: str) -> Path:
    """Where the archive of this content is or will be; its folder exists."""
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stem}-{key}.tar"


def used(path: Path) -> Path:
    """Mark the archive as the newest of its stem, and delete those that have had their time."""
    path.touch()
    stem = path.name.rpartition("-")[0]
    found = path.parent.glob(f"{stem}-*.tar")
    newest_first = sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest_first[_KEPT:]:
        file.unlink()
    return path
