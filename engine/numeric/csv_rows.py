"""A table's rows as CSV text, rendered in one compiled pass.

polars writes CSV in threads of its own and takes half a millisecond until they are done, which is a tenth of a small
run; it is asked where a value is none that is rendered here.
"""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.numeric.columns import Coded, Columns, as_frame, columns_of, height_of

TimeStyle = Literal["iso", "sql"]
"""iso: 2024-01-02T03:04:05Z, with microseconds only where there are any. sql: 2024-01-02 03:04:05.000000+00."""

_SQL_TIME: Final = "%Y-%m-%d %H:%M:%S%.6f+00"
_LONGEST_NUMBER: Final = 32
_PART: Final = 512
"""Rows: memory that is used again and again is in reach, and is not asked of the system."""
_NEEDS_QUOTES: Final = frozenset(',"\r\n')


def csv_rows(table: pl.DataFrame | Columns, time_style: TimeStyle) -> bytes:
    """Return the rows without a header, as `write_csv` of polars renders them but for times.

    Columns: Float64, Int64, String and Datetime us UTC. Floats as their shortest text that reads back as the same
    double; null is an empty field, an empty text is quoted.
    """
    columns = columns_of(table) if isinstance(table, pl.DataFrame) else table
    rendered = None if columns is None else _rendered(columns, time_style)
    if rendered is None:
        return _by_polars(as_frame(table), time_style)
    return rendered


def _rendered(table: Columns, time_style: TimeStyle) -> bytes | None:
    """The rows; None: a value is for polars."""
    from engine.numeric import csv_kernel as kernel  # here: it loads the compiler, and not all who write tables need it

    height = height_of(table)
    floats: list[NDArray[np.float64]] = []
    integers: list[NDArray[np.int64]] = []
    texts = _Texts()
    kinds = []
    for column in table.values():
        if isinstance(column, Coded):
            kinds.append(kernel.TEXT)
            integers.append(texts.places(column))
        elif column.dtype == np.float64:
            kinds.append(kernel.FLOAT)
            floats.append(column)
        else:
            kinds.append(kernel.INTEGER if column.dtype == np.int64 else kernel.TIME)
            integers.append(column.view(np.int64))
    columns = (np.array(kinds), _stacked(floats, np.float64), _stacked(integers, np.int64), *texts.arrays())
    longest_row = texts.longest * kinds.count(kernel.TEXT) + _LONGEST_NUMBER * len(kinds)
    out = np.empty(min(_PART, height) * longest_row, np.uint8)
    parts = []
    for first in range(0, height, _PART):
        size = kernel.render(*columns, time_style == "sql", first, min(first + _PART, height), out)
        if size < 0:
            return None
        parts.append(out[:size].tobytes())
    return b"".join(parts)


def _stacked(columns: Sequence[NDArray[Any]], dtype: type[Any]) -> NDArray[Any]:
    return np.stack(columns) if columns else np.empty((0, 0), dtype)


class _Texts:
    """Every text of a table once, as it stands in CSV; the first is that of null."""

    def __init__(self) -> None:
        self._place: dict[str | None, int] = {None: 0}
        self._rendered = [b""]

    def places(self, column: Coded) -> NDArray[np.int64]:
        places: NDArray[np.int64] = np.array([self._place_of(text) for text in column.texts], np.int64)[column.codes]
        return places

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All of them in a row, and where each begins; the last number is where the last one ends."""
        begins = np.cumsum([0, *map(len, self._rendered)])
        return np.frombuffer(b"".join(self._rendered), np.uint8), begins

    @property
    def longest(self) -> int:
        return max(map(len, self._rendered))

    def _place_of(self, text: str | None) -> int:
        place = self._place.get(text)
        if place is None:
            place = self._place[text] = len(self._rendered)
            self._rendered.append(_quoted(text or "").encode())
        return place


def _quoted(text: str) -> str:
    if text and _NEEDS_QUOTES.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _by_polars(table: pl.DataFrame, time_style: TimeStyle) -> bytes:
    buffer = BytesIO()
    if time_style == "sql":
        table.write_csv(buffer, include_header=False, datetime_format=_SQL_TIME)
    else:
        times = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.Datetime)]
        table.with_columns(iso_text(name) for name in times).write_csv(buffer, include_header=False)
    return buffer.getvalue()


def iso_text(column: str) -> pl.Expr:
    """A UTC time column as ISO 8601 with Z; microseconds only where there are any."""
    time = pl.col(column)
    whole = time.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return pl.when(time.dt.microsecond() == 0).then(whole).otherwise(time.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
