"""Indicators look back only, and float noise never makes a crossing."""

import inspect
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import indicators
from engine.indicators import Column, actions, crosses, sma, sma_crosses
from engine.numeric.arrays import Floats

price_lists = st.lists(st.integers(90_000, 110_000).map(lambda ticks: ticks / 1e5), min_size=1, max_size=80)
few_levels = st.lists(st.sampled_from([1.1, 1.1001, 1.1002]), min_size=1, max_size=80)


def random_walk(count: int, seed: int = 7) -> Floats:
    steps = np.random.default_rng(seed).integers(-20, 21, count).cumsum()
    walk: Floats = np.round(1.5 + np.abs(steps) * 1e-5, 5)
    return walk


def floats(values: pl.Series) -> Floats:
    """NaN for null; and no NaN among the values."""
    assert not values.is_nan().any()
    array: Floats = values.to_numpy()
    return array


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


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
def test_sma_is_null_while_a_value_is_missing_from_its_window_and_recovers(hole: float) -> None:
    averages = sma(np.array([1.0, 2.0, hole, 3.0, 4.0, 5.0]), 2)
    assert averages.to_list() == [None, 1.5, None, None, 3.5, 4.5]


def test_null_counts_as_nan() -> None:
    assert sma(pl.Series([None, 1.0, 3.0]), 2).to_list() == [None, None, 2.0]
    assert sma(pl.Series([None, 1, 3]), 2).to_list() == [None, None, 2.0]


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
CAUSAL: dict[str, Callable[[slice], tuple[pl.Series, ...]]] = {
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
    "sma_crosses": lambda seen: (pl.Series(sma_crosses(CLOSE[seen], 3, 9)),),
}


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("seen", [1, 8, 9, 60, 150, 299])
def test_no_indicator_looks_ahead(name: str, seen: int) -> None:
    for whole, part in zip(CAUSAL[name](slice(None)), CAUSAL[name](slice(seen)), strict=True):
        assert part.len() == seen
        assert part.equals(whole[:seen], null_equal=True)


@pytest.mark.parametrize("name", ["sma", "highest", "lowest", "momentum", "standard_deviation", "bollinger_bands"])
def test_window_indicators_forget_what_left_their_window(name: str) -> None:
    for whole, late in zip(CAUSAL[name](slice(None)), CAUSAL[name](slice(100, None)), strict=True):
        assert late[9:].equals(whole[109:])


@pytest.mark.parametrize("name", CAUSAL)
def test_every_indicator_has_values_once_there_are_enough_bars(name: str) -> None:
    for values in CAUSAL[name](slice(None)):
        assert values[60:].is_finite().all()
        if name != "sma_crosses":
            assert values[0] is None


def test_indicators_give_textbook_values() -> None:
    values = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert indicators.standard_deviation(values, 8)[-1] == 2.0
    upper, middle, lower = indicators.bollinger_bands(values, 8, deviations=1.5)
    assert (upper[-1], middle[-1], lower[-1]) == (8.0, 5.0, 2.0)
    assert indicators.wma(np.array([1.0, 2.0, 3.0]), 3)[-1] == pytest.approx(14 / 6)
    assert indicators.ema(np.array([1.0, 2.0, 3.0, 6.0]), 3).to_list() == [None, None, 2.0, 4.0]
    assert indicators.highest(values, 3)[-1] == 9.0
    assert indicators.lowest(values, 3)[-1] == 5.0
    assert indicators.momentum(values, 3)[-1] == 4.0
    assert indicators.rsi(np.array([1.0, 2.0, 1.0, 2.0, 3.0]), 4)[-1] == pytest.approx(75.0)
    highs, lows, closes = np.array([2.0, 3.0, 5.0]), np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.5, 4.5])
    assert indicators.atr(highs, lows, closes, 2)[-1] == pytest.approx((1.5 + 2.5) / 2)


@pytest.mark.parametrize(
    "function", [indicators.sma, indicators.ema, indicators.wma, indicators.highest, indicators.lowest]
)
def test_a_length_of_one_returns_the_values(function: Callable[[Floats, int], pl.Series]) -> None:
    np.testing.assert_array_equal(floats(function(CLOSE, 1)), CLOSE)


# ------------------------------------------------------------------------------------------- what is not known

ONE: dict[str, Callable[[Column, int], pl.Series]] = {
    "sma": indicators.sma,
    "ema": indicators.ema,
    "wma": indicators.wma,
    "standard_deviation": indicators.standard_deviation,
    "rsi": indicators.rsi,
    "highest": indicators.highest,
    "lowest": indicators.lowest,
    "momentum": indicators.momentum,
}
OF_BARS: dict[str, Callable[[Column, Column, Column, int], pl.Series]] = {
    "atr": indicators.atr,
    "adx": indicators.adx,
    "stoch_k": lambda high, low, close, length: indicators.stochastic(high, low, close, length)[0],
    "stoch_d": lambda high, low, close, length: indicators.stochastic(high, low, close, length)[1],
}
some_prices = st.integers(100_000, 200_000).map(lambda ticks: ticks / 1e5)
holed = st.lists(some_prices | st.sampled_from([math.nan, None]), max_size=60)


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
    k, d = indicators.stochastic(high, low, close, 5, 3, 2)
    # The last flat window ends at row 19; three windows make a %K, two of these a %D.
    assert (k.is_not_null().arg_max(), d.is_not_null().arg_max()) == (22, 23)
    assert k[22:].to_list() == pytest.approx([50.0] * 8)


WALK = random_walk(500)
TALIB: dict[str, tuple[pl.Series, Floats]] = {
    "ema": (indicators.ema(WALK, 9), talib.EMA(WALK, 9)),
    "wma": (indicators.wma(WALK, 9), talib.WMA(WALK, 9)),
    "rsi": (indicators.rsi(WALK, 9), talib.RSI(WALK, 9)),
    "sma": (indicators.sma(WALK, 9), talib.SMA(WALK, 9)),
    "highest": (indicators.highest(WALK, 9), talib.MAX(WALK, 9)),
    "lowest": (indicators.lowest(WALK, 9), talib.MIN(WALK, 9)),
    "momentum": (indicators.momentum(WALK, 9), talib.MOM(WALK, 9)),
    "standard_deviation": (indicators.standard_deviation(WALK, 9), talib.STDDEV(WALK, 9)),
    "atr": (indicators.atr(HIGH, LOW, CLOSE, 9), talib.ATR(HIGH, LOW, CLOSE, 9)),
    "adx": (indicators.adx(HIGH, LOW, CLOSE, 9), talib.ADX(HIGH, LOW, CLOSE, 9)),
    **{
        f"{name} {part}": pair
        for name, ours, theirs in (
            ("macd", indicators.macd(WALK), talib.MACD(WALK)),
            ("bollinger", indicators.bollinger_bands(WALK, 9), talib.BBANDS(WALK, 9, 2.0, 2.0)),
            (
                "stochastic",
                indicators.stochastic(HIGH, LOW, CLOSE),
                talib.STOCH(HIGH, LOW, CLOSE, fastk_period=14, slowk_period=3, slowd_period=3),
            ),
        )
        for part, pair in enumerate(zip(ours, theirs, strict=True))
    },
}


@pytest.mark.parametrize("name", TALIB)
def test_values_and_warm_up_are_talibs(name: str) -> None:
    ours, theirs = TALIB[name]
    np.testing.assert_allclose(floats(ours), theirs, rtol=1e-9, atol=1e-12)


def test_every_indicator_is_in_the_documentation_with_its_parameters() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
    public = [
        function
        for name, function in vars(indicators).items()
        if inspect.isfunction(function) and function.__module__ == indicators.__name__ and not name.startswith("_")
    ]
    assert len(public) >= 16
    for function in public:
        if function is indicators.as_floats:
            continue
        assert f"`{function.__name__}(" in documented
        for parameter in inspect.signature(function).parameters.values():
            if isinstance(parameter.default, int | float | str):
                assert f"{parameter.name}={json.dumps(parameter.default)}" in documented
