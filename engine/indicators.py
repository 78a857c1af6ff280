"""Indicators for strategies: causal, one value a bar, NaN until there are enough bars.

Every function takes polars columns or numpy arrays (null counts as NaN) and returns new float64 arrays of the same
length whose value at i depends on values up to i only. Those marked "window" depend on the last `length` values alone,
bit for bit, so that a longer warm-up changes nothing; the others remember everything before (as EMA does) and settle
after several lengths. Lengths are at least 1.
"""

import numpy as np
import polars as pl
import talib
from numpy.typing import NDArray

from engine.numeric.arrays import Floats, read_only
from engine.numeric.compiled import compiled

Column = pl.Series | Floats

ACTIONS = pl.Enum(["BUY", "SELL", "CLOSE"])
_SINGLE = {action: pl.Series("action", [action], ACTIONS) for action in (*ACTIONS.categories, None)}
TOLERANCE = 1e-9
"""Of the close: differences within it are ties."""
_BLOCK = 4096


def sma(values: Column, length: int) -> Floats:
    """Return the simple moving average; window: the exact sum of the last `length` values, rounded once, over length.

    Equal to math.fsum(window) / length. NaN wherever the window is short or holds a value that is not finite.
    """
    return _sma(as_floats(values), length)


def crosses(a: Column, b: Column, close: Column) -> NDArray[np.int8]:
    """Return +1 where a crosses above b, -1 where below, else 0, ties within 1e-9 * close left out.

    Above at t: a - b > tol there, and at the last earlier bar with |a - b| > tol it was < -tol, each with the tol of
    its own bar. Bars where a, b or close is NaN are passed over.
    """
    return _crosses(as_floats(a), as_floats(b), as_floats(close))


def sma_crosses(close: Column, fast: int, slow: int) -> NDArray[np.int8]:
    """Return crosses(sma(close, fast), sma(close, slow), close), bit for bit, in one pass. fast must be below slow."""
    closes = as_floats(close)
    codes, sure = _clear_crosses(closes, fast, slow)
    return codes if sure else crosses(sma(closes, fast), sma(closes, slow), closes)


def actions(codes: NDArray[np.int8], above: str = "BUY", below: str = "SELL") -> pl.Series:
    """Return the `action` column of `decide_all` from codes: `above` where they are above 0, `below` where below."""
    code = pl.Series(codes)
    return _SINGLE[above].zip_with(code > 0, _SINGLE[below].zip_with(code < 0, _SINGLE[None]))


def ema(values: Column, length: int) -> Floats:
    """Return the exponential moving average, alpha 2 / (length + 1), begun with the mean of the first `length`."""
    return _floats(talib.EMA(as_floats(values), timeperiod=length)) if length > 1 else as_floats(values).copy()


def wma(values: Column, length: int) -> Floats:
    """Return the linearly weighted moving average, the newest weighing most."""
    return _floats(talib.WMA(as_floats(values), timeperiod=length)) if length > 1 else as_floats(values).copy()


def standard_deviation(values: Column, length: int) -> Floats:
    """Return the population standard deviation about the window's own mean; window."""
    return _standard_deviation(as_floats(values), length)


def bollinger_bands(values: Column, length: int, deviations: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Return upper, middle (SMA) and lower band, `deviations` population standard deviations apart; window."""
    middle = sma(values, length)
    reach = deviations * standard_deviation(values, length)
    return middle + reach, middle, middle - reach


def rsi(values: Column, length: int = 14) -> Floats:
    """Return Wilder's relative strength index, 0 to 100. length at least 2."""
    return _floats(talib.RSI(as_floats(values), timeperiod=length))


def atr(high: Column, low: Column, close: Column, length: int = 14) -> Floats:
    """Return Wilder's average true range, in price units."""
    return _floats(talib.ATR(as_floats(high), as_floats(low), as_floats(close), timeperiod=length))


def adx(high: Column, low: Column, close: Column, length: int = 14) -> Floats:
    """Return Wilder's average directional index, 0 to 100. length at least 2."""
    return _floats(talib.ADX(as_floats(high), as_floats(low), as_floats(close), timeperiod=length))


def macd(values: Column, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Floats, Floats, Floats]:
    """Return MACD line, signal line and their difference, Appel's."""
    line, average, histogram = talib.MACD(as_floats(values), fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return _floats(line), _floats(average), _floats(histogram)


def stochastic(
    high: Column, low: Column, close: Column, length: int = 14, smooth: int = 3, signal: int = 3
) -> tuple[Floats, Floats]:
    """Return Lane's slow stochastic %K and %D, 0 to 100."""
    columns = as_floats(high), as_floats(low), as_floats(close)
    slow_k, slow_d = talib.STOCH(*columns, fastk_period=length, slowk_period=smooth, slowd_period=signal)
    return _floats(slow_k), _floats(slow_d)


def highest(values: Column, length: int) -> Floats:
    """Return the largest of the last `length` values, the newest included; window."""
    return _floats(talib.MAX(as_floats(values), timeperiod=length)) if length > 1 else as_floats(values).copy()


def lowest(values: Column, length: int) -> Floats:
    """Return the smallest of the last `length` values, the newest included; window."""
    return _floats(talib.MIN(as_floats(values), timeperiod=length)) if length > 1 else as_floats(values).copy()


def momentum(values: Column, length: int) -> Floats:
    """Return the change over `length` bars, in the values' units; window."""
    return _floats(talib.MOM(as_floats(values), timeperiod=length))


def as_floats(values: Column) -> Floats:
    """Return a contiguous read-only float64 view (a copy where it must be one), NaN for null."""
    array = values.cast(pl.Float64).to_numpy() if isinstance(values, pl.Series) else values
    return read_only(np.asarray(array, dtype=np.float64))


def _floats(values: Floats) -> Floats:
    """Give TA-Lib's untyped answer its type."""
    return values


@compiled
def _sma(values: Floats, length: int) -> Floats:
    averages = np.empty(values.size)
    total, errors, count = 0.0, 0.0, 0
    for i in range(values.size):
        averages[i] = np.nan
        if not abs(values[i]) < np.inf:
            total, errors, count = 0.0, 0.0, 0
            continue
        total, errors = _slide(total, errors, values[i], values[i - length] if count == length else 0.0)
        count = min(count + 1, length)
        if count == length:
            averages[i] = (total + errors) / length
    return averages


@compiled
def _slide(total: float, errors: float, new: float, old: float) -> tuple[float, float]:
    """Add new - old to a sum kept exactly in two doubles, total + errors.

    Knuth's TwoSum gives the rounding error of each addition, and `errors` collects them exactly, since all are whole
    multiples of the smallest value's last bit and far fewer than 2^53 of those. So the sum is the true one however many
    values went through it, and adding the two rounds once (Ogita, Rump & Oishi, "Accurate Sum and Dot Product", 2005).
    Values whose sizes differ by more than about 2^30 within the data lose this.
    """
    change = new - old
    virtual = change - new
    change_error = (new - (change - virtual)) - (old + virtual)
    larger = total + change
    virtual = larger - total
    return larger, errors + (((total - (larger - virtual)) + (change - virtual)) + change_error)


@compiled
def _clear_crosses(values: Floats, fast: int, slow: int) -> tuple[NDArray[np.int8], bool]:
    """Return the codes that plain running sums give, and whether exact sums would surely give the same.

    Sums begin anew with each block of bars. Within it the sum of `length` values is off by less than largest * 2^-53 *
    length * (length + 3 * block), `largest` being the greatest size so far; `doubt` is over twice what the difference
    of both averages, and that of the exact ones as rounded, can be off together. Where a difference lies that near to
    the tolerance nothing is sure, and neither is it after a value that is not finite.
    """
    codes = np.zeros(values.size, np.int8)
    block = max(_BLOCK, slow)
    of_fast, of_slow, doubt_of_largest = 1.0 / fast, 1.0 / slow, (slow + 4 * block) * 2.0**-51
    side = 0.0  # Multiplied by the difference at each bar, for which a whole number would be converted each time.
    for start in range(slow - 1, values.size, block):
        fast_total, slow_total, largest = 0.0, 0.0, 0.0
        for i in range(start - slow + 1, start):
            slow_total += values[i]
            fast_total += values[i] if i > start - fast else 0.0
            largest = max(largest, abs(values[i]))
        # Unsigned: an index that might count from the end costs a look each time.
        first, fast_back, slow_back = np.uintp(start), np.uintp(fast), np.uintp(slow)
        for i in range(first, np.uintp(min(start + block, values.size))):
            fast_total += values[i] - (values[i - fast_back] if i > first else 0.0)
            slow_total += values[i] - (values[i - slow_back] if i > first else 0.0)
            largest = max(largest, abs(values[i]))
            difference = fast_total * of_fast - slow_total * of_slow
            tolerance, doubt = TOLERANCE * abs(values[i]), doubt_of_largest * largest
            if side * difference > tolerance + doubt:
                continue
            if not abs(abs(difference) - tolerance) > doubt:
                return codes, False
            now = _side(difference, TOLERANCE * values[i], side)
            if now != side:
                codes[i] = now if side != 0.0 else 0.0
                side = now
    return codes, True


@compiled
def _crosses(a: Floats, b: Floats, close: Floats) -> NDArray[np.int8]:
    codes = np.zeros(a.size, np.int8)
    side = 0.0
    for i in range(a.size):
        now = _side(a[i] - b[i], TOLERANCE * close[i], side)
        codes[i] = now if now != side and side != 0.0 else 0.0
        side = now
    return codes


@compiled
def _side(difference: float, tolerance: float, before: float) -> float:
    """Return on which side a lies of b: 1 above, -1 below; within the tolerance (or NaN) the side it had before."""
    if difference > tolerance:
        return 1.0
    return -1.0 if difference < -tolerance else before


@compiled
def _standard_deviation(values: Floats, length: int) -> Floats:
    deviations = np.full(values.size, np.nan)
    for i in range(length - 1, values.size):
        mean = 0.0
        for j in range(i - length + 1, i + 1):
            mean += values[j]
        mean /= length
        squares = 0.0
        for j in range(i - length + 1, i + 1):
            squares += (values[j] - mean) ** 2
        deviations[i] = np.sqrt(squares / length)
    return deviations
