"""Indicators for strategies: causal, one value a bar, null where it is not known yet.

Every function takes a polars Series (or a frame of one column, as an expression's result), a numpy array or a list, and
returns new polars Series of the same length, Float64, whose value at i depends on values up to i only. Null, NaN and
infinity are unknown values. A window that holds one is unknown until it has passed, and what remembers everything
before (as EMA does) begins anew after one. Functions marked "window" depend on the last `length` values alone, bit for
bit, so that a longer warm-up changes nothing; the others settle after several lengths. Lengths are at least 1. Values
are TA-Lib's. Those of high, low and close take these three first.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

import numpy as np
import polars as pl
import talib
from numpy.typing import NDArray

from engine.numeric.arrays import Floats, read_only
from engine.numeric.compiled import compiled

Column = pl.Series | pl.DataFrame | NDArray[np.generic] | Sequence[float | None]

ACTIONS = pl.Enum(["BUY", "SELL", "CLOSE"])
_SINGLE = {action: pl.Series("action", [action], ACTIONS) for action in (*ACTIONS.categories, None)}
TOLERANCE = 1e-9
"""Of the close: differences within it are ties."""
_BLOCK = 4096
heard_by: ContextVar[Callable[[Floats], None] | None] = ContextVar("heard_by", default=None)
"""Is told of every column that an indicator looks back over; an audit listens, a run does not."""


def sma(values: Column, length: int) -> pl.Series:
    """Return the simple moving average; window: the exact sum of the last `length` values, rounded once, over length.

    Equal to math.fsum(window) / length.
    """
    return _series("sma", _sma(_looked_back_over(values), length))


def crosses(a: Column, b: Column, close: Column) -> NDArray[np.int8]:
    """Return +1 where a crosses above b, -1 where below, else 0, ties within 1e-9 * close left out.

    Above at t: a - b > tol there, and at the last earlier bar with |a - b| > tol it was < -tol, each with the tol of
    its own bar. Bars where a, b or close is unknown are passed over.
    """
    return _crosses(as_floats(a), as_floats(b), as_floats(close))


def sma_crosses(close: Column, fast: int, slow: int) -> NDArray[np.int8]:
    """Return crosses(sma(close, fast), sma(close, slow), close), bit for bit, in one pass. fast must be below slow."""
    closes = _looked_back_over(close)
    codes, sure = _clear_crosses(closes, fast, slow)
    return codes if sure else _crosses(_sma(closes, fast), _sma(closes, slow), closes)


def actions(codes: NDArray[np.int8], above: str = "BUY", below: str = "SELL") -> pl.Series:
    """Return the `action` column of `decide_all` from codes: `above` where they are above 0, `below` where below."""
    code = pl.Series(codes)
    return _SINGLE[above].zip_with(code > 0, _SINGLE[below].zip_with(code < 0, _SINGLE[None]))


def ema(values: Column, length: int) -> pl.Series:
    """Return the exponential moving average, alpha 2 / (length + 1), begun with the mean of the first `length`."""
    return _one("ema", talib.EMA, length, values)


def wma(values: Column, length: int) -> pl.Series:
    """Return the linearly weighted moving average, the newest weighing most; window up to rounding."""
    return _one("wma", talib.WMA, length, values)


def standard_deviation(values: Column, length: int) -> pl.Series:
    """Return the population standard deviation about the window's own mean; window."""
    return _series("standard_deviation", _standard_deviation(_looked_back_over(values), length))


def bollinger_bands(values: Column, length: int, deviations: float = 2.0) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Return upper, middle (SMA) and lower band, `deviations` population standard deviations apart; window."""
    floats = _looked_back_over(values)
    middle = _sma(floats, length)
    reach = deviations * _standard_deviation(floats, length)
    return (
        _series("bollinger_upper", middle + reach),
        _series("bollinger_middle", middle),
        _series("bollinger_lower", middle - reach),
    )


def rsi(values: Column, length: int = 14) -> pl.Series:
    """Return Wilder's relative strength index, 0 to 100. length at least 2.

    Unknown too while the values have not moved at all: no gain over no loss is nothing, where TA-Lib says 0.
    """

    def of_stretch(floats: Floats) -> tuple[Floats]:
        strength: Floats = talib.RSI(floats, timeperiod=length)
        moved = floats != floats[:1]
        strength[: moved.argmax() if moved.any() else None] = np.nan
        return (strength,)

    return _series("rsi", *_by_stretch(of_stretch, 1, values))


def atr(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's average true range, in price units."""
    return _one("atr", talib.ATR, length, high, low, close)


def adx(high: Column, low: Column, close: Column, length: int = 14) -> pl.Series:
    """Return Wilder's average directional index, 0 to 100. length at least 2."""
    return _one("adx", talib.ADX, length, high, low, close)


def macd(values: Column, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Return MACD line, signal line and their difference, Appel's; all three begin together."""

    def of_stretch(floats: Floats) -> tuple[Floats, ...]:
        return tuple(talib.MACD(floats, fastperiod=fast, slowperiod=slow, signalperiod=signal))

    line, average, histogram = _by_stretch(of_stretch, 3, values)
    return _series("macd", line), _series("macd_signal", average), _series("macd_hist", histogram)


def stochastic(
    high: Column, low: Column, close: Column, length: int = 14, smooth: int = 3, signal: int = 3
) -> tuple[pl.Series, pl.Series]:
    """Return Lane's slow stochastic %K and %D, 0 to 100; both begin together.

    Unknown too where a window that goes into it has no range: its close stands nowhere in it, where TA-Lib says 0.
    """

    def of_stretch(highs: Floats, lows: Floats, closes: Floats) -> tuple[Floats, ...]:
        slow: tuple[Floats, ...] = talib.STOCH(
            highs, lows, closes, fastk_period=length, slowk_period=smooth, slowd_period=signal
        )
        top, bottom = (talib.MAX(highs, length), talib.MIN(lows, length)) if length > 1 else (highs, lows)
        flat = np.flatnonzero(top == bottom)
        for values, reach in zip(slow, (smooth, smooth + signal - 1), strict=True):
            for later in range(reach):
                values[flat[flat + later < closes.size] + later] = np.nan
        return slow

    slow_k, slow_d = _by_stretch(of_stretch, 2, high, low, close)
    return _series("stoch_k", slow_k), _series("stoch_d", slow_d)


def highest(values: Column, length: int) -> pl.Series:
    """Return the largest of the last `length` values, the newest included; window."""
    return _one("highest", talib.MAX, length, values)


def lowest(values: Column, length: int) -> pl.Series:
    """Return the smallest of the last `length` values, the newest included; window."""
    return _one("lowest", talib.MIN, length, values)


def momentum(values: Column, length: int) -> pl.Series:
    """Return the change over `length` bars, in the values' units; window, the value `length` bars ago included."""
    return _series("momentum", *_by_stretch(lambda floats: (talib.MOM(floats, timeperiod=length),), 1, values))


def as_floats(values: Column) -> Floats:
    """Return a contiguous read-only float64 view (a copy where it must be one), NaN for null."""
    if isinstance(values, pl.Expr):
        raise TypeError(f"an expression has no values yet: take market.bars.select({values}).to_series()")
    column = values.to_series() if isinstance(values, pl.DataFrame) and values.width == 1 else values
    array = column.cast(pl.Float64).to_numpy() if isinstance(column, pl.Series) else column
    floats = read_only(np.asarray(array, dtype=np.float64))
    if floats.ndim != 1:
        raise TypeError(f"an indicator takes one column of values, not an array of shape {floats.shape}")
    return floats


def _looked_back_over(values: Column) -> Floats:
    floats, listener = as_floats(values), heard_by.get()
    if listener is not None:
        listener(floats)
    return floats


def _one(name: str, function: Callable[..., Floats], length: int, *columns: Column) -> pl.Series:
    """Return one of TA-Lib's functions of a length; those of prices alone are the values themselves for length 1."""
    if length == 1 and len(columns) == 1:
        return _series(name, *_by_stretch(lambda floats: (floats,), 1, *columns))
    return _series(name, *_by_stretch(lambda *floats: (function(*floats, timeperiod=length),), 1, *columns))


def _by_stretch(compute: Callable[..., tuple[Floats, ...]], count: int, *columns: Column) -> tuple[Floats, ...]:
    """Return `count` arrays, computed on each stretch of rows whose values are all known; NaN in between."""
    arrays = [_looked_back_over(column) for column in columns]
    known = np.isfinite(arrays[0])
    for array in arrays[1:]:
        known &= np.isfinite(array)
    if known.all():
        return compute(*arrays)
    results = tuple(np.full(known.size, np.nan) for _ in range(count))
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False))
    for begin, end in edges.reshape(-1, 2).tolist():
        stretch = compute(*(array[begin:end] for array in arrays))
        for result, values in zip(results, stretch, strict=True):
            result[begin:end] = values
    return results


def _series(name: str, values: Floats) -> pl.Series:
    return pl.Series(name, values, nan_to_null=True)


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
