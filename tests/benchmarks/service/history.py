"""A small run anywhere in ten years of minutes, beside the same in a store that holds its own bars and warm-up only.

What lies before a run must cost it nothing. Each side is a fresh process with the engine that a worker's child has, and
runs over the same windows, each of them once; sides alternate.

python -m tests.benchmarks.service.history --rounds 3 --runs 60
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import polars as pl

from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.ports import EngineTask
from consumer.ports.outcomes import Completed
from consumer.preparation.snapshot import specification_to_json
from consumer.wiring.engine_program import open_engine
from engine.specification import Specification
from tests.benchmarks.service.market import random_windows, store, write_minutes
from tests.benchmarks.service.report import table

FIRST_YEAR, LAST_YEAR = 2008, 2017
RUN_BARS, WARM_UP_BARS = 2000, 1360
"""A run, and what sma_cross over 8 and 34 bars asks for before it: 40 times its longest length."""
TEN_YEARS, OWN_BARS = "ten years stored", "own bars stored"
TARGET = 1.2


@dataclass(frozen=True, slots=True)
class Side:
    """One process. cpu_ms: of each run, in order. megabytes: its high-water mark."""

    name: str
    cpu_ms: tuple[float, ...]
    megabytes: float
    trades: int


def measure_history(directory: Path, rounds: int, runs: int) -> list[Side]:
    """Write both kinds of store below a directory, and measure each side in every round."""
    write_minutes(directory / TEN_YEARS, FIRST_YEAR, LAST_YEAR)
    bars = pl.read_parquet(directory / TEN_YEARS / "EURUSD" / "M1" / "*.parquet").sort("time")
    windows = list(islice(random_windows(bars["time"], RUN_BARS, WARM_UP_BARS), runs))
    for number, window in enumerate(windows):
        _write_own(directory / OWN_BARS / str(number), bars, window)
    (directory / "windows.json").write_text(json.dumps(windows))
    sides = (TEN_YEARS, OWN_BARS)
    found = []
    for number in range(rounds):
        for name in sides if number % 2 == 0 else reversed(sides):
            command = (sys.executable, "-m", "tests.benchmarks.service.history", "--side", name, str(directory))
            told = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append(Side(**json.loads(told.stdout)))
    if len({side.trades for side in found}) != 1:
        raise AssertionError(f"the sides do not trade alike: {[(side.name, side.trades) for side in found]}")
    return found


def summary(sides: Sequence[Side]) -> str:
    """A Markdown table of medians, and how far one side is above the other, in words."""

    def middle(name: str) -> tuple[float, float]:
        own = [side for side in sides if side.name == name]
        cpu = statistics.median(value for side in own for value in side.cpu_ms)
        return cpu, statistics.median(side.megabytes for side in own)

    rows = [(name, *(f"{value:.2f}" for value in middle(name))) for name in (OWN_BARS, TEN_YEARS)]
    (ten_cpu, ten_mb), (own_cpu, own_mb) = middle(TEN_YEARS), middle(OWN_BARS)
    return (
        f"{table(('market data', 'CPU ms a run', 'memory MB'), rows)}\n\n"
        f"{ten_cpu / own_cpu:.2f} times the CPU and {ten_mb / own_mb:.2f} times the memory (asked: at most {TARGET})."
    )


def _write_own(root: Path, bars: pl.DataFrame, window: dict[str, str]) -> None:
    start, end = (datetime.fromisoformat(window[name]) for name in ("start_date", "end_date"))
    first, behind = (bars["time"].search_sorted(moment) for moment in (start, end))
    store(root, "M1", bars.slice(first - WARM_UP_BARS, behind - first + WARM_UP_BARS))


# ------------------------------------------------------------------------------------------- in a process of its own


def run_side(name: str, directory: Path) -> Side:
    windows: list[dict[str, str]] = json.loads((directory / "windows.json").read_text())
    roots = [directory / name / ("" if name == TEN_YEARS else str(number)) for number in range(len(windows))]
    engines = {root: open_engine(_settings(root, directory / "artifacts" / name)) for root in dict.fromkeys(roots)}
    cpu_ms, trades = [], 0
    for number, (root, window) in enumerate(zip(roots, windows, strict=True)):
        specification = Specification(
            symbol="EURUSD",
            timeframe="M1",
            start=datetime.fromisoformat(window["start_date"]),
            end=datetime.fromisoformat(window["end_date"]),
            strategy_key="sma_cross",
            strategy_params={"fast": 8, "slow": 34},
        )
        task = EngineTask(number + 1, 1, specification_to_json(specification))
        started = time.process_time()
        completed = engines[root](task, _Nobody())
        cpu_ms.append(1000 * (time.process_time() - started))
        assert isinstance(completed, Completed)
        trades += completed.trade_count
    return Side(name, tuple(cpu_ms), _high_water_mb(), trades)


def _high_water_mb() -> float:
    """Of this program alone: what the system's usage counts begins with its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _settings(root: Path, artifacts: Path) -> EngineProcessSettings:
    return EngineProcessSettings(slots=1, market_data_url=str(root), artifacts_url=str(artifacts))


class _Nobody:
    """Listens to no progress and never cancels."""

    def report(self, bars_done: int, bars_total: int, simulated_time_us: int, equity: float, trades: int) -> None:
        pass

    def pause(self, seconds: float) -> None:
        raise TimeoutError("a store is away")

    def ask(self, questions: object) -> tuple[str | None, ...]:
        raise NotImplementedError("no run here asks a model")

    def mark(self, number: int) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--side", nargs=2, metavar=("NAME", "DIRECTORY"), help="one side, in this process")
    options = parser.parse_args()
    if options.side:
        side = run_side(options.side[0], Path(options.side[1]))
        print(
            json.dumps({"name": side.name, "cpu_ms": side.cpu_ms, "megabytes": side.megabytes, "trades": side.trades})
        )
        return
    directory = Path(tempfile.mkdtemp(prefix="bench-history-"))
    try:
        print(summary(measure_history(directory, options.rounds, options.runs)))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
