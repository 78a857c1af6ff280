"""Measure the engine: `make bench`, or python -m tests.benchmarks.engine --scale 20 --rounds 3 --only cross stops."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.engine.programs import PEER_ENVIRONMENT, PEERS, ROOT
from tests.benchmarks.engine.report import as_json, section, write_section
from tests.benchmarks.engine.rows import Plan, Row, all_rows

DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance-engine.png"


def main() -> None:
    """Measure, print the table, and with --write put it and the plot into docs/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--scale", type=int, default=1, help="divides the numbers of bars, to try it out")
    parser.add_argument("--only", nargs="*", default=[], help="groups of rows; default: all")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and the plot")
    asked = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="backtest-bench-") as folder:
        groups = all_rows(Plan(Path(folder), asked.rounds, asked.scale))
        unknown = set(asked.only) - set(groups)
        if unknown:
            parser.error(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(groups)}")
        for name in asked.only or groups:
            print(f"measuring {name}", file=sys.stderr)
            rows += groups[name]()
        text = section(rows, asked.rounds)
        print(text)
        if asked.write:
            write_section(DOCUMENT, text)
            measured = Path(folder) / "rows.json"
            measured.write_text(json.dumps(as_json(rows)))
            plotter = [PEER_ENVIRONMENT / "bin" / "python", PEERS / "plot_engine.py", measured, PLOT]
            subprocess.run(plotter, check=True)


if __name__ == "__main__":
    main()
