"""The cluster's addresses on this machine, and how they are kept from leaving it.

In: names. Out: a bridge without ports that carries the node's address, routes, and one nft table.
Every cluster address ends on this machine even while kube-proxy is down: the cluster's range is a
blackhole but for what is more specific, the service range goes to the node's bridge (a blackhole
there would fail before the address is rewritten), and nothing is forwarded between pods and any
other interface.
"""

import shutil
from pathlib import Path

from tests.cluster.commands import ClusterError, run
from tests.cluster.names import (
    CLUSTER_RANGE,
    CONFIG,
    NFT_TABLE,
    NODE_ADDRESS,
    NODE_DEVICE,
    POD_BRIDGE,
    SERVICE_RANGE,
)

_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def set_up() -> None:
    """Make the node's address and the guards; safe to repeat."""
    _kernel_settings()
    run(["nft", "-f", CONFIG / "guard.nft"])
    run(["ip", "link", "add", NODE_DEVICE, "type", "bridge"])
    run(["ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", NODE_DEVICE])
    run(["ip", "link", "set", NODE_DEVICE, "up"])
    run(["ip", "route", "replace", "blackhole", CLUSTER_RANGE])
    run(["ip", "route", "replace", SERVICE_RANGE, "dev", NODE_DEVICE])


def _kernel_settings() -> None:
    if not _BRIDGE_FILTER.exists():
        run(["modprobe", "br_netfilter"], check=False)
    if not _BRIDGE_FILTER.exists():
        raise ClusterError(
            "The kernel has no br_netfilter, so answers between pods would skip the rewriting of "
            "Service addresses; use a kernel that has it, or a cluster of your own."
        )
    _BRIDGE_FILTER.write_text("1\n")
    _FORWARD.write_text("1\n")


def tear_down() -> None:
    """Remove what `set_up`, kube-proxy and the bridge plugin made; silent about what is gone.

    Policies first: kube-router leaves its chains in tables that it shares with others.
    The node's device goes last: it is the mark by which kube-proxy's tables are known to be ours.
    """
    _forget_policies()
    ours = [NFT_TABLE, *(["kube-proxy"] if _exists(NODE_DEVICE) else [])]
    for family, table in _tables():
        if table in ours:
            run(["nft", "delete", "table", family, table], check=False)
    run(["ip", "route", "delete", "blackhole", CLUSTER_RANGE], check=False)
    for device in (POD_BRIDGE, NODE_DEVICE):
        if _exists(device):
            run(["ip", "link", "delete", device])


_OURS = ("KUBE-ROUTER-", "KUBE-NWPLCY-", "KUBE-POD-FW-")


def _forget_policies() -> None:
    """Remove kube-router's rules, chains and sets from the tables of iptables."""
    if shutil.which("iptables-save") is None or shutil.which("ipset") is None:
        return
    lines = run(["iptables-save", "--table", "filter"], check=False).splitlines()
    chains = [line[1:].split()[0] for line in lines if line.startswith(":")]
    ours = [chain for chain in chains if chain.startswith(_OURS)]
    for chain, number in reversed(_jumps(lines, ours)):
        run(["iptables", "--delete", chain, str(number)], check=False)
    for option in ("--flush", "--delete-chain"):
        for chain in ours:
            run(["iptables", option, chain], check=False)
    for name in run(["ipset", "list", "--name"], check=False).split() if ours else ():
        if name.startswith(("KUBE-", "kube-router-")):
            run(["ipset", "destroy", name], check=False)


def _jumps(lines: list[str], ours: list[str]) -> list[tuple[str, int]]:
    """Rules of others' chains that lead into ours, by chain and number, as iptables counts them."""
    counts: dict[str, int] = {}
    found = []
    for words in (line.split() for line in lines if line.startswith("-A ")):
        chain = words[1]
        counts[chain] = counts.get(chain, 0) + 1
        if chain not in ours and set(words) & set(ours):
            found.append((chain, counts[chain]))
    return found


def refuse_another_cluster() -> None:
    """Raise when somebody else's kube-proxy is at work here: its rules and ours would mix."""
    if any(table == "kube-proxy" for _, table in _tables()):
        raise ClusterError(
            "Another Kubernetes on this machine has nft tables named kube-proxy; stop it, or give "
            "its kubeconfig as KUBECONFIG_FOR_TESTS (tests/cluster/README.md)."
        )


def _exists(device: str) -> bool:
    return Path(f"/sys/class/net/{device}").exists()


def _tables() -> list[tuple[str, str]]:
    words = [line.split() for line in run(["nft", "list", "tables"]).splitlines()]
    return [(line[1], line[2]) for line in words if len(line) == 3]
