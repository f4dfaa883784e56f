"""What tests import: a cluster, its kubeconfig, its images, and the way back to the host.

In: the environment. KUBECONFIG_FOR_TESTS names a cluster of one's own (with LOAD_COMMAND, e.g.
`kind load image-archive {archive}`, and HOST_ADDRESS); else Docker with kind is used where both
work; else the cluster is built from nothing on this machine. TEST_CLUSTER=bare|kind says which of
the last two. Out: paths and addresses; nothing here knows what the tests do with them.
"""

import os
import shlex
import shutil
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import cache
from pathlib import Path

from tests.cluster import bare, families, images, kind
from tests.cluster.commands import ClusterError, run, say, timed
from tests.cluster.names import (
    BIN_LINKS,
    DISPATCHER_IMAGE,
    JOB_IMAGE,
    KUBECONFIG,
    LOADED,
    NODE_ADDRESS,
    PYTHON_IMAGE,
    REDIS_IMAGE,
)

__all__ = [
    "DISPATCHER_IMAGE",
    "JOB_IMAGE",
    "PYTHON_IMAGE",
    "REDIS_IMAGE",
    "ClusterError",
    "bind_address",
    "demand_up",
    "enforce_policies",
    "ensure_up",
    "helm",
    "helm3",
    "host_address",
    "kubeconfig",
    "kubectl",
    "load_base",
    "load_images",
    "load_redis",
    "tool",
    "up",
    "users_builder",
]


class Origin(Enum):
    """Where the cluster comes from."""

    GIVEN = "given"
    KIND = "kind"
    BARE = "bare"


@cache
def chosen() -> Origin:
    """Which cluster this run uses; decided once."""
    if os.environ.get("KUBECONFIG_FOR_TESTS"):
        return Origin.GIVEN
    if wish := os.environ.get("TEST_CLUSTER"):
        return _wished(wish)
    return Origin.KIND if kind.possible() else Origin.BARE


def _wished(wish: str) -> Origin:
    if wish not in (Origin.KIND.value, Origin.BARE.value):
        raise ClusterError(f"TEST_CLUSTER is {wish!r}; it may be `bare` or `kind`, or unset.")
    return Origin(wish)


def kubeconfig() -> Path:
    """The administrator's kubeconfig; it exists once the cluster is up."""
    if chosen() is Origin.GIVEN:
        return Path(os.environ["KUBECONFIG_FOR_TESTS"]).absolute()
    return kind.kubeconfig() if chosen() is Origin.KIND else KUBECONFIG


def up(*, fresh: bool = False) -> Path:
    """Make sure that there is a healthy cluster and return its kubeconfig."""
    if chosen() is Origin.KIND:
        return kind.up(fresh=fresh)
    if chosen() is Origin.BARE:
        return bare.up(fresh=fresh)
    run([kubectl(), f"--kubeconfig={kubeconfig()}", "get", "nodes"])
    return kubeconfig()


def ensure_up() -> Path:
    """As `up`, under the name that says what a test wants."""
    return up()


def demand_up() -> None:
    """Raise unless a healthy cluster is there already; starts nothing."""
    if chosen() is Origin.BARE and not bare.healthy():
        raise ClusterError("no cluster is up; run `python3 -m tests.cluster up` as root.")
    if not kubeconfig().exists():
        raise ClusterError(f"no cluster: {kubeconfig()} does not exist.")


def down() -> None:
    """End the cluster; one that was given stays."""
    if chosen() is Origin.KIND:
        kind.down()
    elif chosen() is Origin.BARE:
        bare.down()


def status() -> str:
    """What a person wants to know about the cluster."""
    detail = f"\n{bare.status()}" if chosen() is Origin.BARE else ""
    tools = f"kubectl: {_program('kubectl')}"
    return f"cluster: {chosen().value}\nKUBECONFIG={kubeconfig()}\n{tools}{detail}"


def host_address() -> str:
    """This machine's address as pods see it; HOST_ADDRESS overrides."""
    if address := os.environ.get("HOST_ADDRESS"):
        return address
    if chosen() is Origin.KIND:
        return kind.host_address()
    if chosen() is Origin.BARE:
        return NODE_ADDRESS
    raise ClusterError(
        "KUBECONFIG_FOR_TESTS names a cluster of yours, so only you know how its pods reach this "
        "machine; set HOST_ADDRESS to that address."
    )


def bind_address() -> str:
    """Where a server of this machine must listen for pods to reach it at `host_address()`."""
    return NODE_ADDRESS if chosen() is Origin.BARE else "0.0.0.0"


def _program(name: str) -> Path | None:
    if chosen() is Origin.BARE:
        return BIN_LINKS / name
    found = shutil.which(name)
    return None if found is None else Path(found)


def _needed(name: str) -> Path:
    path = _program(name)
    if path is None or not path.exists():
        raise ClusterError(f"No {name} here; install it, or run `python3 -m tests.cluster build`.")
    return path


def kubectl() -> Path:
    """A kubectl that fits the cluster."""
    return _needed("kubectl")


def helm() -> Path:
    """Helm 4; where the cluster is built here, it is built when first asked for."""
    return tool("helm")


def helm3() -> Path:
    """Helm 3, likewise; elsewhere a program called helm3 on PATH."""
    return tool("helm3")


def tool(name: str) -> Path:
    """Another program of the families, built when first asked for."""
    if chosen() is not Origin.BARE:
        return _needed(name)
    families.build(tuple(each for each in families.FAMILIES if each.name == name))
    return families.binary(name)


def enforce_policies() -> None:
    """Have network policies enforced; a cluster that was not built here must do so by itself."""
    if chosen() is Origin.BARE:
        bare.enforce_policies()


def build_images() -> dict[str, Path]:
    """Archives of the product's images and of their base, by image name."""
    docker = chosen() is not Origin.BARE and kind.possible()
    return {
        PYTHON_IMAGE: images.base_archive(docker=docker),
        **images.product_archives(docker=docker),
    }


def users_builder(folder: Path) -> AbstractContextManager[dict[str, str]]:
    """The environment in which `make images` finds its base image: with Docker none is needed."""
    if chosen() is not Origin.BARE and kind.possible():
        return nullcontext({})
    return images.for_users_buildah(folder)


def load_images() -> None:
    """Build the product's images where they changed, and give them to the cluster."""
    built = build_images()
    for name in (DISPATCHER_IMAGE, JOB_IMAGE):
        _load(name, built[name])


def load_redis() -> None:
    """Give the cluster the server that the chart's embedded Redis runs in the tests."""
    docker = chosen() is not Origin.BARE and kind.possible()
    _load(REDIS_IMAGE, images.redis_archive(docker=docker))


def load_base() -> None:
    """Give the cluster the Python base image."""
    docker = chosen() is not Origin.BARE and kind.possible()
    _load(PYTHON_IMAGE, images.base_archive(docker=docker))


def _load(name: str, archive: Path) -> None:
    mark = LOADED / name.replace("/", "_")
    if chosen() is Origin.BARE and mark.exists() and mark.read_text() == archive.name:
        return
    say(f"loading {name}")
    with timed(f"loaded {name}"):
        _give(archive)
    if chosen() is Origin.BARE:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(archive.name)


def _give(archive: Path) -> None:
    if chosen() is Origin.BARE:
        bare.import_image(archive)
    elif command := os.environ.get("LOAD_COMMAND"):
        run([word.replace("{archive}", str(archive)) for word in shlex.split(command)])
    elif chosen() is Origin.KIND:
        kind.load(archive)
    else:
        raise ClusterError(
            "LOAD_COMMAND is not set, so images cannot be given to the cluster of "
            "KUBECONFIG_FOR_TESTS; set it, e.g. to `kind load image-archive {archive}`."
        )
