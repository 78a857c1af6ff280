"""Where one column crosses another, ties left out, and the column of actions made of it."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.indicators.columns import Column, all_known, as_floats, looked_back_over
from engine.indicators.exact_sums import exact_sma
from engine.indicators.shared import TOLERANCE_OF_CLOSE, NotedActions, never_changes, shared_columns, where_not_zero
from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled

ACTIONS = pl.Enum(["BUY", "SELL", "CLOSE"])
TOLERANCE = TOLERANCE_OF_CLOSE
"""Of the close, or of the larger side: differences within it are ties."""
_SINGLE = {action: pl.Series("action", [action], ACTIONS) for action in (*ACTIONS.categories, None)}
_BLOCK = 4096
_NO_CLOSE = np.empty(0)
_NO_CLOSE.flags.writeable = False


def crosses_above(a: Column | float, b: Column | float, close: Column | None = None) -> pl.Series:
    """Return where a crosses above b: true, false, or null where either is unknown. See crosses."""
    return _crossed("crosses_above", a, b, close, 1)


def crosses_below(a: Column | float, b: Column | float, close: Column | None = None) -> pl.Series:
    """Return where a crosses below b: true, false, or null where either is unknown. See crosses."""
    return _crossed("crosses_below", a, b, close, -1)


def crosses(a: Column | float, b: Column | float, close: Column | None = None) -> NDArray[np.int8]:
    """Return +1 where a crosses above b, -1 where below, else 0; ties, differences within a tolerance, are left out.

    Above at t: a - b > tol there, and at the last earlier bar with |a - b| > tol it was < -tol, each with the tol of
    its own bar: 1e-9 * close, which suits prices and averages of prices; without close 1e-9 times the larger of a and
    b. One of a and b may be a number. Bars where a, b or close is unknown are passed over.
    """
    return _crosses(*_sides(a, b), _NO_CLOSE if close is None else as_floats(close))


def sma_crosses(close: Column, fast: int, slow: int) -> NDArray[np.int8]:
    """Return crosses(sma(close, fast), sma(close, slow), close), bit for bit, in one pass. fast must be below slow."""
    closes = looked_back_over(close)
    shared = shared_columns.get()
    if shared is not None and never_changes(closes):
        codes, sure = shared.sma_crosses(closes, fast, slow)
        if sure:
            return codes
    codes, sure = _clear_crosses(closes, fast, slow)
    return codes if sure else _crosses(exact_sma(closes, fast), exact_sma(closes, slow), closes)


def actions(codes: NDArray[np.int8], above: str = "BUY", below: str = "SELL") -> pl.Series:
    """Return the `action` column of `decide_all` from codes: `above` where they are above 0, `below` where below."""
    shared = shared_columns.get()
    # Of anything else that has signs, a search makes the column as a run does.
    plain = isinstance(codes, np.ndarray) and codes.dtype == np.int8 and codes.ndim == 1 and codes.flags.c_contiguous
    if shared is None or not plain:
        code = pl.Series(codes)
        return _SINGLE[above].zip_with(code > 0, _SINGLE[below].zip_with(code < 0, _SINGLE[None]))
    rows, signs = where_not_zero(codes)
    # Few rows have one: they are written into a column of nulls, which takes half the time.
    column = shared.nulls(codes.size, _SINGLE[None]).scatter(
        rows, _SINGLE[above].zip_with(pl.Series(signs > 0), _SINGLE[below])
    )
    shared.actions = NotedActions(column, rows, signs, above, below)
    return column


def _crossed(name: str, a: Column | float, b: Column | float, close: Column | None, code: int) -> pl.Series:
    sides = _sides(a, b)
    closes = _NO_CLOSE if close is None else as_floats(close)
    crossed = pl.Series(name, _crosses(*sides, closes) == code)
    known = all_known(*sides, *([] if close is None else [closes]))
    return crossed if known.all() else crossed.zip_with(pl.Series(known), pl.Series([None], dtype=pl.Boolean))


def _sides(a: Column | float, b: Column | float) -> tuple[Floats, Floats]:
    if not isinstance(a, int | float):
        floats = as_floats(a)
        return floats, as_floats(np.full(floats.size, float(b)) if isinstance(b, int | float) else b)
    if isinstance(b, int | float):
        raise TypeError("two numbers never cross: one of a and b is a column")
    floats = as_floats(b)
    return as_floats(np.full(floats.size, float(a))), floats


@compiled
def _crosses(a: Floats, b: Floats, close: Floats) -> NDArray[np.int8]:
    """close: of each bar; empty where the larger side is what the tolerance is taken of."""
    codes = np.zeros(a.size, np.int8)
    of_close = close.size > 0
    side = 0.0
    for i in range(a.size):
        difference = a[i] - b[i]
        if not abs(difference) < np.inf:
            continue
        scale = close[i] if of_close else max(abs(a[i]), abs(b[i]))
        now = _side(difference, TOLERANCE * scale, side)
        codes[i] = now if now != side and side != 0.0 else 0.0
        side = now
    return codes


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
def _side(difference: float, tolerance: float, before: float) -> float:
    """Return on which side a lies of b: 1 above, -1 below; within the tolerance (or NaN) the side it had before."""
    if difference > tolerance:
        return 1.0
    return -1.0 if difference < -tolerance else before
