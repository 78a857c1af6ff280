"""Numbers as files write them, to doubles that are exactly those written; apart because bars and signals share it.

Whole numbers and decimals of Parquet are accepted; Float32 is refused, since it cannot hold a price as written.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from consumer.adapters.files.tables import one_line, row_message
from engine.errors import InputRefused


def parse_numbers(frame: pl.DataFrame, names: Iterable[str], source: str, refused: type[InputRefused]) -> pl.DataFrame:
    """Return the frame with these columns as Float64, nulls kept; `time` must be parsed already (it names the row).

    Text is read to the nearest double, as float() does. Raises `refused` for the first row that is not a number.
    """
    for name in names:
        column = frame[name]
        frame = frame.with_columns(_exact_doubles(column, frame, source, refused).alias(name))
    return frame


def has_decimal_commas(frame: pl.DataFrame, names: Sequence[str]) -> bool:
    """Whether the texts of these columns write 1,5 for 1.5: some have a comma, and none has a point."""
    texts = [frame[name] for name in names if frame.schema[name] == pl.String]
    has_commas = any(column.str.contains(",", literal=True).any() for column in texts)
    return has_commas and not any(column.str.contains(".", literal=True).any() for column in texts)


def with_decimal_points(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the frame with 1.5 for 1,5 in these columns; text with two commas stays, and is no number."""
    texts = [name for name in names if frame.schema[name] == pl.String]
    return frame.with_columns(pl.col(texts).str.replace(r"^([^,]*),([^,]*)$", "${1}.${2}"))


def _exact_doubles(column: pl.Series, frame: pl.DataFrame, source: str, refused: type[InputRefused]) -> pl.Series:
    if column.dtype == pl.Float64:
        return column
    if column.dtype.is_integer():
        doubles = column.cast(pl.Float64)
        _refuse_rows(frame, column, doubles.abs() > 2.0**53, "is beyond what a double holds exactly", source, refused)
        return doubles
    if column.dtype.is_decimal():
        return column.cast(pl.String).cast(pl.Float64)
    if column.dtype == pl.Null:
        return column.cast(pl.Float64)
    if column.dtype != pl.String:
        raise refused(f"{source}: column {column.name!r} is {column.dtype}, wanted Float64, whole numbers or decimals")
    text = column.str.strip_chars(" \t")
    doubles = text.cast(pl.Float64, strict=False)
    unparsed = doubles.is_null() & (text.str.len_bytes() > 0)
    _refuse_rows(frame, column, unparsed, "is not a number", source, refused)
    return doubles


def _refuse_rows(
    frame: pl.DataFrame, column: pl.Series, wrong: pl.Series, what: str, source: str, refused: type[InputRefused]
) -> None:
    if not wrong.any():
        return
    row = int(wrong.arg_true()[0])
    time = frame["time"][row].isoformat().replace("+00:00", "Z")
    written = column[row]
    shown = one_line(written) if isinstance(written, str) else written
    raise refused(row_message(source, row, time, f"{column.name} {shown!r} {what}"))
