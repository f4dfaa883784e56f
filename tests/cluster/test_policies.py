"""What kube-router leaves in the machine's tables is taken away again, and nothing else.

In a network namespace of its own, so that neither this machine's rules nor a running cluster's are
touched.
"""

import os
import subprocess
import sys

import pytest

from tests.cluster import debian
from tests.cluster.names import REPOSITORY

pytestmark = pytest.mark.cluster

_SCRIPT = """
set -e
ipset create KUBE-SRC-ABC hash:ip
ipset create mine hash:ip
iptables -N KUBE-ROUTER-FORWARD
iptables -N KUBE-POD-FW-ABC
iptables -N MINE
iptables -A FORWARD -m comment --comment "kube-router netpol: it's ours" -j KUBE-ROUTER-FORWARD
iptables -A FORWARD -j MINE
iptables -A KUBE-ROUTER-FORWARD -d 10.0.0.1 -j KUBE-POD-FW-ABC
iptables -A KUBE-POD-FW-ABC -m set --match-set KUBE-SRC-ABC src -j ACCEPT
"$PYTHON" -c 'from tests.cluster import network; network._forget_policies()'
iptables-save -t filter
ipset list -n
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_chains_rules_and_sets_are_gone_and_others_stay() -> None:
    """Jumps from shared chains, our chains, our sets: gone. Somebody else's: there."""
    debian.install(*debian.FOR_POLICIES)
    ended = subprocess.run(
        ["unshare", "--net", "bash", "-c", _SCRIPT],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert "KUBE-" not in ended.stdout
    assert "-A FORWARD -j MINE" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "mine"
