"""Draws the saved results and writes them as tables: `python -m benchmarks.picture`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.results import FOLDER

GOOD, POOR, INK = "#1a7f37", "#9a6700", "#1f2328"
MIB = 96


class Bar(NamedTuple):
    """One ratio and its goal; `is_most`: the goal is the most that it may be."""

    name: str
    value: float
    goal: float
    is_most: bool = False

    @property
    def is_good(self) -> bool:
        return self.value <= self.goal if self.is_most else self.value >= self.goal


def _load(name: str) -> dict[str, Any] | None:
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def _races() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each comparison of the download that came about."""
    for case in (_load("download") or {}).get("cases", {}).values():
        yield case["title"], case
        if among := case.get("among_those_who_make_a_film"):
            yield f"{case['title']}, of those who make a film", among


def _speeds() -> Iterator[Bar]:
    if intake := _load("intake"):
        yield Bar("tasks/s against a bare client", intake["throughput_ratio"], 0.95)
    for title, one in _races():
        if "throughput_ratio" in one:
            yield Bar(f"{title}: {one['fastest_other']}", one["throughput_ratio"], 1.0)


def _prices() -> Iterator[Bar]:
    if start := _load("start"):
        yield Bar("start against `import requests`", start["start_ratio"], 1.5, is_most=True)
    for title, one in _races():
        if "cpu_ratio" in one:
            yield Bar(f"{title}: {one['leanest_other']}", one["cpu_ratio"], 1.1, is_most=True)


def _draw(axes: Any, title: str, bars: Sequence[Bar]) -> None:
    """Draw ratios as bars against their goals."""
    for row, bar in enumerate(bars):
        axes.barh(row, bar.value, color=GOOD if bar.is_good else POOR, height=0.6)
        axes.plot([bar.goal, bar.goal], [row - 0.4, row + 0.4], color=INK)
        axes.annotate(f" {bar.value:.2f}", (bar.value, row), va="center", fontsize="small")
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize="small")
    axes.invert_yaxis()
    axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)


def _write_tables(download: dict[str, Any]) -> None:
    """Write the figures as tables, for whoever reads rather than looks."""
    machine = download["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['date']}; medians of at most {download['rounds']} rounds in turns. Goals: speed "
        f"at least 1.0 of the fastest other, CPU at most 1.1 of the leanest, {MIB} MiB. In bold: "
        "not reached.",
        "",
        *_ratios(),
        "",
        *_out_of_race(download),
        "",
        *_figures(download),
    ]
    (FOLDER / "download.md").write_text("\n".join(lines) + "\n")


def _ratios() -> Iterator[str]:
    yield "| case | speed | of | CPU | of | peak MiB |"
    yield "|---|---|---|---|---|---|"
    for title, one in _races():
        if "throughput_ratio" not in one:
            yield f"| {title} | | | | | |"
            continue
        speed = _marked(f"{one['throughput_ratio']:.2f}", one["throughput_ratio"] >= 1)
        price = _marked(f"{one['cpu_ratio']:.2f}", one["cpu_ratio"] <= 1.1)
        peak = _marked(str(one["peak_mib"]), one["peak_mib"] <= MIB)
        others = one["fastest_other"], one["leanest_other"]
        yield f"| {title} | {speed} | {others[0]} | {price} | {others[1]} | {peak} |"


def _marked(text: str, is_good: bool) -> str:
    return text if is_good else f"**{text}**"


def _out_of_race(download: dict[str, Any]) -> Iterator[str]:
    yield "| case | out of the race | because it |"
    yield "|---|---|---|"
    for case in download["cases"].values():
        for name, why in case["failed"].items():
            yield f"| {case['title']} | {name} | {why} |"


def _figures(download: dict[str, Any]) -> Iterator[str]:
    yield "| case | client | MB/s | s, median | s, least | CPU s per GB | peak MiB | rounds |"
    yield "|---|---|---|---|---|---|---|---|"
    for case in download["cases"].values():
        for name, one in case["clients"].items():
            times = f"{one['wall_s']} | {one['wall_min_s']}"
            rest = f"{one['cpu_s_per_gb']} | {one['peak_mib']} | {one['rounds']}"
            yield f"| {case['title']} | {name} | {one['mb_per_s']} | {times} | {rest} |"


def main() -> None:
    """Draw and write what there is."""
    speeds, prices = list(_speeds()), list(_prices())
    rows = max(len(speeds), len(prices), 1)
    figure, panels = plt.subplots(1, 2, figsize=(15, 0.38 * rows + 1.2))
    _draw(panels[0], "speed as a ratio: more is better, the line is the goal", speeds)
    _draw(panels[1], "CPU and start as ratios: less is better", prices)
    figure.tight_layout()
    figure.savefig(FOLDER / "ratios.svg")
    if download := _load("download"):
        _write_tables(download)


if __name__ == "__main__":
    main()
