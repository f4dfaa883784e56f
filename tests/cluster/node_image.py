"""The one image that the node itself needs: a pause program and busybox, from no registry.

In: pause/pause.c and Debian's static busybox. Out: an OCI archive in the cache, named by its
content's recipe. The sandbox of every pod runs the pause program; volumes are made and removed by
its shell.
"""

import hashlib
import platform
import shutil
import tarfile
import tempfile
from pathlib import Path

from tests.cluster import archives, debian, oci
from tests.cluster.commands import locked, run, timed
from tests.cluster.names import HERE, NODE_IMAGE, cache

_SOURCE = HERE / "pause" / "pause.c"
_RECIPE = "2"
_TOOLS = ("sh", "mkdir", "rm", "ls", "cat", "sleep")


def archive() -> Path:
    """The image's archive, made when the cache has none of this recipe."""
    words = f"{_RECIPE} {NODE_IMAGE} {platform.machine()} {_TOOLS}"
    content = words.encode() + _SOURCE.read_bytes()
    path = archives.path_of("node", hashlib.sha256(content).hexdigest()[:16])
    with locked(cache() / "node-image.lock"):
        if not path.exists():
            with timed("made the node's image"), tempfile.TemporaryDirectory() as folder:
                _make(path, Path(folder))
    return archives.used(path)


def _make(path: Path, folder: Path) -> None:
    folder.chmod(0o755)  # the package manager downloads as a user of its own
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    run(["gcc", "-static", "-Os", "-s", "-o", root / "pause", _SOURCE])
    debian.unpacked("busybox-static", folder / "busybox")
    shutil.copy(folder / "busybox" / "bin" / "busybox", root / "bin" / "busybox")
    for tool in _TOOLS:
        (root / "bin" / tool).symlink_to("busybox")
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(root, ".")
    config = {"Entrypoint": ["/pause"], "Env": ["PATH=/bin"]}
    oci.write(path, NODE_IMAGE, layer, platform.machine(), config)
