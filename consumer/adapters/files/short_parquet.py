"""A short table as Parquet. polars spends most of the time for one on dictionaries, statistics and threads of its own,
some 0.3 ms a file and several times that on a busy machine; a small run writes two.

One row group, one plain page a column, uncompressed: what every reader of Parquet reads.
https://parquet.apache.org/docs/file-format/, with metadata in Thrift's compact protocol.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

MOST_ROWS: Final = 10_000
"""Longer tables are worth being compressed."""

_MAGIC: Final = b"PAR1"
_TIME: Final = pl.Datetime("us", "UTC")
_PHYSICAL: Final = {pl.Int64(): 2, _TIME: 2, pl.Float64(): 5, pl.String(): 6}
"""By type, the number that Parquet has for what is stored."""
_CONVERTED: Final = {_TIME: 10, pl.String(): 0}
_OPTIONAL, _PLAIN, _RLE, _UNCOMPRESSED = 1, 0, 3, 0
_DATA_PAGE: Final = 0

_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12
"""Thrift's types."""

Field = tuple[int, int, bytes]
"""Number, type and encoded value."""


def can_be_written(table: pl.DataFrame) -> bool:
    return table.height <= MOST_ROWS and all(dtype in _PHYSICAL for dtype in table.dtypes)


def parquet_of(table: pl.DataFrame) -> bytes:
    """The file of a table that `can_be_written`."""
    parts = [_MAGIC]
    at = len(_MAGIC)
    chunks = []
    for column in table.get_columns():
        values = _levels(column) + _plain(column)
        header = _page_header(column.len(), len(values))
        size = len(header) + len(values)
        chunks.append(_column_chunk(column, at, size))
        parts += header, values
        at += size
    footer = _footer(table, chunks, at - len(_MAGIC))
    return b"".join([*parts, footer, len(footer).to_bytes(4, "little"), _MAGIC])


def _levels(column: pl.Series) -> bytes:
    """Which values are there: one run of all or none of them, or a bit for each."""
    rows, nulls = column.len(), column.null_count()
    if nulls in {0, rows}:
        run = _unsigned(rows << 1) + (b"\0" if nulls else b"\1")
    else:
        bits = np.packbits(column.is_not_null().to_numpy(), bitorder="little").tobytes()
        run = _unsigned(len(bits) << 1 | 1) + bits
    return len(run).to_bytes(4, "little") + run


def _plain(column: pl.Series) -> bytes:
    """The values that are there."""
    if column.null_count() == column.len():
        return b""
    there = column.drop_nulls() if column.null_count() else column
    if there.dtype != pl.String:
        return there.to_numpy().tobytes()
    texts = there.to_list()
    stored = {text: len(data := text.encode()).to_bytes(4, "little") + data for text in set(texts)}
    return b"".join([stored[text] for text in texts])


@lru_cache(maxsize=1024)
def _page_header(rows: int, size: int) -> bytes:
    of_page = _struct((1, _I32, _signed(rows)), *_ENCODED)
    return _struct(
        (1, _I32, _signed(_DATA_PAGE)), (2, _I32, _signed(size)), (3, _I32, _signed(size)), (5, _STRUCT, of_page)
    )


def _column_chunk(column: pl.Series, at: int, size: int) -> bytes:
    metadata = _struct(
        *_about(column.name, column.dtype),
        (5, _I64, _signed(column.len())),
        (6, _I64, _signed(size)),
        (7, _I64, _signed(size)),
        (9, _I64, _signed(at)),
    )
    return _struct((2, _I64, _signed(at)), (3, _STRUCT, metadata))


@lru_cache(maxsize=256)
def _about(name: str, dtype: pl.DataType) -> tuple[Field, ...]:
    return (
        (1, _I32, _signed(_PHYSICAL[dtype])),
        (2, _LIST, _list(_I32, [_signed(_PLAIN), _signed(_RLE)])),
        (3, _LIST, _list(_BINARY, [_binary(name)])),
        (4, _I32, _signed(_UNCOMPRESSED)),
    )


def _footer(table: pl.DataFrame, chunks: list[bytes], size: int) -> bytes:
    rows = _signed(table.height)
    group = _struct((1, _LIST, _list(_STRUCT, chunks)), (2, _I64, _signed(size)), (3, _I64, rows))
    return _struct(
        (1, _I32, _signed(1)),
        (2, _LIST, _schema(tuple(table.columns), tuple(table.dtypes))),
        (3, _I64, rows),
        (4, _LIST, _list(_STRUCT, [group])),
        (6, _BINARY, _binary("backtest-consumer")),
    )


@lru_cache(maxsize=64)
def _schema(names: tuple[str, ...], dtypes: tuple[pl.DataType, ...]) -> bytes:
    root = _struct((4, _BINARY, _binary("table")), (5, _I32, _signed(len(names))))
    return _list(_STRUCT, [root, *(_schema_of(name, dtype) for name, dtype in zip(names, dtypes, strict=True))])


def _schema_of(name: str, dtype: pl.DataType) -> bytes:
    fields: list[Field] = [
        (1, _I32, _signed(_PHYSICAL[dtype])),
        (3, _I32, _signed(_OPTIONAL)),
        (4, _BINARY, _binary(name)),
    ]
    if dtype in _CONVERTED:
        fields.append((6, _I32, _signed(_CONVERTED[dtype])))
    if dtype == pl.String:
        fields.append((10, _STRUCT, _struct((1, _STRUCT, _struct()))))
    if dtype == _TIME:
        microseconds = _struct((2, _STRUCT, _struct()))
        fields.append((10, _STRUCT, _struct((8, _STRUCT, _struct((1, _TRUE, b""), (2, _STRUCT, microseconds))))))
    return _struct(*fields)


# --- Thrift's compact protocol --------------------------------------------------------------------------------------


def _struct(*fields: Field) -> bytes:
    """Numbers rising, by 15 at most."""
    parts = []
    before = 0
    for number, of_type, value in fields:
        parts.append(bytes((number - before << 4 | of_type,)) + value)
        before = number
    return b"".join(parts) + b"\0"


def _list(of_type: int, items: list[bytes]) -> bytes:
    short = len(items) < 15
    head = bytes((len(items) << 4 | of_type,)) if short else bytes((0xF0 | of_type,)) + _unsigned(len(items))
    return head + b"".join(items)


def _binary(text: str) -> bytes:
    data = text.encode()
    return _unsigned(len(data)) + data


def _signed(number: int) -> bytes:
    return _unsigned(number << 1)


@lru_cache(maxsize=4096)
def _unsigned(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_ENCODED: Final[tuple[Field, ...]] = (
    (2, _I32, _signed(_PLAIN)),
    (3, _I32, _signed(_RLE)),
    (4, _I32, _signed(_RLE)),
)
"""How a page's values and levels are encoded."""
