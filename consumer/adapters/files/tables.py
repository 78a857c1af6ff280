"""Files of rows, CSV or Parquet, to a polars frame whose numbers are exactly those written; shared by bars and signals.

CSV: comma, semicolon or tab (whichever the header line uses most), UTF-8 or UTF-16, with or without byte order mark,
any line end. A header line is required; names are matched without regard to case, surrounding blanks and the angle
brackets of MetaTrader. Every field arrives as text and is parsed here, so that a mistake is named with its row.
Parquet: whole numbers and decimals are accepted for prices; Float32 is refused, since it cannot hold a price
as written.
"""

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import polars as pl

from consumer.adapters.files.times import UnreadableTimeError, utc_times
from engine.errors import InputRefused

_PARQUET_SUFFIXES = (".parquet", ".pq")
_BLANK_LINES = re.compile(rb"\n(?:[ ]*\r?\n)+")


def read_table(path: Path, refused: type[InputRefused]) -> pl.DataFrame:
    """Read a file as `parse_table` does; `refused` also when it is missing or may not be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise refused(f"{path}: there is no such file") from None
    except OSError as error:
        raise refused(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_table(content, str(path), refused)


def parse_table(content: bytes, source: str, refused: type[InputRefused]) -> pl.DataFrame:
    """Read a file's content into a frame with normalised column names; CSV columns are all String, nulls where empty.

    The suffix of `source` decides: .parquet and .pq are Parquet, all else CSV. Raises `refused` with one line that
    begins with the source when the content is empty, unreadable or ragged, or names a column twice. No data rows: a
    frame of height 0.
    """
    if not content:
        raise refused(f"{source}: the file is empty")
    is_parquet = source.lower().endswith(_PARQUET_SUFFIXES)
    return _read_parquet(content, source, refused) if is_parquet else _read_csv(content, source, refused)


def parse_numbers(frame: pl.DataFrame, names: Iterable[str], source: str, refused: type[InputRefused]) -> pl.DataFrame:
    """Return the frame with these columns as Float64, nulls kept; `time` must be parsed already (it names the row).

    Text is read to the nearest double, as float() does. Raises `refused` for the first row that is not a number.
    """
    for name in names:
        column = frame[name]
        frame = frame.with_columns(_exact_doubles(column, frame, source, refused).alias(name))
    return frame


def parse_times(column: pl.Series, timezone: str, source: str, refused: type[InputRefused]) -> pl.Series:
    """`utc_times` with its refusal worded as that of a row of this file."""
    try:
        return utc_times(column, timezone)
    except UnreadableTimeError as bad:
        raise refused(row_message(source, bad.row_index, bad.written, bad.what)) from None


def row_message(source: str, row_index: int, time: object, what: str) -> str:
    """`FILE: row N (time T): what is wrong`; row_index from 0, N from 1."""
    return f"{source}: row {row_index + 1} (time {time}): {what}"


def _read_parquet(content: bytes, source: str, refused: type[InputRefused]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise refused(f"{source}: is not a Parquet file that can be read: {_first_line(error)}") from error
    return frame.rename(_normalised_names(frame.columns, source, refused))


def _read_csv(content: bytes, source: str, refused: type[InputRefused]) -> pl.DataFrame:
    content = _as_utf8(content, source, refused)
    header, _, _ = content.partition(b"\n")
    separator = max(b",;\t", key=lambda each: header.count(bytes([each])))
    try:
        frame = pl.read_csv(BytesIO(content), separator=chr(separator), infer_schema=False, raise_if_empty=True)
    except pl.exceptions.NoDataError:
        raise refused(f"{source}: the file is empty") from None
    except pl.exceptions.PolarsError as error:
        _refuse_ragged(content, separator, source, refused)
        raise refused(f"{source}: is not a CSV file that can be read: {_first_line(error)}") from error
    written = header.decode().rstrip("\r").split(chr(separator))
    if any(_is_number(each) for each in written):
        raise refused(f"{source}: there is no header line; the file begins with {header.decode().strip()!r}")
    names = _normalised_names([each.strip('"') for each in written], source, refused)
    if len(names) != frame.width:
        raise refused(f"{source}: the header line cannot be read: {header.decode().strip()!r}")
    return frame.rename(dict(zip(frame.columns, names.values(), strict=True)))


def _as_utf8(content: bytes, source: str, refused: type[InputRefused]) -> bytes:
    """MetaTrader writes UTF-16 with a byte order mark; spreadsheets write UTF-8 with one."""
    encoding = "utf-8-sig"
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        encoding = "utf-16"
    elif content[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise refused(f"{source}: is not text in UTF-8 or UTF-16: byte {error.start}") from None
    if "\0" in text:
        raise refused(f"{source}: is not a text file (it holds a NUL character)")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    lines = text.encode().lstrip(b"\r\n ")
    return _BLANK_LINES.sub(b"\n", lines)


def _normalised_names(written: list[str], source: str, refused: type[InputRefused]) -> dict[str, str]:
    names: dict[str, str] = {}
    for position, each in enumerate(written):
        name = each.strip().strip("<>").strip().lower()
        if name and name in names.values():
            raise refused(f"{source}: column {name!r} is there twice")
        # A nameless column (a trailing separator) is kept apart by its place; nothing reads it.
        names[each if each not in names else f"{each} {position}"] = name or f"unnamed {position + 1}"
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_ragged(content: bytes, separator: int, source: str, refused: type[InputRefused]) -> None:
    """Name the first row with more fields than the header; polars names none."""
    header, *rows = content.splitlines()
    wanted = header.count(separator) + 1
    for index, row in enumerate(rows):
        found = row.count(separator) + 1
        if found > wanted and b'"' not in row:
            time = row.split(bytes([separator]))[0].decode()
            raise refused(row_message(source, index, time, f"has {found} fields, the header has {wanted}"))


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
    raise refused(row_message(source, row, time, f"{column.name} {column[row]!r} {what}"))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
