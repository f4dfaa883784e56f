"""Draws how the cost grows: `python -m benchmarks.growth`, after `benchmarks.scale`."""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.results import FOLDER

GOAL_MIB = 96
COSTS = (("resident_mib", "resident memory, MiB"), ("start_s", "from start to ready, s"))


def main() -> int:
    """Draw one picture per cost beside each other; 1 when nothing was measured yet."""
    file = FOLDER / "scale.json"
    if not file.exists():
        print("Nothing to draw: python -m benchmarks.scale comes first.")
        return 1
    rows = json.loads(file.read_text())["by_live"]
    figure, panels = plt.subplots(1, len(COSTS), figsize=(9, 3.2))
    for axes, (cost, title) in zip(panels, COSTS, strict=True):
        for queued in sorted({row["queued"] for row in rows}):
            points = [(row["live"], row[cost]) for row in rows if row["queued"] == queued]
            axes.plot(*zip(*points, strict=True), marker="o", label=f"{queued:,} orders queued")
        axes.set(xscale="log", xlabel="live tasks", title=title, ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].axhline(GOAL_MIB, color="#1f2328", linewidth=0.8)
    panels[0].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(FOLDER / "growth.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
