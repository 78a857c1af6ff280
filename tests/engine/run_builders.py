"""Runs for tests: a valid one, of which a test overrides what it is about."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from engine.deciders.chosen import ChosenStrategy
from engine.deciders.decider import Decider
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import Instrument, packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.search.figures import FIGURES
from engine.simulate import run_backtest
from engine.specification import Specification
from engine.strategy import Decision, Market, StrategyParams, View
from tests.engine.bar_builders import EPOCH

EURUSD = packaged_instruments()["EURUSD"]
_ROOT = Path(__file__).parents[2]


class NoParams(StrategyParams):
    """Nothing to set."""


def specification_of(bars: Bars, **changes: Any) -> Specification:
    """All of the bars, EURUSD, no costs, 1 lot, on a deposit of 10 000."""
    fields: dict[str, Any] = {
        "symbol": "EURUSD",
        "timeframe": bars.timeframe.name,
        "start": opened(bars, 0),
        "end": opened(bars, -1) + timedelta(microseconds=1),
        "strategy_key": "test",
        "strategy_params": {},
        "spread_pips": 0.0,
        "volume": 1.0,
    }
    return Specification(**{**fields, **changes})


def opened(bars: Bars, row: int) -> datetime:
    return EPOCH + timedelta(microseconds=int(bars.time_us[row]))


def backtest(
    bars: Bars,
    decider: Decider,
    *,
    instrument: Instrument = EURUSD,
    on_progress: Any = None,
    chunk_bars: int = 65_536,
    context: dict[str, Bars] | None = None,
    finer: Bars | None = None,
    **changes: Any,
) -> BacktestResult:
    specification = specification_of(bars, symbol=instrument.symbol, **changes)
    data = RunData(bars=bars, context=context or {}, finer=finer)
    return run_backtest(specification, instrument, data, decider, on_progress=on_progress, chunk_bars=chunk_bars)


def has_figures_of(found: dict[str, Any], alone: BacktestResult) -> bool:
    """Whether one of a search's results has the figures of a single run, to the last bit."""
    figures = alone.to_json_dict()
    return bool(found["metrics"] == {name: figures[name] for name in FIGURES})


def columns_of(decide: Callable[[Market], pl.DataFrame]) -> ChosenStrategy:
    """A column strategy of one function."""

    class Columns:
        def decide_all(self, market: Market) -> pl.DataFrame:
            return decide(market)

    return ChosenStrategy(lambda _params, _instrument: Columns(), NoParams())


def bar_by_bar(decide: Callable[[View], Decision | None]) -> ChosenStrategy:
    """A bar strategy of one function."""

    class ByBar:
        def decide(self, view: View) -> Decision | None:
            return decide(view)

    return ChosenStrategy(lambda _params, _instrument: ByBar(), NoParams())


def scripted(actions: Sequence[str | None], **columns: Sequence[float | None]) -> ChosenStrategy:
    """A column strategy that decides what the lists say, one entry a bar."""
    frame = pl.DataFrame(
        {
            "action": pl.Series(actions, dtype=pl.String),
            **{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()},
        }
    )
    return columns_of(lambda _: frame)


def sample(name: str, largest: int | None = None) -> Bars:
    """Real bars kept in the repository: eurusd_h1, gbpusd_h1, usdjpy_h1 or usdjpy_m1."""
    folder = _ROOT / "consumer" / "demo_data" if name == "eurusd_h1" else _ROOT / "tests" / "data"
    frame = pl.read_parquet(folder / f"{name}.parquet")
    return bars_from_frame(frame if largest is None else frame.head(largest), timeframe(name[-2:].upper()), name)


def sample_minutes_of_hours() -> Bars:
    """Minutes of usdjpy_m1, which are in UTC, by the clock of usdjpy_h1, which was an hour ahead then."""
    minutes = sample("usdjpy_m1")
    return Bars(minutes.timeframe, minutes.frame.with_columns(pl.col("time").dt.offset_by("1h")))
