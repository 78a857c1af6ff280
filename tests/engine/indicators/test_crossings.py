"""Crossings: both sides are needed, and float noise never makes one."""

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.indicators import actions, crosses, crosses_above, crosses_below, sma, sma_crosses
from tests.engine.indicators.columns import few_levels, price_lists, random_walk


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


def test_without_a_close_the_tolerance_is_of_the_larger_side() -> None:
    assert crosses([29.0, 30.0 + 29e-9], 30.0).tolist() == [0, 0]
    assert crosses([29.0, 30.0 + 31e-9], 30.0).tolist() == [0, 1]
    assert crosses(30.0, [29.0, 30.0 + 31e-9]).tolist() == [0, -1]
    assert crosses([-1.0, -1e-300, 1e-300], 0.0).tolist() == [0, 0, 1]
    # A close of another size would decide otherwise.
    assert crosses([29.0, 30.0 + 31e-9], 30.0, [100.0, 100.0]).tolist() == [0, 0]


def test_a_cross_is_unknown_where_a_side_is_and_false_where_there_was_no_side_before() -> None:
    a = pl.Series([None, 0.0, 2.0, None, 0.0, math.nan, math.inf, 2.0])
    assert crosses_above(a, 1.0).to_list() == [None, False, True, None, False, None, None, True]
    assert crosses_below(a, 1.0).to_list() == [None, False, False, None, True, None, None, False]
    assert crosses_above([0.0, 2.0], [1.0, 1.0], [1.0, None]).to_list() == [False, None]
    assert crosses_above(a, 1.0).dtype == pl.Boolean


def test_two_numbers_never_cross() -> None:
    with pytest.raises(TypeError, match="one of a and b is a column"):
        crosses_above(1.0, 2.0)
