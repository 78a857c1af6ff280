"""The same decisions on the same bars in this engine, and trades in one shape, to be held against another program's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from engine.deciders.chosen import ChosenStrategy
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
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
    """One entry a bar. action: BUY, SELL, CLOSE or None; levels absolute, NaN for none."""

    action: list[str | None]
    stop: np.ndarray
    target: np.ndarray


def crossings(frame: pd.DataFrame, fast: int, slow: int, *, stop: float = 0.0, target: float = 0.0) -> Decisions:
    """Both sides of a cross of averages, levels as shares of the deciding close; computed once, here, for everybody."""
    close = frame["Close"].to_numpy()
    above = np.sign(_average(close, fast) - _average(close, slow))
    turned = np.append(False, (above[1:] * above[:-1] < 0))
    side = np.where(turned, above, 0.0)
    action: list[str | None] = [{1.0: "BUY", -1.0: "SELL"}.get(each) for each in side]
    nothing = np.full(close.size, np.nan)
    levels = [np.round(close * (1 + side * share), 9) if share else nothing for share in (-stop, target)]
    return Decisions(action, *(np.where(side == 0, np.nan, each) for each in levels))


def ours(
    frame: pd.DataFrame, decisions: Decisions, mode: ExecutionMode, name: str, instrument: Instrument
) -> list[Trade]:
    """Trades of this engine, without spread and costs; partial rows do not occur with one target."""
    bars = bars_of(frame, name)
    columns = pl.DataFrame(
        {
            "action": pl.Series(decisions.action, dtype=pl.String),
            "stop_loss": pl.Series(decisions.stop).fill_nan(None),
            "take_profit": pl.Series(decisions.target).fill_nan(None),
        }
    )

    class Scripted:
        def decide_all(self, market: Market) -> pl.DataFrame:
            return columns

    specification = Specification(
        symbol=instrument.symbol,
        timeframe=name,
        start=_moment(bars, 0),
        end=_moment(bars, -1) + timedelta(microseconds=1),
        strategy_key="scripted",
        strategy_params={},
        initial_balance=DEPOSIT,
        spread_pips=0.0,
        volume=1.0,
        execution_mode=mode,
    )
    decider = ChosenStrategy(lambda _params, _instrument: Scripted(), StrategyParams())
    trail = run_backtest(specification, instrument, RunData(bars=bars), decider).trail
    names = ("direction", "entry_bar", "exit_bar", "entry_price", "exit_price")
    return [
        Trade("BUY" if side > 0 else "SELL", int(entry), int(leaving), round(bought, 9), round(sold, 9))
        for side, entry, leaving, bought, sold in zip(*(trail.column(each).tolist() for each in names), strict=True)
    ]


def bars_of(frame: pd.DataFrame, name: str) -> Bars:
    times = pl.Series("time", frame.index.to_numpy().astype("datetime64[us]")).cast(pl.Datetime("us", "UTC"))
    prices = {column.lower(): frame[column].to_numpy(dtype=float) for column in ("Open", "High", "Low", "Close")}
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
