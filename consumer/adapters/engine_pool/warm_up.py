"""The first simulation of an engine child, of bars made up for it: what numba compiles and modules load, loads here."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from consumer.adapters.engine_pool.trade_rows import trades_csv
from engine.deciders.chosen import choose_strategy
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, Specification
from engine.strategies.sma_cross import SmaCross

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def warm_up() -> None:
    """Simulate a little in every mode, so that the first run finds everything compiled and loaded; at last with
    slippage, for which the fill loop is another one.
    """
    bars = _some_bars(400)
    for mode, slippage_pips in (*((mode, 0.0) for mode in ExecutionMode), (ExecutionMode.CLOSE_PRICE, 0.1)):
        specification = Specification(
            symbol="EURUSD",
            timeframe="H1",
            start=_EPOCH,
            end=_EPOCH + timedelta(days=365),
            strategy_key="sma_cross",
            strategy_params={},
            execution_mode=mode,
            stop_loss_pips=20.0,
            take_profit_pips=30.0,
            slippage_pips=slippage_pips,
        )
        strategy = choose_strategy(SmaCross, "sma_cross", {"fast": 3, "slow": 8})
        instrument = packaged_instruments()["EURUSD"]
        result = run_backtest(specification, instrument, RunData(bars=bars), strategy, on_progress=lambda _: None)
        trades_csv(1, result)
        result.recorded_trades  # noqa: B018  # made when it is asked for


def warm_up_search() -> None:
    """The same for a search: what it measures by, shares, and judges with."""
    from engine.search import optimize  # late: a run needs none of it

    bars = _some_bars(3_000)
    specification = Specification(
        symbol="EURUSD",
        timeframe="H1",
        start=_EPOCH,
        end=_EPOCH + timedelta(days=365),
        strategy_key="sma_cross",
        strategy_params={},
    )
    space = {"fast": [3, 4], "slow": [8, 9]}
    optimize(specification, packaged_instruments()["EURUSD"], RunData(bars=bars), SmaCross, space, threads=1)


def _some_bars(count: int) -> Bars:
    """Hourly bars that rise and fall, so that there are trades."""
    close = 1.1 + 0.01 * np.sin(np.arange(count) / 7.0)
    frame = pl.DataFrame(
        {
            "time": pl.datetime_range(
                _EPOCH, _EPOCH + timedelta(hours=count - 1), "1h", time_unit="us", time_zone="UTC", eager=True
            ),
            "open": close,
            "high": close + 0.001,
            "low": close - 0.001,
            "close": close,
            "volume": np.zeros(count),
        }
    )
    return bars_from_frame(frame, timeframe("H1"), "warm-up")
