"""How far values spread and reach: deviations, extremes, true ranges, and the bands made of them."""

import numpy as np
import polars as pl
import talib
from numpy.typing import NDArray

from engine.indicators.columns import Column, as_floats, by_stretch, looked_back_over, series, whole
from engine.indicators.exact_sums import exact_sma, exact_stddev
from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled


def stddev(values: Column, length: int) -> pl.Series:
    """Return the population standard deviation; window, from exact sums: 0 where, and only where, all values are equal.

    Values beyond 1e150 are unknown.
    """
    return series("stddev", exact_stddev(looked_back_over(values), whole(length)))


def bollinger_upper(values: Column, length: int, deviations: float = 2.0) -> pl.Series:
    """Return the simple moving average plus `deviations` population standard deviations; window."""
    floats = looked_back_over(values)
    return series("bollinger_upper", exact_sma(floats, whole(length)) + deviations * exact_stddev(floats, length))


def bollinger_lower(values: Column, length: int, deviations: float = 2.0) -> pl.Series:
    """Return the simple moving average less `deviations` population standard deviations; window."""
    floats = looked_back_over(values)
    return series("bollinger_lower", exact_sma(floats, whole(length)) - deviations * exact_stddev(floats, length))


def highest(values: Column, length: int) -> pl.Series:
    """Return the largest of the last `length` values, the newest included; window."""
    return series("highest", extremes(looked_back_over(values), whole(length), 1.0))


def lowest(values: Column, length: int) -> pl.Series:
    """Return the smallest of the last `length` values, the newest included; window."""
    return series("lowest", extremes(looked_back_over(values), whole(length), -1.0))


def atr(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's average true range, in price units; first known at the bar after the first `length`."""

    def of_stretch(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats]:
        return (talib.ATR(highs, lows, closes, length),)

    return series("atr", *by_stretch(of_stretch, whole(length), high, low, close))


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
