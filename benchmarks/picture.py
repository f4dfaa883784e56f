"""Draws the saved results: `python -m benchmarks.picture`."""

from __future__ import annotations

import json
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.results import FOLDER


def _load(name: str) -> dict[str, Any] | None:
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def main() -> None:
    """Draw ratios as bars against their goals."""
    intake, download = _load("intake"), _load("download")
    bars: list[tuple[str, float, float]] = []
    if intake:
        bars.append(("tasks/s against a bare client", intake["throughput_ratio"], 0.95))
    for slug, name in (("one-gib", "1 GiB"), ("small-files", "2,000 files")):
        if download and slug in download:
            bars.append((f"{name}: speed against curl", download[slug]["throughput_ratio"], 1.0))
    figure, axes = plt.subplots(figsize=(8, 0.7 * len(bars) + 1))
    for row, (_, value, goal) in enumerate(bars):
        axes.barh(row, value, color="#1a7f37" if value >= goal else "#9a6700", height=0.55)
        axes.plot([goal, goal], [row - 0.4, row + 0.4], color="#1f2328")
        axes.annotate(f" {value:.2f}", (value, row), va="center")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("ratio; the line is the goal")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(FOLDER / "ratios.svg")


if __name__ == "__main__":
    main()
