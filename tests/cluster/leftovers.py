"""Clear away a cluster, whatever of it is left: the same code ends a healthy one and a killed one.

In: records, the state folder, the cgroup. Out: nothing of ours on the machine but the logs. What
belongs to us is known by records, by our containerd's socket, by our cgroup and by paths under our
state folder; nothing is ended or unmounted by a pattern that could fit another program's things.
"""

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

from tests.cluster import mounts, network, records
from tests.cluster.names import CGROUP, CONTAINERD_SOCKET, LOGS, STATE

_CGROUPS = Path("/sys/fs/cgroup")
_KEPT = {"lock", LOGS.name}
# Those that would start or mount things again while we clear.
_MAKERS = ("kubelet", "containerd")


def clear() -> None:
    """End every process, then remove mounts, network, cgroups and files. Safe to repeat."""
    records.end_all(_MAKERS)
    records.end_all()
    _end_shims()
    _end_containers()
    mounts.unmount_below(STATE)
    if shutil.which("ip") and shutil.which("nft"):
        network.tear_down()
    _remove_cgroups()
    _remove_shim_sockets()
    _remove_files()


def _end_shims() -> None:
    for shim in records.found("containerd-shim-runc-v2", str(CONTAINERD_SOCKET)):
        records.signal_process(shim, signal.SIGKILL)


def _our_cgroups() -> list[Path]:
    """Our cgroup in every hierarchy (one under v2), each with its children, deepest first."""
    roots = [_CGROUPS / CGROUP, *_CGROUPS.glob(f"*/{CGROUP}")]
    every = {folder for root in roots for folder in [root, *root.glob("**/")] if folder.is_dir()}
    return sorted(every, key=lambda folder: len(folder.parts), reverse=True)


def _container_processes() -> set[int]:
    found: set[int] = set()
    for folder in _our_cgroups():
        with contextlib.suppress(OSError):
            found.update(int(word) for word in (folder / "cgroup.procs").read_text().split())
    return found - {0}


def _end_containers(seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while (processes := _container_processes()) and time.monotonic() < end:
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _remove_cgroups() -> None:
    for folder in _our_cgroups():
        with contextlib.suppress(OSError):
            folder.rmdir()


def _remove_shim_sockets() -> None:
    """Containerd puts them outside its folders; each shim's bootstrap file says where."""
    for file in (STATE / "containerd" / "run").glob(
        "io.containerd.runtime.v2.task/*/*/bootstrap.json"
    ):
        with contextlib.suppress(ValueError, KeyError):
            address = str(json.loads(file.read_text())["address"])
            Path(address.removeprefix("unix://")).unlink(missing_ok=True)


def _remove_files() -> None:
    for entry in STATE.iterdir() if STATE.exists() else ():
        if entry.name in _KEPT:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    _remove_outside()


def _remove_outside() -> None:
    """The few files whose places kubelet and the network plugins do not let us choose."""
    for file in Path("/var/lib/cni/results").glob("*"):
        if f'"netns":"{STATE}/' in file.read_text(errors="replace"):
            file.unlink()
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{STATE}/"):
            link.unlink()


def make_cgroup() -> None:
    """The cgroup under which kubelet puts all pods, in every hierarchy."""
    if (_CGROUPS / "cgroup.controllers").exists():
        _make_unified()
        return
    for hierarchy in _CGROUPS.iterdir():
        if (hierarchy / "cgroup.procs").exists() and not hierarchy.is_symlink():
            (hierarchy / CGROUP).mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        source = _CGROUPS / "cpuset" / name
        if source.exists():
            (_CGROUPS / "cpuset" / CGROUP / name).write_text(source.read_text())


def _make_unified() -> None:
    wanted = [f"+{name}" for name in (_CGROUPS / "cgroup.controllers").read_text().split()]
    for name in wanted:
        with contextlib.suppress(OSError):
            (_CGROUPS / "cgroup.subtree_control").write_text(name)
    (_CGROUPS / CGROUP).mkdir(exist_ok=True)
