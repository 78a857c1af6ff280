"""How far values spread and reach: deviations, extremes, true ranges, and the bands made of them."""

import numpy as np
import polars as pl
import talib
from numpy.typing import NDArray

from engine.indicators.averages import exact_sma, slide
from engine.indicators.columns import Column, as_floats, by_stretch, looked_back_over, series
from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled

_LARGEST = 1e150
"""Whose square is a double; what is beyond is unknown."""


def stddev(values: Column, length: int) -> pl.Series:
    """Return the population standard deviation; window, from exact sums: 0 where, and only where, all values are equal.

    Values beyond 1e150 are unknown.
    """
    return series("stddev", _stddev(looked_back_over(values), length))


def bollinger_upper(values: Column, length: int, deviations: float = 2.0) -> pl.Series:
    """Return the simple moving average plus `deviations` population standard deviations; window."""
    floats = looked_back_over(values)
    return series("bollinger_upper", exact_sma(floats, length) + deviations * _stddev(floats, length))


def bollinger_lower(values: Column, length: int, deviations: float = 2.0) -> pl.Series:
    """Return the simple moving average less `deviations` population standard deviations; window."""
    floats = looked_back_over(values)
    return series("bollinger_lower", exact_sma(floats, length) - deviations * _stddev(floats, length))


def highest(values: Column, length: int) -> pl.Series:
    """Return the largest of the last `length` values, the newest included; window."""
    return series("highest", extremes(looked_back_over(values), length, 1.0))


def lowest(values: Column, length: int) -> pl.Series:
    """Return the smallest of the last `length` values, the newest included; window."""
    return series("lowest", extremes(looked_back_over(values), length, -1.0))


def atr(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's average true range, in price units; first known at the bar after the first `length`."""

    def of_stretch(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats]:
        return (talib.ATR(highs, lows, closes, length),)

    return series("atr", *by_stretch(of_stretch, length, high, low, close))


def supertrend(high: Column, low: Column, close: Column, length: int = 10, multiplier: float = 3.0) -> pl.Series:
    """Return the Supertrend line: the lower band while the trend is up, the upper one while it is down.

    The bands stand `multiplier` average true ranges from (high + low) / 2. The upper one only falls, or begins anew
    where the close before was above it, the lower mirrored. The trend turns where the close leaves the band it stands
    on. Which way it goes is unknown, and so is the line, until a close has left one of the two.
    """
    return series("supertrend", _of_trend(high, low, close, length, multiplier)[0])


def supertrend_flips(
    high: Column, low: Column, close: Column, length: int = 10, multiplier: float = 3.0
) -> NDArray[np.int8]:
    """Return +1 where the Supertrend turns up, -1 where it turns down, else 0; its first direction is no turn."""
    return _of_trend(high, low, close, length, multiplier)[1]


def _of_trend(
    high: Column, low: Column, close: Column, length: int, multiplier: float
) -> tuple[Floats, NDArray[np.int8]]:
    reach = multiplier * as_floats(atr(high, low, close, length))
    return _trend(as_floats(high), as_floats(low), as_floats(close), reach)


@compiled
def extremes(values: Floats, length: int, sign: float) -> Floats:
    """Return the largest (sign 1) or smallest (-1) of the last `length` values, NaN while one of them is unknown.

    A value waits in line until a larger one comes or its time is up, so that no window is searched.
    """
    found = np.full(values.size, np.nan)
    waiting = np.empty(values.size, np.int64)
    head, tail, count = 0, 0, 0
    for i in range(values.size):
        if not abs(values[i]) < np.inf:
            head, tail, count = 0, 0, 0
            continue
        while tail > head and sign * values[waiting[tail - 1]] <= sign * values[i]:
            tail -= 1
        waiting[tail] = i
        tail += 1
        if waiting[head] <= i - length:
            head += 1
        count += 1
        if count >= length:
            found[i] = values[waiting[head]]
    return found


@compiled
def _stddev(values: Floats, length: int) -> Floats:
    """sqrt(n * sum(x^2) - sum(x)^2) / n, both sums exact and the difference taken in twice a double's precision.

    A square is kept as a product and its rounding error, and each of the two has its own exact sum; how often the same
    value came is counted, so that equal ones give 0 and not a rounding.
    """
    deviations = np.full(values.size, np.nan)
    total, total_errors, squares, squares_errors, rest, rest_errors = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    count, equal = 0, 0
    for i in range(values.size):
        if not abs(values[i]) < _LARGEST:
            total, total_errors, squares, squares_errors, rest, rest_errors = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            count, equal = 0, 0
            continue
        leaving = values[i - length] if count == length else 0.0
        new, new_error = _product(values[i], values[i])
        old, old_error = _product(leaving, leaving)
        total, total_errors = slide(total, total_errors, values[i], leaving)
        squares, squares_errors = slide(squares, squares_errors, new, old)
        rest, rest_errors = slide(rest, rest_errors, new_error, old_error)
        equal = equal + 1 if equal and values[i] == values[i - 1] else 1
        count = min(count + 1, length)
        if equal >= length:
            deviations[i] = 0.0
        elif count == length:
            # Sums as the nearest double and what is missing: the same for the same values, whatever came before.
            whole, missing = slide(total, 0.0, total_errors, 0.0)
            square, square_missing = slide(squares, 0.0, squares_errors, 0.0)
            mean_part, mean_error = _product(whole, whole)
            square_part, square_error = _product(square, float(length))
            square_error += (square_missing + (rest + rest_errors)) * length
            difference = (square_part - mean_part) + (square_error - (mean_error + 2.0 * whole * missing))
            deviations[i] = np.sqrt(max(difference, 0.0)) / length
    return deviations


@compiled
def _product(a: float, b: float) -> tuple[float, float]:
    """Return a * b rounded, and its rounding error, exactly (Dekker, "A Floating-Point Technique ...", 1971)."""
    a_high = 134217729.0 * a
    a_high = a_high - (a_high - a)
    b_high = 134217729.0 * b
    b_high = b_high - (b_high - b)
    a_low, b_low = a - a_high, b - b_high
    rounded = a * b
    return rounded, ((a_high * b_high - rounded) + a_high * b_low + a_low * b_high) + a_low * b_low


@compiled
def _trend(high: Floats, low: Floats, close: Floats, reach: Floats) -> tuple[Floats, NDArray[np.int8]]:
    line, flips = np.full(close.size, np.nan), np.zeros(close.size, np.int8)
    direction, upper, lower = 0, np.nan, np.nan
    for i in range(close.size):
        if not abs(reach[i]) < np.inf:
            direction, upper, lower = 0, np.nan, np.nan
            continue
        middle = (high[i] + low[i]) / 2.0
        # Where a band is not known yet both comparisons are false.
        if not (middle + reach[i] >= upper and close[i - 1] <= upper):
            upper = middle + reach[i]
        if not (middle - reach[i] <= lower and close[i - 1] >= lower):
            lower = middle - reach[i]
        before = direction
        if direction >= 0 and close[i] < lower:
            direction = -1
        elif direction <= 0 and close[i] > upper:
            direction = 1
        if direction != before and before != 0:
            flips[i] = direction
        if direction != 0:
            line[i] = lower if direction > 0 else upper
    return line, flips
