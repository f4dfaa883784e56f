"""The default rendering as it was last reviewed: `python -m tests.deploy.snapshot` renews it."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import cluster
from tests.deploy.chart import Helm

FILE = Path(__file__).parent / "snapshots" / "defaults.yaml"


def rendered(helm: Helm) -> str:
    """The defaults, with a password that is always the same."""
    return helm.text({"redis": {"password": "fixed"}}).replace("\r\n", "\n")


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(rendered(Helm(cluster.tool("helm"))))
