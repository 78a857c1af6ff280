"""The same decisions on the same bars in this engine, and trades in one shape, to be held against another program's."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from engine.deciders.chosen import ChosenStrategy
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, Specification
from engine.strategy import Market, StrategyParams

ROOT = Path(__file__).parents[2]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEPOSIT = 1e8
"""So much that no program has to refuse an order for want of cash."""


@dataclass(frozen=True)
class Trade:
    """One closed trade; bars counted from 0. price: to 1e-9."""

    side: str
    entry_bar: int
    exit_bar: int
    entry_price: float
    exit_price: float


@dataclass(frozen=True)
class Decisions:
    """One entry a bar. action: BUY, SELL, CLOSE or None; levels absolute, NaN for none.

    order: of every decision to open: market, limit or stop; the latter two wait at `price` for at most `expires` bars.
    trail: distance at which the stop follows, NaN for none.
    """

    action: list[str | None]
    stop: np.ndarray
    target: np.ndarray
    order: str = "market"
    price: np.ndarray | None = None
    expires: int | None = None
    trail: np.ndarray | None = None

    def without(self, rows: set[int]) -> "Decisions":
        return replace(self, action=[None if row in rows else each for row, each in enumerate(self.action)])

    def only(self, row: int, part: slice) -> "Decisions":
        """That of one row, on a part of the bars."""
        kept = self.without(set(range(len(self.action))) - {row})
        levels = {each: getattr(kept, each) for each in ("stop", "target", "price", "trail")}
        cut = {each: None if column is None else column[part] for each, column in levels.items()}
        return replace(kept, action=kept.action[part], **cut)

    def row_of(self, trade: Trade) -> int:
        """Of the decision that opened a trade after its own bar: the newest there was, since a new one replaces."""
        return next(row for row in range(trade.entry_bar - 1, -1, -1) if self.action[row] is not None)


def crossings(
    frame: pd.DataFrame,
    fast: int,
    slow: int,
    *,
    stop: float = 0.0,
    target: float = 0.0,
    trail: float = 0.0,
    order: str = "market",
    away: float = 0.0,
    expires: int | None = None,
) -> Decisions:
    """Both sides of a cross of averages; computed once, here, for everybody.

    away: of an order's price from the deciding close. It, the levels (of the price, where there is one) and the trail
    are shares.
    """
    close = frame["Close"].to_numpy()
    above = np.sign(_average(close, fast) - _average(close, slow))
    turned = np.append(False, (above[1:] * above[:-1] < 0))
    side = np.where(turned, above, 0.0)
    action: list[str | None] = [{1.0: "BUY", -1.0: "SELL"}.get(each) for each in side]

    def where_decided(values: np.ndarray, share: float) -> np.ndarray:
        return np.where((side == 0) | (share == 0), np.nan, np.round(values, 9))

    # A BUY limit and a SELL stop wait for a lower price.
    price = np.round(close * (1 + side * (away if order == "stop" else -away)), 9)
    return Decisions(
        action,
        where_decided(price * (1 - side * stop), stop),
        where_decided(price * (1 + side * target), target),
        order,
        where_decided(price, away) if order != "market" else None,
        expires,
        where_decided(price * trail, trail) if trail else None,
    )


def ours(
    frame: pd.DataFrame, decisions: Decisions, mode: ExecutionMode, name: str, instrument: Instrument
) -> list[Trade]:
    """Trades of this engine, without spread and costs; partial rows do not occur with one target."""
    return trades_of(simulated(frame, decisions, mode, name, instrument))


def simulated(
    frame: pd.DataFrame, decisions: Decisions, mode: ExecutionMode, name: str, instrument: Instrument, **account: Any
) -> BacktestResult:
    """One lot a trade, without spread; account: other fields of the specification."""
    bars = bars_of(frame, name)
    columns = {
        "action": pl.Series(decisions.action, dtype=pl.String),
        "stop_loss": pl.Series(decisions.stop).fill_nan(None),
        "take_profit": pl.Series(decisions.target).fill_nan(None),
    }
    if decisions.trail is not None:
        columns["trailing_stop"] = pl.Series(decisions.trail).fill_nan(None)
    if decisions.price is not None:
        waits = columns["action"].is_not_null()
        columns["order"] = pl.select(pl.when(waits).then(pl.lit(decisions.order))).to_series()
        columns["price"] = pl.Series(decisions.price).fill_nan(None)
        columns["expires_bars"] = pl.select(pl.when(waits).then(pl.lit(decisions.expires, pl.Int64))).to_series()

    class Scripted:
        def decide_all(self, market: Market) -> pl.DataFrame:
            return pl.DataFrame(columns)

    asked: dict[str, Any] = {
        "symbol": instrument.symbol,
        "timeframe": name,
        "start": _moment(bars, 0),
        "end": _moment(bars, -1) + timedelta(microseconds=1),
        "strategy_key": "scripted",
        "strategy_params": {},
        "initial_balance": DEPOSIT,
        "spread_pips": 0.0,
        "volume": 1.0,
        "execution_mode": mode,
    }
    decider = ChosenStrategy(lambda _params, _instrument: Scripted(), StrategyParams())
    return run_backtest(Specification(**asked | account), instrument, RunData(bars=bars), decider)


def trades_of(result: BacktestResult) -> list[Trade]:
    names = ("direction", "entry_bar", "exit_bar", "entry_price", "exit_price")
    return [
        Trade("BUY" if side > 0 else "SELL", int(entry), int(leaving), round(bought, 9), round(sold, 9))
        for side, entry, leaving, bought, sold in zip(
            *(result.trail.column(each).tolist() for each in names), strict=True
        )
    ]


def bars_of(frame: pd.DataFrame, name: str) -> Bars:
    times = pl.Series("time", frame.index.to_numpy().astype("datetime64[us]")).cast(pl.Datetime("us", "UTC"))
    there = ("Open", "High", "Low", "Close", *(["Spread"] if "Spread" in frame.columns else []))
    prices = {column.lower(): frame[column].to_numpy(dtype=float) for column in there}
    return bars_from_frame(pl.DataFrame({"time": times, **prices}), timeframe(name), "conformance")


def sample(name: str) -> pd.DataFrame:
    """Bars kept in the repository, in the columns of backtesting.py."""
    folder = ROOT / "consumer" / "demo_data" if name == "eurusd_h1" else ROOT / "tests" / "data"
    columns = pl.read_parquet(folder / f"{name}.parquet").to_dict(as_series=False)
    index = pd.DatetimeIndex(columns.pop("time")).tz_localize(None)
    return pd.DataFrame({each.capitalize(): values for each, values in columns.items()}, index=index)


def share(symbol: str) -> Instrument:
    """Something bought and sold by the piece in USD."""
    return Instrument(
        symbol=symbol, base=symbol, quote="USD", pip=0.01, contract=1.0, digits=2, lot_step=1.0, session="always"
    )


def fx(symbol: str) -> Instrument:
    return packaged_instruments()[symbol]


def _average(values: np.ndarray, length: int) -> np.ndarray:
    return pd.Series(values).rolling(length).mean().to_numpy()


def _moment(bars: Bars, row: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(bars.time_us[row]))
