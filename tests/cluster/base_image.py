"""The Python base image, made from Debian's packages where no registry serves `python:3.13-slim`.

In: Debian trixie, whose Python is 3.13, by debootstrap. Out: an OCI archive in the cache, keyed by
the recipe. It stands in for the official image in the Dockerfiles (`--build-arg PYTHON_IMAGE`):
same Python, `python` and `pip` on PATH, this machine's authorities for TLS.
"""

import hashlib
import platform
import shutil
from pathlib import Path

from tests.cluster import archives, debian, mounts, oci
from tests.cluster.commands import locked, run, say, timed
from tests.cluster.names import PYTHON_IMAGE, cache

_SUITE = "trixie"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_RECIPE = "2"
_USELESS = (
    "usr/share/doc",
    "usr/share/man",
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "var/log",
)


def key() -> str:
    """Names the content: the recipe, the machine's kind and its authorities."""
    words = f"{_RECIPE} {_SUITE} {_PACKAGES} {platform.machine()}".encode()
    authorities = _AUTHORITIES.read_bytes() if _AUTHORITIES.exists() else b""
    return hashlib.sha256(words + authorities).hexdigest()[:16]


def archive() -> Path:
    """The image's archive, made when the cache has none (about half a minute)."""
    path = archives.path_of("python", key())
    with locked(cache() / "base-image.lock"):
        if not path.exists():
            debian.install(*debian.FOR_IMAGES)
            say("making the Python base image with debootstrap")
            with timed("made the Python base image"):
                _make(path)
    return archives.used(path)


def _make(path: Path) -> None:
    # In the cache, not in /tmp, which may be a small memory file system or forbid device nodes.
    folder = path.parent / ".python-half"
    _delete(folder)
    root, layer = folder / "root", folder / "layer.tar"
    root.mkdir(parents=True)
    run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, root])
    _finish(root)
    inside = ["--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*"]
    run(["tar", "--numeric-owner", "-C", root, *inside, "-cf", layer, "."])
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["python3"]}
    oci.write(path, PYTHON_IMAGE, layer, platform.machine(), config)
    _delete(folder)


def _delete(folder: Path) -> None:
    """Delete it; a killed debootstrap leaves its /proc mounted inside."""
    mounts.unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _finish(root: Path) -> None:
    (root / "usr/bin/python").symlink_to("python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    if _AUTHORITIES.exists():
        shutil.copy(_AUTHORITIES, root / _AUTHORITIES.relative_to("/"))
    for folder in _USELESS:
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True, exist_ok=True)
