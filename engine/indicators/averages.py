"""Averages over the last values of a column, and what is made of their differences."""

import numpy as np
import polars as pl
import talib

from engine.indicators.columns import Column, by_stretch, looked_back_over, series, whole
from engine.indicators.exact_sums import exact_sma
from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled


def sma(values: Column, length: int) -> pl.Series:
    """Return the simple moving average; window: the exact sum of the last `length` values, rounded once, over length.

    Equal to math.fsum(window) / length.
    """
    return series("sma", exact_sma(looked_back_over(values), whole(length)))


def ema(values: Column, length: int) -> pl.Series:
    """Return the exponential moving average, alpha 2 / (length + 1), begun with the mean of the first `length`."""
    return series("ema", exponential(looked_back_over(values), whole(length)))


def wma(values: Column, length: int) -> pl.Series:
    """Return the linearly weighted moving average, the newest weighing most; window up to rounding."""
    return series("wma", *by_stretch(lambda floats: (talib.WMA(floats, length),), whole(length) - 1, values))


def macd(values: Column, fast: int = 12, slow: int = 26, signal: int = 9) -> pl.Series:
    """Return Appel's MACD line: the fast exponential average less the slow one. fast and slow may be given in either
    order. The line, its signal line and their difference all begin where the signal line does.
    """
    return series("macd", _macd(values, fast, slow, signal)[0])


def macd_signal(values: Column, fast: int = 12, slow: int = 26, signal: int = 9) -> pl.Series:
    """Return the exponential average of the MACD line."""
    return series("macd_signal", _macd(values, fast, slow, signal)[1])


def macd_hist(values: Column, fast: int = 12, slow: int = 26, signal: int = 9) -> pl.Series:
    """Return the MACD line less its signal line."""
    return series("macd_hist", _macd(values, fast, slow, signal)[2])


def _macd(values: Column, fast: int, slow: int, signal: int) -> tuple[Floats, ...]:
    fast, slow = sorted((whole(fast), whole(slow)))
    signal = whole(signal)

    def of_stretch(floats: Floats) -> tuple[Floats, ...]:
        if fast > 1:
            lines: tuple[Floats, ...] = talib.MACD(floats, fast, slow, signal)
            return lines
        line = floats - exponential(floats, slow)
        average = exponential(line, signal)
        line[: slow + signal - 2] = np.nan
        return line, average, line - average

    return by_stretch(of_stretch, slow + signal - 2, values, count=3)


@compiled
def exponential(values: Floats, length: int) -> Floats:
    """As ema, NaN where it is unknown: TA-Lib's steps, which would have to be asked anew after each hole."""
    averages = np.full(values.size, np.nan)
    average, count, share = 0.0, 0, 2.0 / (length + 1)
    for i in range(values.size):
        if not abs(values[i]) < np.inf:
            average, count = 0.0, 0
            continue
        count += 1
        if count <= length:
            average += values[i]
            if count == length:
                average /= length
        else:
            average = (values[i] - average) * share + average
        if count >= length:
            averages[i] = average
    return averages
