"""Build the cluster's programs from pinned Go modules, once per content.

In: go/<family>/{go.mod,go.sum} and this table. Out: a folder of binaries in the cache whose name
holds the hash of everything that decides their content, so a changed pin, flag or compiler builds
anew and nothing else does. Each family is a module of its own: together, their dependencies'
versions fight. Another program is one more row and its go.mod (`go get -tool
<package>@<version>`).
"""

import functools
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import ClusterError, locked, run, say, timed
from tests.cluster.names import BIN_LINKS, HERE, cache

_KUBE_VERSION = " ".join(
    f"-X {package}.git{field}={{{field.lower()}}}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for field in ("Version", "Major", "Minor")
)


@dataclass(frozen=True, slots=True)
class Family:
    """Programs that come from one Go module."""

    name: str
    module: str
    """The module whose version in go.mod is the family's version."""
    packages: tuple[str, ...]
    """What to build, relative to the module; "." alone builds the family's own main.go."""
    binaries: tuple[str, ...]
    """Their names; with a single package, a name of our choice."""
    ldflags: str = ""
    """Linker flags; {version}, {bare} (without v), {major} and {minor} are filled in."""
    tags: str = ""
    cgo: bool = False
    for_up: bool = True
    """False: built by `build`, not waited for by `up`."""


_KUBERNETES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
_HELM3_KUBERNETES = " ".join(
    f"-X helm.sh/helm/v3/pkg/{package}.k8sVersion{field}={number}"
    for package in ("lint/rules", "chartutil")
    for field, number in (("Major", 1), ("Minor", 37))
)
"""The Kubernetes that Helm 3 takes for granted without a cluster: as in its own build."""
_CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")

FAMILIES = (
    Family(
        "kubernetes",
        "k8s.io/kubernetes",
        tuple(f"cmd/{name}" for name in _KUBERNETES),
        _KUBERNETES,
        ldflags=_KUBE_VERSION,
    ),
    Family("etcd", "go.etcd.io/etcd/server/v3", (".",), ("etcd",)),
    Family(
        "containerd",
        "github.com/containerd/containerd/v2",
        tuple(f"cmd/{name}" for name in _CONTAINERD),
        _CONTAINERD,
        ldflags="-X github.com/containerd/containerd/v2/version.Version={version}",
    ),
    Family(
        "runc",
        "github.com/opencontainers/runc",
        ("",),
        ("runc",),
        ldflags="-X main.version={bare}",
        tags="seccomp",
        cgo=True,
    ),
    Family(
        "local-path",
        "github.com/rancher/local-path-provisioner",
        ("",),
        ("local-path-provisioner",),
        ldflags="-X main.VERSION={version}",
    ),
    Family("coredns", "github.com/coredns/coredns", ("",), ("coredns",)),
    Family(
        "helm",
        "helm.sh/helm/v4",
        ("cmd/helm",),
        ("helm",),
        ldflags="-X helm.sh/helm/v4/internal/version.version={version}",
        for_up=False,
    ),
    Family(
        "helm3",
        "helm.sh/helm/v3",
        ("cmd/helm",),
        ("helm3",),
        ldflags="-X helm.sh/helm/v3/internal/version.version={version} " + _HELM3_KUBERNETES,
        for_up=False,
    ),
    Family(
        "kube-router",
        "github.com/cloudnativelabs/kube-router/v2",
        ("cmd/kube-router",),
        ("kube-router",),
        ldflags="-X github.com/cloudnativelabs/kube-router/v2/pkg/version.Version={version}",
        for_up=False,
    ),
    Family(
        "crane",
        "github.com/google/go-containerregistry",
        ("cmd/crane",),
        ("crane",),
        ldflags="-X github.com/google/go-containerregistry/cmd/crane/cmd.Version={version}",
        for_up=False,
    ),
    Family("decode-1.30", "k8s.io/api", (".",), ("decode-1.30",), for_up=False),
)


def source(family: Family) -> Path:
    """The folder of the family's go.mod."""
    return HERE / "go" / family.name


def version(family: Family) -> str:
    """The pinned version, from go.mod, e.g. v1.37.2."""
    text = (source(family) / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(family.module)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ClusterError(f"{source(family)}/go.mod requires no {family.module}; pin it there.")
    return found[1]


def arguments(family: Family) -> list[str]:
    """The `go build` arguments without the output folder."""
    pinned = version(family)
    major, minor, _ = pinned.removeprefix("v").split(".", 2)
    extra = family.ldflags.format(version=pinned, bare=pinned[1:], major=major, minor=minor)
    tags = ["-tags", family.tags] if family.tags else []
    flags = [
        "-mod=readonly",
        "-buildvcs=false",
        "-trimpath",
        *tags,
        "-ldflags",
        f"-s -w {extra}".strip(),
    ]
    return flags + [_target(family, package) for package in family.packages]


def _target(family: Family, package: str) -> str:
    return package if package == "." else f"{family.module}/{package}".rstrip("/")


def folder(family: Family) -> Path:
    """Where this content of the family is or will be."""
    digest = hashlib.sha256()
    for file in sorted(source(family).iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update("\0".join([*arguments(family), str(family.cgo), _go_version()]).encode())
    return cache() / "bin" / f"{family.name}-{digest.hexdigest()[:16]}"


@functools.cache
def _go_version() -> str:
    if shutil.which("go") is None:
        raise ClusterError(
            "There is no `go` on PATH; install Go 1.26 or newer to build the cluster."
        )
    return run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], env={"GOFLAGS": ""}, cwd=HERE)


def built(family: Family) -> bool:
    """Whether the cache holds every binary of this content."""
    return all((folder(family) / name).is_file() for name in family.binaries)


def build(families: tuple[Family, ...]) -> None:
    """Build what the cache lacks. A killed build leaves a folder that does not count."""
    with locked(cache() / "build.lock"):
        for family in families:
            if not built(family):
                _build(family)


def _build(family: Family) -> None:
    target = folder(family)
    for stale in target.parent.glob(".half-*"):
        shutil.rmtree(stale, ignore_errors=True)
    half = target.with_name(f".half-{family.name}-{os.getpid()}")
    half.mkdir(parents=True)
    say(f"building {family.name} {version(family)}")
    with timed(f"built {family.name}"):
        _go_build(family, half)
    shutil.rmtree(target, ignore_errors=True)
    half.rename(target)


def _go_build(family: Family, output: Path) -> None:
    environment = {"CGO_ENABLED": "1" if family.cgo else "0", "GOFLAGS": "", "GOWORK": "off"}
    only = family.binaries[0] if len(family.packages) == 1 else ""
    argv = ["go", "build", "-o", f"{output}{os.sep}{only}", *arguments(family)]
    run(argv, cwd=source(family), env=environment)


def binary(name: str) -> Path:
    """The built program of that name; an error that says how to build it where it is missing."""
    family = next(each for each in FAMILIES if name in each.binaries)
    path = folder(family) / name
    if not path.is_file():
        raise ClusterError(f"{name} is not built yet; run `python3 -m tests.cluster build` first.")
    return path


def link_binaries() -> None:
    """One folder with links to everything built, for PATH and for containerd to find its shim."""
    BIN_LINKS.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        for name in family.binaries if built(family) else ():
            link = BIN_LINKS / name
            link.unlink(missing_ok=True)
            link.symlink_to(folder(family) / name)
