"""Draw docs/performance-engine.png from the rows as JSON: python plot_engine.py rows.json plot.png."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

COLOURS = {"this engine": "#1b7f5c", "raptorbt": "#d98324", "vectorbt": "#4c6fb1", "vectorbt, fills only": "#9db4dc"}


def main() -> None:
    rows: list[dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text())
    compared = [row for row in rows if {each["name"] for each in row["timed"]} & set(COLOURS) - {"this engine"}]
    jobs = [row for row in compared if row["name"] != "whole fresh process" and row["bars"] in _main_sizes(compared)]
    scaling = sorted((row for row in compared if row["name"].startswith("SMA cross")), key=lambda row: row["bars"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    _bars(left, jobs)
    _scaling(right, scaling)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    figure.legend(handles, COLOURS, fontsize=8, loc="outside lower center", ncols=len(COLOURS))
    figure.savefig(sys.argv[2], dpi=80)


def _main_sizes(rows: list[dict[str, Any]]) -> set[int]:
    return {row["bars"] for row in rows if row["target"]}


def _bars(axes: Any, jobs: list[dict[str, Any]]) -> None:
    """How many times longer than this engine each program takes; a line at 1 is this engine."""
    seen: dict[tuple[str, int], dict[str, Any]] = {}
    for row in jobs:
        if row["target"]:
            seen.setdefault((row["name"], row["bars"]), row)
    labels = []
    for place, row in enumerate(seen.values()):
        ours = _median(row["timed"][0])
        others = row["timed"][1:]
        height = 0.8 / max(1, len(others))
        labels.append(f"{row['name']}, {_short(row['bars'])}")
        for index, each in enumerate(others):
            ratio = _median(each) / ours
            where = place + (index - (len(others) - 1) / 2) * height
            axes.barh(where, ratio, height * 0.9, color=COLOURS.get(each["name"], "grey"))
            axes.text(ratio, where, f" {ratio:.2g}", va="center", fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color=COLOURS["this engine"], linewidth=2)
    axes.set_title("time over this engine's (green line: 1)", fontsize=9)


def _scaling(axes: Any, rows: list[dict[str, Any]]) -> None:
    points: dict[str, dict[int, float]] = {}
    for row in rows:
        for each in row["timed"]:
            points.setdefault(each["name"], {})[row["bars"]] = _median(each)
    for name, by_bars in points.items():
        axes.plot(list(by_bars), list(by_bars.values()), marker="o", color=COLOURS.get(name, "grey"), label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("bars", fontsize=8)
    axes.set_title("SMA cross, seconds", fontsize=9)
    axes.grid(visible=True, alpha=0.3)


def _median(timed: dict[str, Any]) -> float:
    seconds = sorted(timed["seconds"])
    middle = len(seconds) // 2
    return seconds[middle] if len(seconds) % 2 else (seconds[middle - 1] + seconds[middle]) / 2


def _short(bars: int) -> str:
    return f"{bars / 1e6:g} M" if bars >= 1_000_000 else f"{bars / 1e3:g} k"


if __name__ == "__main__":
    main()
