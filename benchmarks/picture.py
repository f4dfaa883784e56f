"""Draws the saved results: `python -m benchmarks.picture`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.results import FOLDER


def _load(name: str) -> dict[str, Any] | None:
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _bars() -> Iterator[tuple[str, float, float]]:
    """Give what is drawn: its name, its ratio, its goal."""
    intake, download = _load("intake"), _load("download")
    if intake:
        yield "tasks/s against a bare client", intake["throughput_ratio"], 0.95
    for case in (download or {}).get("cases", {}).values():
        name = f"{case['title']}: speed against {case['fastest_other']}"
        yield name, case["throughput_ratio"], 1.0


def main() -> None:
    """Draw ratios as bars against their goals."""
    bars = list(_bars())
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(bars) + 1))
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
    _write_table()


def _write_table() -> None:
    """Write the figures as a table, for whoever reads rather than looks."""
    download = _load("download")
    if download is None:
        return
    machine = download["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['date']}; medians of {download['rounds']}.",
        "",
        "| case | client | MB/s | CPU s per GB | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for case in download["cases"].values():
        lines += [
            f"| {case['title']} | {name} | {one['mb_per_s']} | {one['cpu_s_per_gb']} "
            f"| {one['peak_mib']} |"
            for name, one in case["clients"].items()
        ]
    (FOLDER / "download.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
