"""vectorbt with its Rust engine behind the common worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from serve import Job, Trades, load, serve

# Its caches stay on: they belong to one portfolio, which asks several figures of one equity; each run makes a new one.
vbt.settings["engine"] = "rust"


def prepare(job: str, data: Path, options: dict[str, Any]) -> Job:
    columns = load(data)
    # Without a time zone, in which its checks of the index would take most of the time.
    index = pd.to_datetime(columns.pop("time_us"), unit="us")
    bars = pd.DataFrame(columns, index=index)
    match job:
        case "cross":
            return lambda: cross(bars, options)
        case "search":
            return lambda: search(bars, options["pairs"])
        case "context":
            return lambda: context(bars, options)
    raise ValueError(job)


def cross(bars: Any, options: dict[str, Any]) -> Any:
    """SMA from a column, crossings, fills; and, unless "figures" is false, the figures that other programs compute."""
    entries, exits = crossings(bars["close"], options)
    return simulate(bars, entries, exits, options)


def search(bars: Any, pairs: list[list[int]]) -> Any:
    """Every pair of lengths as a column of one portfolio; averages that several pairs share are made once."""
    fast, slow = (vbt.MA.run(bars["close"], list(lengths)) for lengths in zip(*pairs, strict=True))
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    portfolio = vbt.Portfolio.from_signals(
        bars["close"], _plain(entries), _plain(exits), size=1000.0, init_cash=1e6, fees=0.0, freq="1min"
    )
    portfolio.figures = _figures(portfolio)
    return portfolio


def _plain(signals: Any) -> Any:
    """Columns by number: their labels, two levels of lengths, mean nothing to the portfolio."""
    signals.columns = range(signals.shape[1])
    return signals


def context(bars: Any, options: dict[str, Any]) -> Any:
    """Entries only while the last H4 bar that has closed rose. A bar at t closes with the minute before t + 4 h."""
    entries, exits = crossings(bars["close"], options)
    h4 = bars["close"].resample("4h").last().gt(bars["open"].resample("4h").first())
    h4.index = h4.index + pd.Timedelta("4h") - pd.Timedelta("1min")
    rising = h4.reindex(bars.index, method="ffill").fillna(value=False).astype(bool)
    return simulate(bars, entries & rising, exits, options)


def crossings(close: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    fast, slow = vbt.MA.run(close, options["fast"]), vbt.MA.run(close, options["slow"])
    return fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)


def simulate(bars: Any, entries: Any, exits: Any, options: dict[str, Any]) -> Any:
    stops: dict[str, Any] = {}
    if options.get("stop"):
        prices = {name: bars[name] for name in ("open", "high", "low")}
        stops = {
            "sl_stop": options["stop"],
            "tp_stop": options.get("target"),
            "stop_exit_price": "stopmarket",
            **prices,
        }
    shorts = {"short_entries": exits, "short_exits": entries} if options.get("both_sides") else {}
    portfolio = vbt.Portfolio.from_signals(
        bars["close"], entries, exits, size=1000.0, init_cash=1e6, fees=0.0, freq="1min", **shorts, **stops
    )
    if options.get("figures", True):
        portfolio.figures = _figures(portfolio)
    return portfolio


def _figures(portfolio: Any) -> list[Any]:
    trades = portfolio.trades
    figures = (portfolio.total_return, portfolio.sharpe_ratio, portfolio.sortino_ratio, portfolio.max_drawdown)
    return [each() for each in (*figures, trades.win_rate, trades.profit_factor, trades.expectancy, trades.count)]


def trades_of(portfolio: Any) -> Trades:
    if portfolio.wrapper.ndim == 2:
        # A search: how many trades each combination made.
        return {"entry_bar": portfolio.trades.count().to_numpy()}
    records = portfolio.trades.records
    return {
        "entry_bar": records["entry_idx"].to_numpy(),
        "exit_bar": records["exit_idx"].to_numpy(),
        "entry_price": records["entry_price"].to_numpy(),
        "exit_price": records["exit_price"].to_numpy(),
    }


if __name__ == "__main__":
    np.seterr(all="ignore")
    serve(prepare, trades_of)
