"""Columns of numbers as differences of whole numbers, where that gives every value back: a third of their text.

value[i] = (deltas[0] + ... + deltas[i]) / scale, as `core/packed.ts` of the page reads it.
"""

from typing import Any, Final

import numpy as np
import polars as pl

from engine.numeric.csv_rows import iso_text

_SCALES: Final = tuple(10**digits for digits in range(9))
_LARGEST: Final = 2.0**52


def packed(column: pl.Series) -> Any:
    """A JSON value: packed, or a list. Times become epoch seconds where they are whole ones."""
    if isinstance(column.dtype, pl.Datetime):
        return _packed_times(column)
    if not column.len() or column.null_count() or not column.dtype.is_numeric():
        return _listed(column)
    values = column.cast(pl.Float64).to_numpy()
    for scale in _SCALES:
        whole = np.rint(values * scale)
        if np.abs(whole).max() < _LARGEST and np.array_equal(whole / scale, values):
            return _deltas(whole.astype(np.int64), scale)
    return _listed(column)


def _packed_times(column: pl.Series) -> Any:
    if not column.len() or column.null_count():
        return _listed(column.to_frame("time").select(iso_text("time")).to_series())
    moments_us = column.cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
    if (moments_us % 1_000_000).any():
        return _listed(column.to_frame("time").select(iso_text("time")).to_series())
    return _deltas(moments_us // 1_000_000, 1)


def _deltas(whole: Any, scale: int) -> dict[str, Any]:
    return {"scale": scale, "deltas": np.diff(whole, prepend=0).tolist()}


def _listed(column: pl.Series) -> list[Any]:
    return (column.fill_nan(None) if column.dtype.is_float() else column).to_list()
