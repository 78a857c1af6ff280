"""This engine behind the common worker: what a user's column strategy and `run_backtest` do, nothing special."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.indicators import actions, as_floats, sma_crosses
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.search import optimize
from engine.search.figures import column
from engine.search.parts import Shard
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, Specification
from engine.strategies.rules import Rules
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Market, StrategyParams
from engine.watch import OnProgress
from tests.benchmarks.engine.rules_by_hand import DOCUMENT, ByHand
from tests.benchmarks.peers.serve import Job, Trades, load, serve

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EURUSD = packaged_instruments()["EURUSD"]


def prepare(job: str, data: Path, options: dict[str, Any]) -> Job:
    bars = bars_of(load(data), options.get("timeframe", "M1"))
    match job:
        case "cross" | "context":
            return lambda: cross(bars, options)
        case "two_threads":
            return lambda: side_by_side(bars, options)
        case "search":
            return lambda: search(bars, options)
        case "rules" | "by_hand":
            chosen = choose_strategy(Rules, job, DOCUMENT) if job == "rules" else choose_strategy(ByHand, job, {})
            return lambda: run_backtest(_specification(bars, options), _EURUSD, RunData(bars=bars), chosen)
    raise ValueError(job)


class LongCross:
    """BUY on a cross above, CLOSE on a cross below; levels as fractions of the close; with H4, only while it rises."""

    class Params(StrategyParams):
        fast: int = Field(10, ge=1)
        slow: int = Field(30, ge=2)
        stop: float = Field(0.0, ge=0)
        target: float = Field(0.0, ge=0)
        h4: bool = False

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params

    def decide_all(self, market: Market) -> pl.DataFrame:
        close = as_floats(market.bars["close"])
        codes = sma_crosses(close, self._params.fast, self._params.slow)
        if self._params.h4:
            h4 = market.context["H4"]
            rising = (h4["close"] > h4["open"]).fill_null(value=False).to_numpy()
            codes = np.where((codes == 1) & ~rising, np.int8(0), codes)
        columns = [actions(codes, below="CLOSE")]
        shares = {"stop_loss": -self._params.stop, "take_profit": self._params.target}
        if any(shares.values()):
            rows = np.flatnonzero(codes == 1)
            columns += [_levels(name, close, rows, share) for name, share in shares.items() if share]
        return pl.DataFrame(columns)


def cross(bars: Bars, options: dict[str, Any], on_progress: OnProgress | None = None) -> Any:
    """One whole run: decisions, checks, fills, equity, every figure. Where bars stay ambiguous, both simulations."""
    specification = _specification(bars, options)
    strategy: ChosenStrategy
    if options.get("both_sides"):
        strategy = ChosenStrategy(SmaCross, SmaCross.Params(fast=options["fast"], slow=options["slow"]))
    else:
        params = LongCross.Params(
            fast=options["fast"],
            slow=options["slow"],
            stop=options.get("stop") or 0.0,
            target=options.get("target") or 0.0,
            h4=bool(options.get("h4")),
        )
        strategy = ChosenStrategy(LongCross, params)
    if options.get("progress"):
        on_progress = lambda _: True  # noqa: E731  # the cheapest answer: its price is that of being asked
    return run_backtest(specification, _EURUSD, RunData(bars=bars), strategy, on_progress=on_progress)


def search(bars: Bars, options: dict[str, Any]) -> list[Shard]:
    """Every pair of lengths, with all figures of each, its returns, and the statistics of all."""
    space = {name: options[name] for name in ("fast", "slow")}
    shards: list[Shard] = []
    optimize(
        _specification(bars, options),
        _EURUSD,
        RunData(bars=bars),
        LongCross,
        space,
        threads=options["threads"],
        on_shard=lambda _, shard: shards.append(shard),
    )
    return shards


def side_by_side(bars: Bars, options: dict[str, Any]) -> Any:
    """As many whole runs at once as there are threads; the engine lets go of the interpreter while it computes."""
    threads = [Thread(target=cross, args=(bars, options)) for _ in range(options["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return None


def _specification(bars: Bars, options: dict[str, Any]) -> Specification:
    return Specification(
        symbol="EURUSD",
        timeframe=bars.timeframe.name,
        start=_moment(bars, 0),
        end=_moment(bars, -1) + timedelta(microseconds=1),
        strategy_key="long_cross",
        strategy_params={},
        context_timeframes=("H4",) if options.get("h4") else (),
        initial_balance=1e6,
        spread_pips=0.0,
        volume=0.01,
        execution_mode=ExecutionMode.INTRA_CANDLE if options.get("stop") else ExecutionMode.CLOSE_PRICE,
    )


def bars_of(columns: dict[str, NDArray[Any]], name: str) -> Bars:
    frame = pl.DataFrame({"time": pl.Series(columns["time_us"]).cast(pl.Datetime("us", "UTC")), **_prices(columns)})
    return bars_from_frame(frame, timeframe(name), "benchmark")


def _prices(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: columns[name] for name in ("open", "high", "low", "close", "volume")}


def _levels(name: str, close: NDArray[np.float64], rows: NDArray[np.intp], share: float) -> pl.Series:
    levels = np.full(close.size, np.nan)
    levels[rows] = np.round(close[rows] * (1.0 + share), 9)
    return pl.Series(name, levels)


def _moment(bars: Bars, row: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(bars.time_us[row]))


def trades_of(result: Any) -> Trades:
    if isinstance(result, list):
        # A search: how many trades each combination made.
        shards = sorted(result, key=lambda shard: shard.part.first)
        return {"entry_bar": np.concatenate([column(shard.figures, "total_trades") for shard in shards])}
    trail = result.trail
    return {name: trail.column(name) for name in ("entry_bar", "exit_bar", "entry_price", "exit_price")}


if __name__ == "__main__":
    serve(prepare, trades_of)
