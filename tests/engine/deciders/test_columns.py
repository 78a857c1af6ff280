"""A column strategy's market: contexts joined, and what is computed on a timeframe's own bars."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.errors import MissingContext, StrategyError
from engine.indicators import ema, macd, macd_hist, macd_signal, sma
from engine.market.bars import Bars
from engine.market.resampling import join_context, resample
from engine.market.timeframes import timeframe
from engine.strategy import Market, View
from tests.engine.run_builders import EURUSD, backtest, bar_by_bar, columns_of, opened, sample

BARS = sample("eurusd_h1", 600)
H4 = resample(BARS, timeframe("H4"), EURUSD)


def seen(look: Callable[[Market], Any], bars: Bars = BARS, **options: Any) -> Any:
    """Return what a strategy made of its market."""
    found: list[Any] = []

    def decide(market: Market) -> pl.DataFrame:
        found.append(look(market))
        return pl.DataFrame({"action": pl.Series([None] * market.bars.height, dtype=pl.String)})

    backtest(bars, columns_of(decide), **options)
    return found[0]


def test_an_average_of_a_longer_timeframe_counts_its_bars_and_not_the_rows_that_repeat_them() -> None:
    """ema(market.context["H4"]["close"], 50) averaged 50 rows of H1."""
    on_bars = seen(lambda market: market.on("H4", lambda bars: ema(bars["close"], 20)), context_timeframes=("H4",))
    joined = join_context(
        BARS, Bars(H4.timeframe, H4.frame.with_columns(close=ema(H4.frame["close"], 20)), H4.closes_us)
    )
    assert on_bars.equals(joined["close"], null_equal=True)
    over_rows = seen(lambda market: ema(market.context["H4"]["close"], 20), context_timeframes=("H4",))
    assert not on_bars.equals(over_rows, null_equal=True)
    assert (on_bars.len(), on_bars.name, on_bars.dtype) == (BARS.height, "ema", pl.Float64)


@pytest.mark.parametrize("named", [("H4",), ()])
def test_a_timeframe_that_the_run_was_not_given_is_resampled(named: tuple[str, ...]) -> None:
    frame = seen(lambda market: market.on("H4", lambda bars: bars["time"]), context_timeframes=named)
    assert frame.equals(join_context(BARS, H4)["time"], null_equal=True)


def test_stored_bars_of_a_context_are_what_is_computed_on() -> None:
    stored = Bars(H4.timeframe, H4.frame.with_columns(volume=pl.lit(7.0)), H4.closes_us)
    options: dict[str, Any] = {"context_timeframes": ("H4",), "context": {"H4": stored}}
    volumes = seen(lambda market: market.on("H4", lambda bars: bars["volume"]), **options)
    assert volumes.drop_nulls().unique().to_list() == [7.0]


def test_the_runs_own_timeframe_is_its_bars() -> None:
    own = seen(lambda market: market.on("H1", lambda bars: sma(bars["close"], 3)))
    assert own.equals(sma(BARS.frame["close"], 3), null_equal=True)


def test_columns_of_any_form_are_joined_and_a_tuple_gives_a_tuple() -> None:
    def look(market: Market) -> tuple[Any, ...]:
        array = market.on("H4", lambda bars: np.where(np.arange(bars.height) % 2, np.nan, 1.0))
        rising = market.on("H4", lambda bars: bars["close"] > bars["open"])
        lines = (macd, macd_signal, macd_hist)
        return array, rising, market.on("H4", lambda bars: tuple(line(bars["close"], 3, 6, 2) for line in lines))

    array, rising, lines = seen(look)
    assert set(array.to_list()) == {None, 1.0}
    assert rising.dtype == pl.Boolean
    assert [line.name for line in lines] == ["macd", "macd_signal", "macd_hist"]
    assert all(column.len() == BARS.height for column in (array, rising, *lines))


@pytest.mark.parametrize(
    ("name", "function", "says"),
    [
        ("H5", lambda bars: bars["close"], r"market.on\('H5'\): unknown timeframe 'H5'"),
        ("M30", lambda bars: bars["close"], r"market.on\('M30'\): M30 bars cannot be made of H1 bars"),
        ("H4", lambda bars: bars["close"].head(3), r"market.on\('H4'\): the function returned 3 values for \d+ bars"),
        ("H4", lambda bars: pl.col("close"), r"market.on\('H4'\): the function returned Expr for \d+ bars"),
        ("H4", lambda bars: bars, r"market.on\('H4'\): the function returned DataFrame for \d+ bars"),
    ],
)
def test_what_cannot_be_computed_fails_the_run_by_the_timeframes_name(
    name: str, function: Callable[[pl.DataFrame], Any], says: str
) -> None:
    with pytest.raises(StrategyError, match=says):
        seen(lambda market: market.on(name, function))


def test_a_missing_context_names_the_way_on() -> None:
    """It was KeyError: 'H4'."""
    with pytest.raises(StrategyError, match=r"no context timeframe 'H4': name it in .*market.on\('H4', function\)"):
        seen(lambda market: market.context["H4"])

    def look(view: View) -> None:
        view.context["H4"]

    with pytest.raises(MissingContext, match=r"^the run has no context timeframe 'H4'"):
        backtest(BARS, bar_by_bar(look))
    assert seen(lambda market: (market.context.get("H4"), "H4" in market.context)) == (None, False)


def test_a_market_made_by_hand_says_that_it_has_no_run() -> None:
    with pytest.raises(StrategyError, match="made without a run"):
        Market(BARS.frame, {}).on("H4", lambda bars: bars["close"])


def test_a_value_of_a_longer_bar_is_not_seen_before_its_close() -> None:
    closes = seen(lambda market: market.on("H4", lambda bars: bars["close"]), start=opened(BARS, 100))
    closed_by = np.searchsorted(H4.close_time_us, BARS.close_time_us, side="right") - 1
    expected = [None if row < 0 else H4.close[row] for row in closed_by]
    assert closes.to_list() == expected
