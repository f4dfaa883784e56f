"""The cluster built here: processes of this machine, from nothing to a Ready node in seconds.

In: binaries from the cache and the names. Out: a running cluster under <state>, or none. The state
is never carried over: each start makes new certificates, a new database and a new node, so that no
run can be spoilt by the one before it.
"""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster import api, debian, families, leftovers, network, node_image, parts, pki, records
from tests.cluster.commands import ClusterError, locked, run, say, timed, wait_for
from tests.cluster.names import (
    BIN_LINKS,
    CONFIG,
    CONTAINERD_SOCKET,
    KUBECONFIG,
    LOGS,
    STATE,
)

LOCK = STATE / "lock"
_POLICIES = "kube-router"

_PARTS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "etcd": ("etcd", parts.etcd),
    "apiserver": ("kube-apiserver", parts.apiserver),
    "containerd": ("containerd", parts.containerd),
    "controller-manager": ("kube-controller-manager", parts.controller_manager),
    "scheduler": ("kube-scheduler", parts.scheduler),
    "kubelet": ("kubelet", parts.kubelet),
    "proxy": ("kube-proxy", parts.proxy),
    "coredns": ("coredns", parts.coredns),
    "local-path": ("local-path-provisioner", parts.local_path),
}


def build() -> None:
    """Install packages and build every program, helm and all."""
    _check_machine()
    wanted = (debian.FOR_BUILD, debian.FOR_NODE, debian.FOR_IMAGES, debian.FOR_POLICIES)
    debian.install(*(name for names in wanted for name in names))
    families.build(families.FAMILIES)
    node_image.archive()


def up(*, fresh: bool = False) -> Path:
    """A healthy cluster: the running one, or a new one. Returns the administrator's kubeconfig."""
    _check_machine()
    with locked(LOCK):
        if not fresh and healthy():
            say("the cluster is up and healthy already")
        else:
            _new()
    return KUBECONFIG


def down() -> None:
    """End the cluster and remove all it made but its logs."""
    _check_machine()
    with locked(LOCK), timed("down"):
        leftovers.clear()


def healthy() -> bool:
    """Whether every part runs and the node is Ready."""
    living = {record.name for record in records.records() if records.alive(record)}
    return living >= set(_PARTS) and api.ready() and api.node_ready()


def enforce_policies() -> None:
    """Start what enforces network policies, which nothing else needs; it goes with the cluster."""
    _check_machine()
    with locked(LOCK):
        if any(each.name == _POLICIES and records.alive(each) for each in records.records()):
            return
        debian.install(*debian.FOR_POLICIES)
        families.build(tuple(each for each in families.FAMILIES if each.name == _POLICIES))
        families.link_binaries()
        records.start(_POLICIES, [parts.program(_POLICIES), *parts.kube_router()])
        _wait(_POLICIES, api.policies_ready)


def status() -> str:
    """One line per part, and whether API and node are well."""
    kept = {record.name: record for record in records.records()}
    lines = [f"{name:20} {_life(kept.get(name))}" for name in _PARTS]
    lines.append(f"{'API':20} {'ready' if api.ready() else 'not ready'}")
    lines.append(f"{'node':20} {'Ready' if api.node_ready() else 'not Ready'}")
    return "\n".join(lines)


def _life(record: records.Record | None) -> str:
    if record is None:
        return "not started"
    state = "runs" if records.alive(record) else "DIED"
    return f"{state} pid={record.pid} log={records.log_of(record.name)}"


def _check_machine() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ClusterError(
            "A cluster of our own needs Linux and root; elsewhere install Docker and kind, or set "
            "KUBECONFIG_FOR_TESTS (tests/cluster/README.md)."
        )


def _new() -> None:
    debian.install(*debian.FOR_BUILD, *debian.FOR_NODE)
    families.build(tuple(each for each in families.FAMILIES if each.for_up))
    image = node_image.archive()
    leftovers.clear()
    network.refuse_another_cluster()
    with timed(f"cluster from nothing ({platform.machine()})"):
        _start_all(image)
    say(f"KUBECONFIG={KUBECONFIG}")


def _start_all(image: Path) -> None:
    shutil.rmtree(LOGS, ignore_errors=True)
    families.link_binaries()
    parts.write_configuration()
    pki.make()
    leftovers.make_cgroup()
    network.set_up()
    _start_control(image)
    _start_node()
    _await_all()


def _start(*names: str) -> None:
    for name in names:
        program, words = _PARTS[name]
        records.start(name, [parts.program(program), *words()])


def _start_control(image: Path) -> None:
    _start("etcd", "apiserver", "containerd")
    _wait("containerd", CONTAINERD_SOCKET.exists)
    import_image(image)
    _wait("apiserver", api.ready)


def _start_node() -> None:
    _start("controller-manager", "scheduler", "kubelet", "proxy")
    objects = CONFIG / "objects.yaml"
    kubectl("apply", "--server-side", "--validate=false", "--filename", str(objects))
    _start("coredns", "local-path")


def _await_all() -> None:
    _wait("kubelet", api.node_ready)
    _wait("controller-manager", api.namespaces_ready)
    _wait("coredns", api.dns_ready)
    _wait("proxy", api.proxy_ready)


def _wait(name: str, ready: Callable[[], bool], seconds: float = 90) -> None:
    wait_for(name, lambda: _lives(name) and ready(), seconds, records.log_of(name))


def _lives(name: str) -> bool:
    """Raise as soon as a part that we wait for has died, rather than wait in vain."""
    record = next(each for each in records.records() if each.name == name)
    if not records.alive(record):
        raise ClusterError(f"{name} ended while starting; read {records.log_of(name)}")
    return True


def kubectl(*words: str) -> str:
    """Run kubectl as the administrator."""
    return run([BIN_LINKS / "kubectl", f"--kubeconfig={KUBECONFIG}", *words])


def import_image(archive: Path) -> None:
    """Give the node the images of an archive."""
    prefix = [BIN_LINKS / "ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"]
    run([*prefix, "images", "import", archive])
