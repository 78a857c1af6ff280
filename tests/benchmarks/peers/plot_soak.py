"""soak.csv -> soak.png; apart because only the peers' environment has matplotlib."""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PANELS = (
    ("anonymous memory, MB", ("worker_mb", "children_mb")),
    ("file descriptors, threads", ("files", "threads")),
    ("connections, processes, outbox rows", ("connections", "processes", "outbox_rows")),
    ("latency, ms", ("latency_ms", "latency_p95_ms")),
    ("CPU ms a run", ("cpu_ms_a_run",)),
)


def main(source: str, target: str) -> None:
    with Path(source).open(newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    minutes = [float(row["minute"]) for row in rows]
    figure, axes = plt.subplots(len(PANELS), 1, figsize=(9, 2 * len(PANELS)), sharex=True, layout="constrained")
    for axis, (title, names) in zip(axes, PANELS, strict=True):
        for name in names:
            axis.plot(minutes, [float(row[name]) for row in rows], label=name, linewidth=1)
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, loc="lower right")
    axes[-1].set_xlabel("minutes")
    figure.savefig(target, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
