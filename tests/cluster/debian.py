"""Debian packages that building and running the cluster needs, installed when missing.

In: the package lists below. Out: the packages on this machine. Without recommended packages, so
that no service comes along; Debian's own containerd and runc are too old and are not used.
"""

import os
import shutil
from pathlib import Path

from tests.cluster.commands import ClusterError, run, say, timed

FOR_BUILD = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")
FOR_NODE = (
    "conntrack",
    "containernetworking-plugins",
    "ethtool",
    "iproute2",
    "iptables",
    "kmod",
    "libseccomp2",
    "mount",
    "nftables",
    "openssl",
    "socat",
)
FOR_POLICIES = ("ipset", "iptables")
FOR_IMAGES = ("buildah", "debootstrap")
CNI_PLUGINS = Path("/usr/lib/cni")

_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def install(*names: str) -> None:
    """Install those of `names` that are missing; say which."""
    missing = [name for name in dict.fromkeys(names) if not _installed(name)]
    if not missing:
        return
    _check_possible(missing)
    say(f"installing Debian packages: {' '.join(missing)}")
    with timed("installed packages"):
        _apt_install(missing)


def _installed(name: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name]
    return run(query, check=False) == "installed"


def _check_possible(missing: list[str]) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(
            f"These Debian packages are missing: {' '.join(missing)}. Run as root on Debian, or "
            "set KUBECONFIG_FOR_TESTS to use a cluster of your own (tests/cluster/README.md)."
        )


def _apt_install(missing: list[str]) -> None:
    argv = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    try:
        run(argv, env=_QUIET)
    except ClusterError:
        # The lists are empty or older than the archive: fetch them, then a failure is a real one.
        run(["apt-get", "update"], env=_QUIET)
        run(argv, env=_QUIET)


def unpacked(name: str, folder: Path) -> None:
    """Unpack a package into `folder` uninstalled (busybox-static would replace busybox)."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run(["apt-get", "download", name], cwd=folder, env=_QUIET)
    except ClusterError:
        run(["apt-get", "update"], env=_QUIET)
        run(["apt-get", "download", name], cwd=folder, env=_QUIET)
    archive = next(folder.glob(f"{name}_*.deb"))
    run(["dpkg", "-x", archive, folder])
