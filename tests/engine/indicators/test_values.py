"""Indicators look back only, and give what their formulas say."""

import inspect
import json
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import indicators
from engine.indicators import sma, sma_crosses
from engine.numeric.arrays import Floats
from tests.engine.indicators.columns import OF_BARS, ONE, floats, price_lists, random_bars, random_walk, sample_bars


@given(price_lists, st.integers(1, 20))
def test_sma_is_the_exact_sum_of_its_window_over_its_length(prices: list[float], length: int) -> None:
    averages = sma(np.array(prices), length)
    for i, average in enumerate(averages):
        if i < length - 1:
            assert average is None
        else:
            assert average == math.fsum(prices[i - length + 1 : i + 1]) / length


def test_sma_after_a_million_bars_is_still_exact_and_forgets_where_the_data_began() -> None:
    prices = random_walk(1_000_000)
    averages = sma(prices, 30)
    assert averages[-1] == math.fsum(prices[-30:]) / 30
    late = sma(prices[777_777:], 30)
    np.testing.assert_array_equal(floats(late)[29:], floats(averages)[777_777 + 29 :])


def test_sma_survives_prices_of_very_different_sizes() -> None:
    prices = [1e5 + 0.1, 0.00001, 3.3, 1e5 + 0.7, 0.00002, 4.4] * 50
    averages = sma(np.array(prices), 4)
    for i in range(3, len(prices)):
        assert averages[i] == math.fsum(prices[i - 3 : i + 1]) / 4


BARS = random_bars(300)
HIGH, LOW, CLOSE = BARS["high"], BARS["low"], BARS["close"]


def _of_close(of: Callable[..., pl.Series], seen: slice) -> pl.Series:
    return of(CLOSE[seen], 9)


def _of_range(of: Callable[..., pl.Series], seen: slice) -> pl.Series:
    return of(HIGH[seen], LOW[seen], CLOSE[seen], 9)


CAUSAL: dict[str, Callable[[slice], pl.Series]] = {
    **{name: partial(_of_close, of) for name, of in ONE.items()},
    **{name: partial(_of_range, of) for name, of in OF_BARS.items()},
    "obv": lambda seen: indicators.obv(CLOSE[seen], BARS["volume"][seen]),
    "candle": lambda seen: indicators.candle(BARS["open"][seen], HIGH[seen], LOW[seen], CLOSE[seen], "doji"),
    "crosses_above": lambda seen: indicators.crosses_above(CLOSE[seen], sma(CLOSE[seen], 9)),
    "sma_crosses": lambda seen: pl.Series(sma_crosses(CLOSE[seen], 3, 9)),
    "supertrend_flips": lambda seen: pl.Series(indicators.supertrend_flips(HIGH[seen], LOW[seen], CLOSE[seen], 9, 1.0)),
}
WINDOWS = ("sma", "highest", "lowest", "roc", "stddev", "bollinger_upper", "bollinger_lower", "stoch_k", "stoch_d")


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("seen", [1, 8, 9, 60, 150, 299])
def test_no_indicator_looks_ahead(name: str, seen: int) -> None:
    whole, part = CAUSAL[name](slice(None)), CAUSAL[name](slice(seen))
    assert part.len() == seen
    assert part.equals(whole[:seen], null_equal=True)


@pytest.mark.parametrize("name", WINDOWS)
def test_window_indicators_forget_what_left_their_window(name: str) -> None:
    whole, late = CAUSAL[name](slice(None)), CAUSAL[name](slice(100, None))
    assert late[12:].equals(whole[112:])
    assert late[12:].null_count() == 0


@pytest.mark.parametrize("name", CAUSAL)
def test_every_indicator_has_values_once_there_are_enough_bars(name: str) -> None:
    values = CAUSAL[name](slice(None))
    assert values[60:].is_not_null().all()
    if name not in ("sma_crosses", "supertrend_flips", "obv"):
        assert values[0] is None


@pytest.mark.parametrize("name", [*ONE, *OF_BARS])
def test_a_length_beyond_the_data_is_no_mistake_and_nothing_is_known(name: str) -> None:
    for length in (301, 50_000, 100_000):
        values = ONE[name](CLOSE, length) if name in ONE else OF_BARS[name](HIGH, LOW, CLOSE, length)
        assert values.null_count() == values.len() == 300


@pytest.mark.parametrize("length", [0, -1, 2.0, True, "5"])
@pytest.mark.parametrize("name", [*ONE, *OF_BARS])
def test_what_is_no_length_is_refused(name: str, length: Any) -> None:
    with pytest.raises(ValueError, match=r"a length is a whole number from [12] on, not "):
        ONE[name](CLOSE, length) if name in ONE else OF_BARS[name](HIGH, LOW, CLOSE, length)
    assert indicators.highest(CLOSE, np.int64(5)).equals(indicators.highest(CLOSE, 5), null_equal=True)  # type: ignore[arg-type]  # numpy's count too


def test_indicators_give_textbook_values() -> None:
    values = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert indicators.stddev(values, 8)[-1] == 2.0
    assert indicators.bollinger_upper(values, 8, 1.5)[-1] == 8.0
    assert indicators.bollinger_lower(values, 8, 1.5)[-1] == 2.0
    assert indicators.wma(np.array([1.0, 2.0, 3.0]), 3)[-1] == pytest.approx(14 / 6)
    assert indicators.ema(np.array([1.0, 2.0, 3.0, 6.0]), 3).to_list() == [None, None, 2.0, 4.0]
    assert indicators.highest(values, 3)[-1] == 9.0
    assert indicators.lowest(values, 3)[-1] == 5.0
    assert indicators.roc(values, 3)[-1] == pytest.approx(80.0)
    assert indicators.rsi(np.array([1.0, 2.0, 1.0, 2.0, 3.0]), 4)[-1] == pytest.approx(75.0)
    highs, lows, closes = np.array([2.0, 3.0, 5.0]), np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.5, 4.5])
    assert indicators.atr(highs, lows, closes, 2)[-1] == pytest.approx((1.5 + 2.5) / 2)
    assert indicators.obv([1.0, 2.0, 2.0, 1.5], [10.0, 20.0, 30.0, 40.0]).to_list() == [10.0, 30.0, 30.0, -10.0]


@pytest.mark.parametrize("name", ["sma", "ema", "wma", "highest", "lowest", "bollinger_upper", "bollinger_lower"])
def test_a_length_of_one_returns_the_values(name: str) -> None:
    np.testing.assert_array_equal(floats(ONE[name](CLOSE, 1)), CLOSE)


def test_a_length_of_one_follows_the_formula_where_talib_has_none() -> None:
    assert indicators.stddev(CLOSE, 1).to_list() == [0.0] * 300
    np.testing.assert_allclose(floats(indicators.roc(CLOSE, 1))[1:], (CLOSE[1:] / CLOSE[:-1] - 1.0) * 100.0)
    line = CLOSE - floats(indicators.ema(CLOSE, 5))
    np.testing.assert_array_equal(floats(indicators.macd(CLOSE, 1, 5, 3))[6:], line[6:])
    average = floats(indicators.ema(line[4:], 3))
    np.testing.assert_array_equal(floats(indicators.macd_signal(CLOSE, 1, 5, 3))[4:], average)
    assert indicators.macd(CLOSE, 1, 1, 1).to_list() == [0.0] * 300
    true_range = np.maximum(HIGH[1:], CLOSE[:-1]) - np.minimum(LOW[1:], CLOSE[:-1])
    np.testing.assert_allclose(floats(indicators.atr(HIGH, LOW, CLOSE, 1))[1:], true_range, rtol=1e-9)
    rose = np.where((np.diff(HIGH) > 0) & (np.diff(HIGH) > -np.diff(LOW)), np.diff(HIGH), 0.0)
    positive = floats(indicators.plus_di(HIGH, LOW, CLOSE, 1))[1:]
    np.testing.assert_allclose(positive, 100.0 * rose / true_range, rtol=1e-9)
    np.testing.assert_allclose(
        floats(indicators.stoch_k(HIGH, LOW, CLOSE, 1, 1, 1)), 100.0 * (CLOSE - LOW) / (HIGH - LOW), rtol=1e-9
    )
    # The mean deviation of one price is 0.
    assert indicators.cci(HIGH, LOW, CLOSE, 1).null_count() == 300


def test_bands_of_prices_that_stand_still_stand_on_them() -> None:
    """What rounding left of the deviation made bands a hair apart, and crossings of them."""
    still = np.concatenate((random_walk(500), np.full(40, 1.23457), random_walk(100)))
    assert indicators.stddev(still, 20)[520:540].to_list() == [0.0] * 20
    assert indicators.bollinger_upper(still, 20)[520:540].to_list() == [1.23457] * 20
    assert indicators.bollinger_lower(still, 20)[520:540].to_list() == [1.23457] * 20


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e5])
def test_deviations_are_those_of_exact_fractions(scale: float) -> None:
    values = (1.0 + random_walk(400) * 1e-6) * scale
    for i, deviation in enumerate(indicators.stddev(values, 7)):
        if i >= 6:
            window = [Fraction(value) for value in values[i - 6 : i + 1]]
            mean = sum(window) / 7
            variance = sum((value - mean) ** 2 for value in window) / 7
            assert deviation == pytest.approx(math.sqrt(variance), rel=1e-14)


@given(price_lists, st.integers(1, 12))
def test_extremes_are_those_of_each_window(prices: list[float], length: int) -> None:
    top, bottom = indicators.highest(prices, length).to_list(), indicators.lowest(prices, length).to_list()
    for i in range(len(prices)):
        window = prices[max(0, i - length + 1) : i + 1]
        assert (top[i], bottom[i]) == ((max(window), min(window)) if i >= length - 1 else (None, None))


def test_extremes_of_a_long_fall_are_found_without_searching_each_window() -> None:
    falling = np.arange(400_000, 0, -1.0)
    assert indicators.highest(falling, 100_000)[-1] == 100_000.0
    assert indicators.lowest(-falling, 100_000)[-1] == -100_000.0


def obvious_supertrend(
    high: Floats, low: Floats, close: Floats, length: int, multiplier: float
) -> tuple[list[float | None], list[int]]:
    """Read from the rule: bands, then on which of them the price stands, unknown until it left one; and its turns."""
    ranges = indicators.atr(high, low, close, length).to_list()
    upper = lower = None
    rising: bool | None = None
    line: list[float | None] = []
    turns = []
    for i, average in enumerate(ranges):
        before = rising
        if average is not None:
            above, below = (high[i] + low[i]) / 2 + multiplier * average, (high[i] + low[i]) / 2 - multiplier * average
            upper = above if upper is None or close[i - 1] > upper else min(above, upper)
            lower = below if lower is None or close[i - 1] < lower else max(below, lower)
            if rising is not True and close[i] > upper:
                rising = True
            elif rising is not False and close[i] < lower:
                rising = False
        line.append(None if rising is None else lower if rising else upper)
        turns.append(0 if before is None or rising == before else 1 if rising else -1)
    return line, turns


@pytest.mark.parametrize(("length", "multiplier"), [(1, 1.0), (7, 0.5), (10, 3.0)])
def test_the_supertrend_stands_on_the_band_that_the_close_has_not_left(length: int, multiplier: float) -> None:
    bars = sample_bars("gbpusd_h1")
    of_bars = bars["high"][:3000], bars["low"][:3000], bars["close"][:3000]
    line, turns = obvious_supertrend(*of_bars, length, multiplier)
    assert indicators.supertrend(*of_bars, length, multiplier).to_list() == line
    assert turns.count(1) > 10
    assert indicators.supertrend_flips(*of_bars, length, multiplier).tolist() == turns


def test_every_function_is_in_the_documentation_with_its_parameters() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "strategies.md").read_text(encoding="utf-8")
    public = [function for function in map(vars(indicators).get, indicators.__all__) if inspect.isfunction(function)]
    assert len(public) >= 30
    for function in public:
        if function in (indicators.as_floats, indicators.candle_problem):
            continue
        signature = inspect.signature(inspect.unwrap(function))
        parameters = ", ".join(
            name if given.default is given.empty else f"{name}={json.dumps(given.default).replace('null', 'None')}"
            for name, given in signature.parameters.items()
        )
        assert f"`{function.__name__}({parameters})`" in documented
