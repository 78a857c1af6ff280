"""MAE, MFE and R of trades: by hand where a bar is cut by a fill, and against a slow loop over random bars."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.market.bars import Bars
from engine.market.instruments import packaged_instruments
from engine.market.timeframes import timeframe
from engine.results.result import BacktestResult
from engine.specification import ExecutionMode
from tests.engine.bar_builders import bars_of, closes_bars, random_bars, utc
from tests.engine.run_builders import backtest, sample, scripted

START = utc("2024-01-08 00:00")


def hours(count: int) -> list[Any]:
    return [START.replace(hour=hour) for hour in range(count)]


def test_a_long_that_left_at_a_close_was_exposed_to_all_bars_after_its_entry() -> None:
    bars = bars_of(
        "H1",
        hours(4),
        open=[1.1, 1.1, 1.1, 1.1],
        high=[1.5, 1.104, 1.103, 1.9],
        low=[0.5, 1.098, 1.099, 0.1],
        close=[1.1, 1.1, 1.102, 1.1],
    )
    result = backtest(bars, scripted(["BUY", None, "CLOSE", None], stop_loss=[1.05] * 4), spread_pips=1.0)
    row = result.recorded_trades.row(0, named=True)
    assert (row["mae_price"], row["mfe_price"]) == (pytest.approx(0.0021), pytest.approx(0.0039))
    assert (row["mae"], row["mfe"]) == (pytest.approx(210.0), pytest.approx(390.0))
    assert row["r"] == pytest.approx(row["profit"] / ((1.1001 - 1.05) * 100_000))


def test_what_a_bar_did_before_the_entry_or_after_the_stop_is_not_counted() -> None:
    """The short's ask is what counts; the bar of the stop is known by its open and its fill alone."""
    bars = bars_of(
        "H1",
        hours(3),
        open=[1.1, 1.1, 1.098],
        high=[1.5, 1.101, 1.3],
        low=[0.9, 1.097, 0.2],
        close=[1.1, 1.098, 1.2],
    )
    decider = scripted(["SELL", None, None], stop_loss=[1.11] * 3)
    result = backtest(bars, decider, spread_pips=1.0, execution_mode=ExecutionMode.INTRA_CANDLE)
    row = result.recorded_trades.row(0, named=True)
    assert (row["exit_reason"], row["exit_at"]) == ("stop_loss", "level")
    assert row["mae_price"] == pytest.approx(0.01)
    assert row["mfe_price"] == pytest.approx(1.1 - 1.0971)
    assert row["r"] == pytest.approx(-1.0)


def test_a_position_without_a_stop_has_no_r() -> None:
    result = backtest(closes_bars("H1", START, [1.1, 1.2, 1.1]), scripted(["BUY", "CLOSE", None]))
    assert result.recorded_trades["r"].to_list() == [None]


def test_risk_is_converted_at_the_rate_of_the_entry_and_excursions_at_that_of_the_exit() -> None:
    bars = closes_bars("H1", START, [100.0, 110.0, 120.0])
    usdjpy = packaged_instruments()["USDJPY"]
    result = backtest(bars, scripted(["BUY", None, None], stop_loss=[90.0] * 3), instrument=usdjpy)
    row = result.recorded_trades.row(0, named=True)
    assert row["mfe"] == pytest.approx(20 * 100_000 / 120.0)
    assert row["r"] == pytest.approx(row["profit"] / (10 * 100_000 / 100.0))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bars=random_bars(timeframe("H1")), mode=st.sampled_from(list(ExecutionMode)))
def test_excursions_are_those_of_a_slow_loop_over_the_bars(
    data: st.DataObject, bars: Bars, mode: ExecutionMode
) -> None:
    count = bars.height
    actions = data.draw(st.lists(st.sampled_from(["BUY", "SELL", "CLOSE", None]), min_size=count, max_size=count))
    far = [0.002 * (1 if action == "SELL" else -1) for action in actions]
    stops = [float(close) + each for close, each in zip(bars.close, far, strict=True)]
    result = backtest(bars, scripted(actions, stop_loss=stops), spread_pips=0.7, execution_mode=mode)
    assert_as_in_a_slow_loop(result)


def test_excursions_of_real_trades_are_those_of_a_slow_loop() -> None:
    bars = sample("eurusd_h1", 3_000)
    actions = [["BUY", None, None, "SELL", None, "CLOSE", None][row % 7] for row in range(bars.height)]
    stops = [
        float(close) * (1.001 if action == "SELL" else 0.999) for close, action in zip(bars.close, actions, strict=True)
    ]
    for mode in ExecutionMode:
        result = backtest(bars, scripted(actions, stop_loss=stops), spread_pips=1.2, execution_mode=mode, volume=0.01)
        assert result.trades.height > 500
        assert_as_in_a_slow_loop(result)


def assert_as_in_a_slow_loop(result: BacktestResult) -> None:
    bars = [dict(row) for row in result.bars.frame.iter_rows(named=True)]
    place = {bar["time"]: number for number, bar in enumerate(bars)}
    spread = result.specification.spread_pips * result.instrument.pip
    for row in result.recorded_trades.iter_rows(named=True):
        side, entry = (1 if row["direction"] == "BUY" else -1), row["entry_price"]
        seen = [entry, row["exit_price"]]
        first, last = place[row["entry_time"]], place[row["exit_time"]]
        for number in range(first, last + 1):
            prices = dict(bars[number])
            from_open = number > first or row["entry_at"] == "open"
            to_close = number < last or row["exit_at"] == "close"
            if from_open and to_close:
                kept = ["open", "high", "low", "close"]
            elif from_open:
                kept = ["open"]
            elif to_close and row["entry_at"] == "level":
                kept = ["close"]
            else:
                kept = []
            seen += [prices[name] + (spread if side < 0 else 0.0) for name in kept]
        gains = [(price - entry) * side for price in seen]
        assert math.isclose(row["mae_price"], -min(gains), abs_tol=1e-9)
        assert math.isclose(row["mfe_price"], max(gains), abs_tol=1e-9)
        assert row["mae"] == pytest.approx(row["mae_price"] * row["volume"] * 100_000, abs=1e-4)
