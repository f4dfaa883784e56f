"""Every name, address and folder of the test cluster, said once.

In: the environment (only for where caches go). Out: constants that the other modules and the tests
import. The state lies in one fixed folder of the machine, because addresses, bridges and ports can
serve one cluster at a time: whoever starts a second one meets the first one's lock and records.
"""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

DISPATCHER_IMAGE = "localhost/course-runner-dispatcher:test"
JOB_IMAGE = "localhost/course-runner-job:test"
REDIS_IMAGE = "localhost/redis:test"
PYTHON_IMAGE = "localhost/python:3.13-slim"
NODE_IMAGE = "localhost/course-runner-node:1"
"""Pause program and busybox: what the node itself needs (sandboxes, volume set-up)."""

STATE = Path("/var/lib/course-runner-cluster")
BIN_LINKS = STATE / "bin"
KUBECONFIG = STATE / "admin.kubeconfig"
CONFIG = STATE / "config"
LOGS = STATE / "logs"
RECORDS = STATE / "records"
LOADED = STATE / "loaded"
CONTAINERD_SOCKET = STATE / "containerd" / "run" / "containerd.sock"

NODE = "node-1"
NODE_DEVICE = "coursenode"
POD_BRIDGE = "coursepods"
NODE_ADDRESS = "10.244.1.1"
CLUSTER_RANGE = "10.244.0.0/16"
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
API_PORT = 6443
POLICIES_HEALTH_PORT = 20244
API_URL = f"https://{NODE_ADDRESS}:{API_PORT}"
CGROUP = "course-runner-cluster"
NFT_TABLE = "course_runner_cluster"
CNI_NETWORK = "course-runner-pods"


def cache() -> Path:
    """The folder of everything that is dear to make and may be deleted at any time."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("COURSE_RUNNER_CACHE") or home) / "course-runner" / "cluster"
