"""raptorbt behind the common worker: long-only crosses, since one of its runs has one direction."""

from pathlib import Path
from typing import Any

import numpy as np
import raptorbt
from serve import Job, Trades, load, serve


def prepare(job: str, data: Path, options: dict[str, Any]) -> Job:
    columns = load(data)
    columns["time_ns"] = columns.pop("time_us") * 1000
    match job:
        case "cross":
            return lambda: cross(columns, options)
        case "search":
            return lambda: search(columns, options["pairs"])
    raise ValueError(job)


def cross(columns: dict[str, Any], options: dict[str, Any]) -> Any:
    """SMA from arrays, crossings, fills, equity and all its figures, which it computes in every run."""
    config = configuration(options)
    entries, exits = crossings(columns["close"], options["fast"], options["slow"])
    return raptorbt.run_single_backtest(*ohlcv(columns), entries, exits, config=config)


def search(columns: dict[str, Any], pairs: list[list[int]]) -> Any:
    """Every pair of lengths; averages that several pairs share are made once. RAYON_NUM_THREADS sets the threads."""
    close = columns["close"]
    averages = {length: raptorbt.sma(close, length) for length in {length for pair in pairs for length in pair}}
    items = []
    for fast, slow in pairs:
        entries, exits = crossings_of(averages[fast] - averages[slow])
        items.append(raptorbt.BatchSingleItem(f"{fast}/{slow}", entries, exits))
    results = raptorbt.batch_single_backtest(*ohlcv(columns), items, config=configuration({}))
    return [(name, result.metrics.total_trades, result.metrics.sharpe_ratio) for name, result in results]


def configuration(options: dict[str, Any]) -> Any:
    config = raptorbt.BacktestConfig(initial_capital=1e6, fees=0.0, fill_timing="same_bar_close")
    if options.get("stop"):
        config.set_fixed_stop(options["stop"])
    if options.get("target"):
        config.set_fixed_target(options["target"])
    return config


def crossings(close: Any, fast: int, slow: int) -> tuple[Any, Any]:
    return crossings_of(raptorbt.sma(close, fast) - raptorbt.sma(close, slow))


def crossings_of(difference: Any) -> tuple[Any, Any]:
    above, below = difference > 0, difference < 0
    entries, exits = np.zeros(above.size, bool), np.zeros(above.size, bool)
    entries[1:] = above[1:] & below[:-1]
    exits[1:] = below[1:] & above[:-1]
    return entries, exits


def ohlcv(columns: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(columns[name] for name in ("time_ns", "open", "high", "low", "close", "volume"))


def trades_of(result: Any) -> Trades:
    if isinstance(result, list):
        # A search: how many trades each combination made.
        return {"entry_bar": np.array([count for _, count, _ in result])}
    trades = result.trades()
    return {
        "entry_bar": np.array([trade.entry_idx for trade in trades]),
        "exit_bar": np.array([trade.exit_idx for trade in trades]),
        "entry_price": np.array([trade.entry_price for trade in trades]),
        "exit_price": np.array([trade.exit_price for trade in trades]),
    }


if __name__ == "__main__":
    serve(prepare, trades_of)
