"""Where a price stands among the last ones, and how surely it moves: figures without a unit.

What would be nothing over nothing is unknown here, where TA-Lib says 0: below any low, that would buy.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
import talib
from numpy.typing import NDArray

from engine.indicators.columns import Column, all_known, by_stretch, looked_back_over, series, whole
from engine.indicators.exact_sums import exact_sma
from engine.indicators.ranges import extremes
from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled


def rsi(values: Column, length: int = 14) -> pl.Series:
    """Return Wilder's relative strength index, 0 to 100. length at least 2.

    Unknown too while the values have not moved at all.
    """
    return series("rsi", _rsi(looked_back_over(values), whole(length, 2)))


def adx(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's average directional index, 0 to 100. length at least 2.

    Unknown too while no bar has gone beyond the one before it on one side more than on the other.
    """

    def of_stretch(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats]:
        index: Floats = talib.ADX(highs, lows, closes, length)
        up, down = np.diff(highs), -np.diff(lows)
        return (_blank_before(index, (np.maximum(up, down) > 0.0) & (up != down)),)

    return series("adx", *by_stretch(of_stretch, 2 * whole(length, 2) - 1, high, low, close))


def plus_di(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's positive directional indicator, 0 to 100; unknown too while there is no true range at all."""
    return series("plus_di", *_directional(talib.PLUS_DI, high, low, close, length))


def minus_di(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's negative directional indicator, 0 to 100; unknown too while there is no true range at all."""
    return series("minus_di", *_directional(talib.MINUS_DI, high, low, close, length))


def cci(high: Column, low: Column, close: Column, length: int = 20) -> pl.Series:
    """Return Lambert's commodity channel index; window, of typical prices (high + low + close) / 3.

    Unknown too where all of a window's typical prices are equal; so always for a length of 1. Work is length a bar.
    """

    def of_stretch(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats]:
        index: Floats = talib.CCI(highs, lows, closes, length)
        typical = (highs + lows + closes) / 3.0
        index[extremes(typical, length, 1.0) == extremes(typical, length, -1.0)] = np.nan
        return (index,)

    return series("cci", *by_stretch(of_stretch, length - 1 if whole(length) > 1 else _NEVER, high, low, close))


def roc(values: Column, length: int) -> pl.Series:
    """Return the change over `length` bars in per cent; window, the value `length` bars ago included.

    Unknown too where that value is 0.
    """

    def of_stretch(floats: Floats) -> tuple[Floats]:
        before = np.where(floats[:-length] == 0.0, np.nan, floats[:-length])
        changes = np.full(floats.size, np.nan)
        changes[length:] = (floats[length:] / before - 1.0) * 100.0
        return (changes,)

    return series("roc", *by_stretch(of_stretch, whole(length), values))


def obv(close: Column, volume: Column) -> pl.Series:
    """Return Granville's on-balance volume: begun with the first volume; each later one added where the close rose,
    taken away where it fell. Its level depends on where the data begin.
    """
    return series("obv", *by_stretch(lambda closes, volumes: (talib.OBV(closes, volumes),), 0, close, volume))


def stoch_k(high: Column, low: Column, close: Column, length: int = 14, smooth: int = 3, signal: int = 3) -> pl.Series:
    """Return Lane's slow stochastic %K, 0 to 100: the close within the range of `length` bars, averaged over `smooth`.

    Begins where %D does. Unknown too where a window that goes into it has no range: its close stands nowhere in it.
    """
    return series("stoch_k", _stochastic(high, low, close, length, smooth, signal)[0])


def stoch_d(high: Column, low: Column, close: Column, length: int = 14, smooth: int = 3, signal: int = 3) -> pl.Series:
    """Return Lane's slow stochastic %D: the average of `signal` values of %K."""
    return series("stoch_d", _stochastic(high, low, close, length, smooth, signal)[1])


_NEVER = np.iinfo(np.int64).max


def _directional(
    indicator: Callable[..., Floats], high: Column, low: Column, close: Column, length: int
) -> tuple[Floats, ...]:
    def of_stretch(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats]:
        found: Floats = indicator(highs, lows, closes, length)
        true_range = talib.TRANGE(highs, lows, closes)
        if length == 1:
            found[true_range == 0.0] = np.nan
            return (found * 100.0,)  # Of this length alone TA-Lib gives the share, not per cent.
        return (_blank_before(found, true_range[1:] > 0.0),)

    return by_stretch(of_stretch, whole(length), high, low, close)


def _blank_before(values: Floats, moved: NDArray[np.bool_]) -> Floats:
    """Make unknown what stands before the first change. moved: of each bar but the first."""
    values[: moved.argmax() + 1 if moved.any() else None] = np.nan
    return values


def _stochastic(
    high: Column, low: Column, close: Column, length: int, smooth: int, signal: int
) -> tuple[Floats, Floats]:
    length, smooth, signal = whole(length), whole(smooth), whole(signal)
    bars = [looked_back_over(column) for column in (high, low, close)]
    known = all_known(*bars)
    highs, lows, closes = bars if known.all() else (np.where(known, column, np.nan) for column in bars)
    bottom = extremes(lows, length, -1.0)
    reach = extremes(highs, length, 1.0) - bottom
    place = (closes - bottom) / np.where(reach == 0.0, np.nan, reach / 100.0)
    slow_k = exact_sma(place, smooth)
    slow_d = exact_sma(slow_k, signal)
    rows = np.arange(known.size)
    last_unknown = np.maximum.accumulate(np.where(known, -1, rows))
    slow_k[rows - last_unknown < length + smooth + signal - 2] = np.nan
    return slow_k, slow_d


@compiled
def _rsi(values: Floats, length: int) -> Floats:
    """TA-Lib's steps, without its taking small moves for none."""
    strength = np.full(values.size, np.nan)
    count, gain, loss = 0, 0.0, 0.0
    for i in range(values.size):
        if not abs(values[i]) < np.inf:
            count, gain, loss = 0, 0.0, 0.0
            continue
        count += 1
        if count == 1:
            continue
        change = values[i] - values[i - 1]
        if count > length + 1:
            gain *= length - 1
            loss *= length - 1
        if change < 0.0:
            loss -= change
        else:
            gain += change
        if count > length:
            gain /= length
            loss /= length
            strength[i] = 100.0 * (gain / (gain + loss))
    return strength
