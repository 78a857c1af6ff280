"""The rows as a Markdown section of docs/performance.md, and as JSON for the plot."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.engine.programs import PEER_ENVIRONMENT, Timed
from tests.benchmarks.engine.rows import Row

BEGIN, END = "<!-- engine: written by make bench -->", "<!-- engine: end -->"


def section(rows: Sequence[Row], rounds: int) -> str:
    """Return the whole section: what it ran on, the table, and what the columns mean."""
    words = (
        f"{_machine()} Versions: {_versions()}. Medians of {rounds} alternating rounds in one run, quartiles in"
        " brackets, in milliseconds; ratio: their median over ours. Memory: high-water mark of a fresh process while it"
        " does the job once, and in brackets how far that is above its size before, MB."
    )
    lines = [
        BEGIN,
        words,
        "",
        "![Time over this engine's, and scaling](performance-engine.png)",
        "",
        "| job | bars | program | ms | ratio | trades | memory | asked for |",
        "|---|---:|---|---:|---:|---|---:|---|",
        *(line for row in rows for line in _lines(row)),
        END,
    ]
    return "\n".join(lines) + "\n"


def write_section(document: Path, text: str) -> None:
    """Put the section in the place of the last one; a document without one gets it at its end."""
    old = document.read_text() if document.exists() else "# Performance\n\n"
    before, begin, rest = old.partition(BEGIN)
    after = rest.partition(END)[2].lstrip("\n") if begin else ""
    document.write_text(before.rstrip("\n") + "\n\n" + text + after)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every round of every row."""
    return [asdict(row) for row in rows]


def _lines(row: Row) -> Iterator[str]:
    ours = row.timed[0]
    for number, each in enumerate(row.timed):
        job, bars, target = (row.name, f"{row.bars:,}", row.target) if number == 0 else ("", "", "")
        ratio = "" if number == 0 else f"{each.median / ours.median:.2f}"
        peak, rise = row.memory_mb.get(each.name, (None, None))
        memory = "" if peak is None else f"{peak:.0f} ({rise:.0f})"
        cells = (job, bars, each.name, _milliseconds(each), ratio, each.trades, memory, target)
        yield f"| {' | '.join(cells)} |"


def _milliseconds(timed: Timed) -> str:
    lower, upper = timed.spread
    return f"{timed.median * 1e3:.1f} ({lower * 1e3:.1f} to {upper * 1e3:.1f})"


def _machine() -> str:
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    load = os.getloadavg()[0]
    return f"Measured on {os.cpu_count()} cores ({model}), load {load:.1f} at the end."


def _versions() -> str:
    ours = [f"{name} {version(name)}" for name in ("backtest-consumer", "numba", "polars", "numpy")]
    metadata = PEER_ENVIRONMENT.glob("lib/python*/site-packages/*.dist-info")
    peers = [folder.name.removesuffix(".dist-info").replace("-", " ") for folder in metadata]
    return ", ".join([*ours, *sorted(name for name in peers if name.startswith(("vectorbt", "raptorbt")))])
