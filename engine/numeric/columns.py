"""A short table as arrays. polars takes some 10 us to take over an array, and again to give it back: for the tables of
a small run, some forty columns in all, that is most of what they cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

TIME: Final = pl.Datetime("us", "UTC")
MOMENTS: Final = np.dtype("datetime64[us]")
_FLOAT = np.dtype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column of texts: row i is texts[codes[i]]. None is null."""

    texts: tuple[str | None, ...]
    codes: NDArray[np.int64]

    @property
    def size(self) -> int:
        return self.codes.size


Column = NDArray[Any] | Coded
"""Contiguous. float64, in which NaN is null; int64; datetime64[us], UTC; texts."""
Columns = Mapping[str, Column]
"""By name, in order; all of one length."""


def repeated(text: str | None, rows: int) -> Coded:
    """The same text in every row."""
    return Coded((text,), np.zeros(rows, np.int64))


def coded(texts: pl.Series | None, rows: int) -> Coded:
    """A column of strings; None is one of nulls."""
    if texts is None or texts.null_count() == texts.len():
        return repeated(None, rows)
    places: dict[str | None, int] = {}
    codes = [places.setdefault(text, len(places)) for text in texts.to_list()]
    return Coded(tuple(places), np.array(codes, np.int64))


def as_frame(table: pl.DataFrame | Columns) -> pl.DataFrame:
    return table if isinstance(table, pl.DataFrame) else frame_of(table)


def frame_of(columns: Columns) -> pl.DataFrame:
    """The same as a frame."""
    return pl.DataFrame([_series(name, column) for name, column in columns.items()])


def columns_of(table: pl.DataFrame) -> Columns | None:
    """The same as arrays; None: something in it cannot be told by them."""
    columns = {column.name: found for column in table.get_columns() if (found := _column(column)) is not None}
    return columns if len(columns) == table.width else None


def height_of(columns: Columns) -> int:
    return next(iter(columns.values())).size


def _series(name: str, column: Column) -> pl.Series:
    if isinstance(column, Coded):
        texts = pl.Series(name, column.texts, dtype=pl.String)
        return texts.new_from_index(0, column.size) if texts.len() == 1 else texts[column.codes]
    if column.dtype == MOMENTS:
        return pl.Series(name, column.view(np.int64)).cast(TIME)
    return pl.Series(name, column, nan_to_null=column.dtype == _FLOAT)


def _column(column: pl.Series) -> Column | None:
    if column.dtype == pl.String:
        return coded(column, column.len())
    if column.dtype == pl.Float64:
        values = column.to_numpy()
        return values if column.null_count() == np.count_nonzero(np.isnan(values)) else None
    if column.dtype not in {pl.Int64, TIME} or column.null_count():
        return None
    return column.to_numpy()
