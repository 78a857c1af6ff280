"""What must hold on real bars, recomputed here from the trades alone, on every sample in the repository.

test_simulate.py has the same kind of claims on EURUSD and GBPUSD without costs; here are all samples, with everything
that books money at once: spread, commission, swap, partial closes, finer bars and profit in yen.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from consumer.adapters.files.bars import read_bars
from engine.deciders.chosen import ChosenStrategy
from engine.market.bars import Bars
from engine.market.instruments import Instrument, packaged_instruments
from engine.results.result import BacktestResult
from engine.specification import ExecutionMode, OnOpposite
from engine.strategy import Instrument as StrategyInstrument
from engine.strategy import Market, StrategyParams
from tests.engine.run_builders import backtest, opened, sample, sample_minutes_of_hours

SAMPLES = ("eurusd_h1", "gbpusd_h1", "usdjpy_h1", "usdjpy_m1")
LARGEST = 6000
DEPOSIT = 1e6


class TwoTargets:
    """Buys and sells breaks of a day's range, with a stop and two targets at the size of that range."""

    class Params(StrategyParams):
        length: int = 24

    def __init__(self, params: Params, instrument: StrategyInstrument) -> None:
        self._length = params.length

    def decide_all(self, market: Market) -> pl.DataFrame:
        top = pl.col("high").rolling_max(self._length).shift(1)
        bottom = pl.col("low").rolling_min(self._length).shift(1)
        up, down = pl.col("close") > top, pl.col("close") < bottom
        side = pl.when(up).then(1.0).when(down).then(-1.0)
        reach = (top - bottom) * 0.6
        return market.bars.select(
            action=pl.when(up).then(pl.lit("BUY")).when(down).then(pl.lit("SELL")),
            stop_loss=pl.col("close") - side * reach,
            take_profit=pl.col("close") + side * reach * 0.5,
            take_profit_2=pl.col("close") + side * reach,
        )


BREAKS = ChosenStrategy(TwoTargets, TwoTargets.Params())


def instrument_of(name: str) -> Instrument:
    return replace(packaged_instruments()[name[:6].upper()], swap_long=-3.7, swap_short=1.2)


def run(name: str, bars: Bars | None = None, instrument: Instrument | None = None, **changes: Any) -> BacktestResult:
    """Every cost there is; USDJPY on H1 has the minutes of ten days to look into."""
    fields: dict[str, Any] = {
        "spread_pips": 1.3,
        "commission_per_lot": 7.0,
        "initial_balance": DEPOSIT,
        "tp_partial_close_ratio": 0.4,
        "volume": 1.0,
        "execution_mode": ExecutionMode.INTRA_CANDLE,
        "finer": sample_minutes_of_hours() if name == "usdjpy_h1" else None,
        **changes,
    }
    bars = sample(name, LARGEST) if bars is None else bars
    return backtest(bars, BREAKS, instrument=instrument or instrument_of(name), **fields)


@pytest.mark.parametrize("mode", ExecutionMode)
@pytest.mark.parametrize("name", SAMPLES)
def test_books_balance_at_every_bar(name: str, mode: ExecutionMode) -> None:
    """Equity at each close is the deposit, what exits have booked, and what open volume would bring at that close.

    Without swap, which is in the equity from the night that charges it and in the balance from the exit.
    """
    instrument = packaged_instruments()[name[:6].upper()]
    result = run(name, instrument=instrument, execution_mode=mode)
    bars = sample(name, LARGEST)
    ask = bars.close + 1.3 * instrument.pip
    to_usd = 1.0 / bars.close if instrument.quote == "JPY" else np.ones(bars.height)
    expected = np.full(bars.height, DEPOSIT)
    row_of = {time: row for row, time in enumerate(bars.frame["time"].to_list())}
    for trade in result.trades.iter_rows(named=True):
        entry, leaving = row_of[trade["entry_time"]], row_of[trade["exit_time"]]
        expected[leaving:] += trade["profit"]
        held = slice(entry, leaving)
        long = trade["direction"] == "BUY"
        moved = bars.close[held] - trade["entry_price"] if long else trade["entry_price"] - ask[held]
        floating = moved * trade["volume"] * instrument.contract * to_usd[held]
        expected[held] += floating - trade["commission"] / 2
    assert result.trades.height > 60
    assert set(result.trades["exit_reason"]) > {"take_profit", "stop_loss"}
    assert result.equity["equity"].to_numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_trade_row_pays_its_own_costs(name: str) -> None:
    """Profit is the move less commission, plus swap, at the rate of the exit; twice a position leaves in parts."""
    trades = run(name).trades
    instrument = instrument_of(name)
    side = np.where(trades["direction"].to_numpy() == "BUY", 1.0, -1.0)
    move = side * (trades["exit_price"] - trades["entry_price"]).to_numpy()
    gross = move * trades["volume"].to_numpy() * instrument.contract
    booked = (trades["profit"] + trades["commission"] - trades["swap"]).to_numpy()
    if instrument.quote == "USD":
        assert booked == pytest.approx(gross, abs=1e-6)
    else:
        rate = gross[gross != 0] / booked[gross != 0]
        bars = sample(name, LARGEST)
        assert rate.min() >= bars.low.min()
        assert rate.max() <= bars.high.max()
    assert trades["commission"].to_numpy() == pytest.approx(7.0 * trades["volume"].to_numpy(), abs=1e-7)
    assert trades.height > trades["position_id"].n_unique()
    if name != "usdjpy_m1":
        assert (trades["swap"] != 0).sum() > 10


@pytest.mark.parametrize("name", SAMPLES)
def test_scaling_the_volume_scales_each_row(name: str) -> None:
    one, five = run(name).trades, run(name, volume=5.0).trades
    for column in ("profit", "commission", "swap", "spread_cost", "volume"):
        assert five[column].to_numpy() == pytest.approx(5.0 * one[column].to_numpy(), abs=1e-6), column
    kept = [column for column in one.columns if column in ("entry_price", "exit_price", "exit_time", "exit_reason")]
    assert five.select(kept).equals(one.select(kept))


@pytest.mark.parametrize("mode", ExecutionMode)
@pytest.mark.parametrize("name", SAMPLES)
def test_chunk_size_changes_nothing(name: str, mode: ExecutionMode) -> None:
    whole = run(name, execution_mode=mode)
    for chunk_bars in (113, 4096):
        chunked = run(name, execution_mode=mode, chunk_bars=chunk_bars, on_progress=lambda _: True)
        assert chunked.result_digest == whole.result_digest
        assert chunked.equity.equals(whole.equity)
        assert chunked.metrics == whole.metrics
        assert chunked.net_profit_target_first == whole.net_profit_target_first


@pytest.mark.parametrize("mode", ExecutionMode)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_first_half_of_the_data_gives_the_first_half_of_the_trades(name: str, mode: ExecutionMode) -> None:
    bars = sample(name, LARGEST)
    half = bars.height // 2
    every = run(name, execution_mode=mode)
    first = run(name, bars.rows(0, half), execution_mode=mode)
    settled = first.trades.filter(pl.col("exit_time") < opened(bars, half - 1))
    assert settled.height > 20
    assert every.trades.head(settled.height).equals(settled)
    assert every.equity.head(half - 1).equals(first.equity.head(half - 1))


@pytest.mark.parametrize("name", SAMPLES)
def test_csv_and_parquet_of_a_sample_give_one_digest(name: str, tmp_path: Path) -> None:
    bars = sample(name, LARGEST)
    by_csv, by_parquet = tmp_path / "bars.csv", tmp_path / "bars.parquet"
    bars.frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S")).write_csv(by_csv)
    bars.frame.write_parquet(by_parquet)
    read = [read_bars(path, bars.timeframe, "UTC") for path in (by_csv, by_parquet)]
    assert [each.digest for each in read] == [bars.digest, bars.digest]
    digests = {run(name, each).result_digest for each in (*read, bars)}
    assert len(digests) == 1


def test_minutes_settle_bars_that_hours_leave_open() -> None:
    """Ten days of minutes in a year of hours: what they decide is ambiguous no more, and the interval closes up."""
    bars, minutes = sample("usdjpy_h1"), sample_minutes_of_hours()
    first, behind = bars.between(*(minutes.time_us[[0, -1]].tolist()))
    tight = ChosenStrategy(TwoTargets, TwoTargets.Params(length=2))

    def ambiguous(finer: Bars | None) -> BacktestResult:
        return backtest(
            bars.rows(0, behind),
            tight,
            instrument=instrument_of("usdjpy_h1"),
            execution_mode=ExecutionMode.INTRA_CANDLE,
            finer=finer,
            start=opened(bars, first),
            on_opposite=OnOpposite.IGNORE,
        )

    by_hours, by_minutes = ambiguous(None), ambiguous(minutes)
    assert by_hours.ambiguous_bars > by_minutes.ambiguous_bars
    assert by_hours.net_profit_stop_first <= by_minutes.net_profit <= by_hours.net_profit_target_first
