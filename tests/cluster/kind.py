"""The same cluster where Docker and kind are at hand.

In: `docker` and `kind` on PATH. Out: a kind cluster of a fixed name and its kubeconfig in the
cache. NOT TRIED by its authors, who have neither an image registry nor privileged containers:
README.md.
"""

import shutil
import subprocess
from pathlib import Path

from tests.cluster.commands import ClusterError, locked, run, say, timed
from tests.cluster.names import cache

_NAME = "course-runner-test"


def possible() -> bool:
    """Whether kind is installed and a Docker engine answers."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    argv = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0


def kubeconfig() -> Path:
    """Where the kubeconfig is kept; the user's own is not touched."""
    return cache() / "kind.kubeconfig"


def up(*, fresh: bool) -> Path:
    """The running cluster, or a new one."""
    if not possible():
        raise ClusterError("No kind, or no running Docker; install both, or unset TEST_CLUSTER.")
    with locked(cache() / "kind.lock"):
        if fresh:
            _delete()
        if _NAME in run(["kind", "get", "clusters"]).split():
            say(f"the kind cluster {_NAME} exists already")
            kubeconfig().write_text(run(["kind", "get", "kubeconfig", "--name", _NAME]))
        else:
            _create()
    return kubeconfig()


def _create() -> None:
    where = ["--name", _NAME, "--kubeconfig", kubeconfig()]
    with timed("created the kind cluster"):
        run(["kind", "create", "cluster", *where, "--wait", "180s"])


def down() -> None:
    """Delete the cluster; none is fine."""
    with locked(cache() / "kind.lock"):
        _delete()


def _delete() -> None:
    run(["kind", "delete", "cluster", "--name", _NAME, "--kubeconfig", kubeconfig()])


def load(archive: Path) -> None:
    """Give the nodes the images of an archive."""
    run(["kind", "load", "image-archive", archive, "--name", _NAME])


def host_address() -> str:
    """This machine as pods see it: the gateway of kind's Docker network."""
    argv = ["docker", "network", "inspect", "kind", "--format"]
    gateways = run([*argv, "{{range .IPAM.Config}}{{.Gateway}} {{end}}"]).split()
    for gateway in gateways:
        if "." in gateway:
            return gateway
    raise ClusterError(
        "Docker's network kind has no IPv4 gateway, so pods have no known way to this machine; set "
        "HOST_ADDRESS to an address of this machine that pods reach."
    )
