"""Indicators look back only, and float noise never makes a crossing."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import indicators
from engine.indicators import actions, crosses, sma, sma_crosses
from engine.numeric.arrays import Floats

price_lists = st.lists(st.integers(90_000, 110_000).map(lambda ticks: ticks / 1e5), min_size=1, max_size=80)
few_levels = st.lists(st.sampled_from([1.1, 1.1001, 1.1002]), min_size=1, max_size=80)


def random_walk(count: int, seed: int = 7) -> Floats:
    steps = np.random.default_rng(seed).integers(-20, 21, count).cumsum()
    walk: Floats = np.round(1.5 + np.abs(steps) * 1e-5, 5)
    return walk


@given(price_lists, st.integers(1, 20))
def test_sma_is_the_exact_sum_of_its_window_over_its_length(prices: list[float], length: int) -> None:
    averages = sma(np.array(prices), length)
    for i, average in enumerate(averages):
        if i < length - 1:
            assert math.isnan(average)
        else:
            assert average == math.fsum(prices[i - length + 1 : i + 1]) / length


def test_sma_after_a_million_bars_is_still_exact_and_forgets_where_the_data_began() -> None:
    prices = random_walk(1_000_000)
    averages = sma(prices, 30)
    assert averages[-1] == math.fsum(prices[-30:]) / 30
    late = sma(prices[777_777:], 30)
    np.testing.assert_array_equal(late[29:], averages[777_777 + 29 :])


def test_sma_survives_prices_of_very_different_sizes() -> None:
    prices = [1e5 + 0.1, 0.00001, 3.3, 1e5 + 0.7, 0.00002, 4.4] * 50
    averages = sma(np.array(prices), 4)
    for i in range(3, len(prices)):
        assert averages[i] == math.fsum(prices[i - 3 : i + 1]) / 4


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_sma_is_nan_while_a_value_is_missing_from_its_window_and_recovers(hole: float) -> None:
    averages = sma(np.array([1.0, 2.0, hole, 3.0, 4.0, 5.0]), 2)
    np.testing.assert_array_equal(averages, [math.nan, 1.5, math.nan, math.nan, 3.5, 4.5])


def test_null_counts_as_nan() -> None:
    np.testing.assert_array_equal(sma(pl.Series([None, 1.0, 3.0]), 2), [math.nan, math.nan, 2.0])
    np.testing.assert_array_equal(sma(pl.Series([None, 1, 3]), 2), [math.nan, math.nan, 2.0])


def crossed(a: list[float], b: float = 1.0) -> list[int]:
    codes: list[int] = crosses(np.array(a), np.full(len(a), b), np.ones(len(a))).tolist()
    return codes


def test_a_cross_needs_both_sides() -> None:
    assert crossed([2.0, 2.0, 0.0, 0.0, 2.0]) == [0, 0, -1, 0, 1]
    assert crossed([2.0]) == [0]
    assert crossed([]) == []


def test_a_tie_between_the_sides_delays_the_cross_and_one_on_the_same_side_makes_none() -> None:
    assert crossed([0.0, 1.0, 1.0, 2.0]) == [0, 0, 0, 1]
    assert crossed([2.0, 1.0, 2.0]) == [0, 0, 0]
    assert crossed([1.0, 2.0]) == [0, 0]


def test_a_difference_within_a_billionth_of_the_close_is_a_tie() -> None:
    assert crossed([0.0, 1.0 + 0.9e-9]) == [0, 0]
    assert crossed([0.0, 1.0 + 1.1e-9]) == [0, 1]
    a, b = np.array([0.0, 1.0 + 1.1e-9]), np.ones(2)
    assert crosses(a, b, np.array([1.0, 2.0])).tolist() == [0, 0]


def test_bars_without_a_value_are_passed_over() -> None:
    assert crossed([math.nan, 0.0, math.nan, 2.0]) == [0, 0, 0, 1]
    assert crosses(np.array([0.0, 2.0]), np.ones(2), np.array([1.0, math.nan])).tolist() == [0, 0]


def obvious_crosses(prices: list[float], fast: int, slow: int) -> list[int]:
    """The rule for ties in exact fractions."""
    codes, exact = [], [Fraction(repr(price)) for price in prices]
    differences: list[Fraction | None] = [
        sum(exact[i - fast + 1 : i + 1]) / Fraction(fast) - sum(exact[i - slow + 1 : i + 1]) / Fraction(slow)
        if i >= slow - 1
        else None
        for i in range(len(prices))
    ]
    for i, difference in enumerate(differences):
        tolerances = [price / 10**9 for price in exact]
        earlier = [d > 0 for d, tol in zip(differences[:i], tolerances, strict=False) if d is not None and abs(d) > tol]
        decided = difference is not None and abs(difference) > tolerances[i] and bool(earlier)
        above = difference is not None and difference > 0
        codes.append((1 if above else -1) if decided and earlier[-1] != above else 0)
    return codes


@given(few_levels | price_lists, st.integers(1, 6), st.integers(1, 6))
def test_sma_crosses_follows_the_rule_in_exact_arithmetic(prices: list[float], fast: int, more: int) -> None:
    assert sma_crosses(np.array(prices), fast, fast + more).tolist() == obvious_crosses(prices, fast, fast + more)


@given(few_levels, st.integers(1, 6), st.integers(1, 6), st.lists(st.integers(0, 79), max_size=3))
def test_one_pass_equals_two_averages_and_their_crossing(
    prices: list[float], fast: int, more: int, holes: list[int]
) -> None:
    closes = np.array(prices)
    closes[[hole for hole in holes if hole < closes.size]] = math.nan
    expected = crosses(sma(closes, fast), sma(closes, fast + more), closes)
    assert sma_crosses(closes, fast, fast + more).tolist() == expected.tolist()


@pytest.mark.parametrize(("fast", "slow"), [(1, 2), (7, 31), (3, 4096), (200, 4097), (5_000, 11_000)])
def test_one_pass_equals_two_averages_over_many_blocks_of_bars(fast: int, slow: int) -> None:
    closes = random_walk(30_000)
    expected = crosses(sma(closes, fast), sma(closes, slow), closes)
    assert np.count_nonzero(expected) > 0
    np.testing.assert_array_equal(sma_crosses(closes, fast, slow), expected)


def test_one_pass_decides_as_exact_sums_do_when_the_difference_is_within_an_ulp_of_the_tolerance() -> None:
    # The averages of one and of two bars differ by half the change: 1e-9 of the close where it changes by 2e-9 of it.
    low = 1.1 * (1.0 - 2e-9)
    lows = low + np.arange(-40, 41) * np.spacing(low)
    sides = []
    for start in lows:
        closes = np.array([1.2, 1.1, start, 1.1])
        expected = crosses(sma(closes, 1), sma(closes, 2), closes)
        assert sma_crosses(closes, 1, 2).tolist() == expected.tolist()
        sides.append(int(expected[-1]))
    assert set(sides) == {0, 1}


def test_one_pass_holds_for_values_below_zero() -> None:
    closes = random_walk(5_000) - 1.5
    expected = crosses(sma(closes, 5), sma(closes, 20), closes)
    np.testing.assert_array_equal(sma_crosses(closes, 5, 20), expected)


def test_flat_prices_after_a_wild_start_make_no_crossing() -> None:
    prices = np.concatenate((random_walk(100_000), np.full(100_000, 1.23457)))
    assert not sma_crosses(prices, 10, 30)[100_030:].any()


def test_actions_may_close_in_place_of_selling() -> None:
    assert actions(np.array([1, 0, -1], np.int8), below="CLOSE").to_list() == ["BUY", None, "CLOSE"]


def test_actions_name_the_codes() -> None:
    column = actions(np.array([0, 1, -1, 0], np.int8))
    assert column.to_list() == [None, "BUY", "SELL", None]
    assert column.name == "action"
    assert actions(np.zeros(3, np.int8)).to_list() == [None] * 3


HIGH, LOW, CLOSE = random_walk(300) + 0.01, random_walk(300) - 0.01, random_walk(300)
CAUSAL: dict[str, Callable[[slice], tuple[NDArray[np.generic], ...]]] = {
    "sma": lambda seen: (sma(CLOSE[seen], 9),),
    "ema": lambda seen: (indicators.ema(CLOSE[seen], 9),),
    "wma": lambda seen: (indicators.wma(CLOSE[seen], 9),),
    "rsi": lambda seen: (indicators.rsi(CLOSE[seen], 9),),
    "atr": lambda seen: (indicators.atr(HIGH[seen], LOW[seen], CLOSE[seen], 9),),
    "adx": lambda seen: (indicators.adx(HIGH[seen], LOW[seen], CLOSE[seen], 9),),
    "macd": lambda seen: indicators.macd(CLOSE[seen]),
    "stochastic": lambda seen: indicators.stochastic(HIGH[seen], LOW[seen], CLOSE[seen]),
    "highest": lambda seen: (indicators.highest(HIGH[seen], 9),),
    "lowest": lambda seen: (indicators.lowest(LOW[seen], 9),),
    "momentum": lambda seen: (indicators.momentum(CLOSE[seen], 9),),
    "standard_deviation": lambda seen: (indicators.standard_deviation(CLOSE[seen], 9),),
    "bollinger_bands": lambda seen: indicators.bollinger_bands(CLOSE[seen], 9),
    "sma_crosses": lambda seen: (sma_crosses(CLOSE[seen], 3, 9),),
}


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("seen", [1, 8, 9, 60, 150, 299])
def test_no_indicator_looks_ahead(name: str, seen: int) -> None:
    for whole, part in zip(CAUSAL[name](slice(None)), CAUSAL[name](slice(seen)), strict=True):
        assert part.size == seen
        np.testing.assert_array_equal(part, whole[:seen])


@pytest.mark.parametrize("name", ["sma", "highest", "lowest", "momentum", "standard_deviation", "bollinger_bands"])
def test_window_indicators_forget_what_left_their_window(name: str) -> None:
    for whole, late in zip(CAUSAL[name](slice(None)), CAUSAL[name](slice(100, None)), strict=True):
        np.testing.assert_array_equal(late[9:], whole[109:])


@pytest.mark.parametrize("name", CAUSAL)
def test_every_indicator_has_values_once_there_are_enough_bars(name: str) -> None:
    for values in CAUSAL[name](slice(None)):
        assert np.isfinite(values[60:]).all()
        if name != "sma_crosses":
            assert np.isnan(values[0])


def test_indicators_give_textbook_values() -> None:
    values = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert indicators.standard_deviation(values, 8)[-1] == 2.0
    upper, middle, lower = indicators.bollinger_bands(values, 8, deviations=1.5)
    assert (upper[-1], middle[-1], lower[-1]) == (8.0, 5.0, 2.0)
    assert indicators.wma(np.array([1.0, 2.0, 3.0]), 3)[-1] == pytest.approx(14 / 6)
    assert indicators.ema(np.array([1.0, 2.0, 3.0, 6.0]), 3).tolist()[2:] == [2.0, 4.0]
    assert indicators.highest(values, 3)[-1] == 9.0
    assert indicators.lowest(values, 3)[-1] == 5.0
    assert indicators.momentum(values, 3)[-1] == 4.0
    assert indicators.rsi(np.array([1.0, 2.0, 1.0, 2.0, 3.0]), 4)[-1] == pytest.approx(75.0)
    highs, lows, closes = np.array([2.0, 3.0, 5.0]), np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.5, 4.5])
    assert indicators.atr(highs, lows, closes, 2)[-1] == pytest.approx((1.5 + 2.5) / 2)


@pytest.mark.parametrize(
    "function", [indicators.sma, indicators.ema, indicators.wma, indicators.highest, indicators.lowest]
)
def test_a_length_of_one_returns_the_values(function: Callable[[Floats, int], Floats]) -> None:
    np.testing.assert_array_equal(function(CLOSE, 1), CLOSE)
