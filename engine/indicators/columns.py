"""Columns as indicators take them and give them back: unknown values are NaN inside, null outside."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.numeric.arrays import Floats, read_only

Column = pl.Series | pl.DataFrame | NDArray[np.generic] | Sequence[float | None]

heard_by: ContextVar[Callable[[Floats], None] | None] = ContextVar("heard_by", default=None)
"""Is told of every column that an indicator looks back over; an audit listens, a run does not."""


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


def looked_back_over(values: Column) -> Floats:
    """Return the column as floats, and tell whoever listens."""
    floats, listener = as_floats(values), heard_by.get()
    if listener is not None:
        listener(floats)
    return floats


def whole(length: int, least: int = 1) -> int:
    """Return the length. Raises ValueError where it is none: TA-Lib would say TA_BAD_PARAM, others anything."""
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < least:
        raise ValueError(f"a length is a whole number from {least} on, not {length!r}")
    return int(length)


def by_stretch(
    compute: Callable[..., tuple[Floats, ...]], lookback: int, *columns: Column, count: int = 1
) -> tuple[Floats, ...]:
    """Return `count` arrays, computed on each stretch of rows whose values are all known; NaN in between.

    lookback: rows at a stretch's begin that have no value; stretches that are no longer are not looked at.
    """
    arrays = [looked_back_over(column) for column in columns]
    known = all_known(*arrays)
    if known.size > lookback and known.all():
        return compute(*arrays)
    results = tuple(np.full(known.size, np.nan) for _ in range(count))
    edges = np.flatnonzero(np.diff(known, prepend=False, append=False)).reshape(-1, 2)
    for begin, end in edges[edges[:, 1] - edges[:, 0] > lookback].tolist():
        stretch = compute(*(array[begin:end] for array in arrays))
        for result, values in zip(results, stretch, strict=True):
            result[begin:end] = values
    return results


def all_known(*arrays: Floats) -> NDArray[np.bool_]:
    """Return where the values of all arrays are numbers, finite ones."""
    known = np.isfinite(arrays[0])
    for array in arrays[1:]:
        known &= np.isfinite(array)
    return known


def series(name: str, values: Floats) -> pl.Series:
    """Return the column that an indicator answers."""
    return pl.Series(name, values, nan_to_null=True)
