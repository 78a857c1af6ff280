"""What is not known: holes among the values, and what would be nothing over nothing."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import indicators
from engine.indicators import Column, sma
from tests.engine.indicators.columns import OF_BARS, ONE, holed, random_bars

BARS = random_bars(300)
HIGH, LOW, CLOSE = BARS["high"], BARS["low"], BARS["close"]


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_sma_is_null_while_a_value_is_missing_from_its_window_and_recovers(hole: float) -> None:
    averages = sma(np.array([1.0, 2.0, hole, 3.0, 4.0, 5.0]), 2)
    assert averages.to_list() == [None, 1.5, None, None, 3.5, 4.5]


def test_null_counts_as_nan() -> None:
    assert sma(pl.Series([None, 1.0, 3.0]), 2).to_list() == [None, None, 2.0]
    assert sma(pl.Series([None, 1, 3]), 2).to_list() == [None, None, 2.0]


@pytest.mark.parametrize("before", [[], [9.0, 9.0]])
def test_an_unknown_value_is_unknown_for_highest_wherever_the_data_began(before: list[float]) -> None:
    """The last two values were not the same for [1, 5, nan, 2] and for [9, 9, 1, 5, nan, 2]."""
    values = [*before, 1.0, 5.0, math.nan, 2.0, 3.0, 4.0]
    early = [9.0, 9.0] if before else [None, None]
    assert indicators.highest(values, 3).to_list()[-6:] == [*early, None, None, None, 4.0]


@pytest.mark.parametrize("name", ONE)
@settings(max_examples=50)
@given(values=holed, length=st.integers(2, 6))
def test_what_follows_an_unknown_value_is_as_if_the_data_began_there(
    name: str, values: list[float | None], length: int
) -> None:
    whole = ONE[name](pl.Series(values, dtype=pl.Float64), length)
    assert whole.dtype == pl.Float64
    assert not whole.is_nan().any()
    begin = 0
    for i, value in enumerate([*values, None]):
        if value is None or math.isnan(value):
            if i < len(values):
                assert whole[i] is None
            stretch = ONE[name](np.array(values[begin:i], np.float64), length)
            assert whole[begin:i].equals(stretch, null_equal=True)
            begin = i + 1


@pytest.mark.parametrize("name", OF_BARS)
@pytest.mark.parametrize("column", [0, 1, 2])
def test_an_unknown_price_of_a_bar_begins_anew_whichever_it_is(name: str, column: int) -> None:
    prices = [HIGH.copy(), LOW.copy(), CLOSE.copy()]
    prices[column][100] = math.nan
    high, low, close = prices
    whole = OF_BARS[name](high, low, close, 9)
    assert whole[100] is None
    assert whole[:100].equals(OF_BARS[name](HIGH[:100], LOW[:100], CLOSE[:100], 9), null_equal=True)
    assert whole[101:].equals(OF_BARS[name](HIGH[101:], LOW[101:], CLOSE[101:], 9), null_equal=True)


def test_values_not_known_yet_decide_nothing() -> None:
    """polars puts NaN above all numbers: close < NaN was true, and a warm-up sold."""
    close = pl.Series("close", [1.0, 2.0, 3.0, 2.0])
    frame = pl.DataFrame([close, sma(close, 3).alias("sma")])
    decided = frame.select(pl.when(pl.col("close") < pl.col("sma")).then(pl.lit("SELL")).alias("action"))["action"]
    assert decided.to_list() == [None, None, None, "SELL"]


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 4.0],
        (1.0, 2.0, 4.0),
        np.array([1, 2, 4]),
        np.array([1.0, 2.0, 4.0])[::1],
        pl.Series([1, 2, 4]),
        pl.DataFrame({"close": [1.0, 2.0, 4.0]}).select(pl.col("close") * 1),
    ],
)
def test_values_come_in_every_form_of_a_column(values: Column) -> None:
    for result in (sma(values, 2), indicators.ema(values, 2), indicators.wma(values, 1)):
        assert isinstance(result, pl.Series)
        assert result.dtype == pl.Float64
        assert result.len() == 3
    assert sma(values, 2).to_list() == [None, 1.5, 3.0]


def test_what_is_no_column_says_so() -> None:
    expression: Any = pl.col("close") * 2
    with pytest.raises(TypeError, match=r"an expression has no values yet: .*select"):
        sma(expression, 2)
    with pytest.raises(TypeError, match=r"one column of values, not an array of shape \(2, 2\)"):
        sma(pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}), 2)


def test_nothing_gives_nothing() -> None:
    assert all(of(pl.Series([], dtype=pl.Float64), 3).to_list() == [] for of in ONE.values())
    assert all(of([], [], [], 3).to_list() == [] for of in OF_BARS.values())
    assert all(of([None, None], 3).to_list() == [None, None] for of in ONE.values())


def test_the_rsi_of_prices_that_have_not_moved_is_unknown() -> None:
    """0 over 0 was 0: below any low, it bought."""
    flat = [1.1] * 30
    assert indicators.rsi(flat, 14).null_count() == 30
    moved = [*flat, *([1.2] * 20)]
    assert indicators.rsi(moved, 14).to_list() == [None] * 30 + [100.0] * 20


def test_a_stochastic_of_windows_without_a_range_is_unknown_until_they_have_passed() -> None:
    high, low, close = [1.1] * 20 + [1.2] * 10, [1.1] * 20 + [1.0] * 10, [1.1] * 30
    k, d = indicators.stoch_k(high, low, close, 5, 3, 2), indicators.stoch_d(high, low, close, 5, 3, 2)
    # The last flat window ends at row 19; three windows make a %K, two of these a %D.
    assert (k.is_not_null().arg_max(), d.is_not_null().arg_max()) == (22, 23)
    assert k[22:].to_list() == pytest.approx([50.0] * 8)
