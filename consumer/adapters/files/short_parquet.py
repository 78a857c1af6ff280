"""A short table as Parquet. polars spends most of the time for one on dictionaries, statistics and threads of its own,
some 0.3 ms a file and several times that on a busy machine; a small run writes two.

One row group, one plain page a column, uncompressed: what every reader of Parquet reads.
https://parquet.apache.org/docs/file-format/, with metadata in Thrift's compact protocol.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.numeric.columns import MOMENTS, Coded, Columns, height_of

MOST_ROWS: Final = 10_000
"""Longer tables are worth being compressed."""

_MAGIC: Final = b"PAR1"
_WHOLE, _TIME, _FLOAT, _TEXT = "whole", "time", "float", "text"
_PHYSICAL: Final = {_WHOLE: 2, _TIME: 2, _FLOAT: 5, _TEXT: 6}
"""By type, the number that Parquet has for what is stored."""
_CONVERTED: Final = {_TIME: 10, _TEXT: 0}
_OPTIONAL, _PLAIN, _RLE, _UNCOMPRESSED = 1, 0, 3, 0
_DATA_PAGE: Final = 0

_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12
"""Thrift's types."""
_I64_NEXT, _I64_AFTER_ONE, _STRUCT_NEXT = bytes((1 << 4 | _I64,)), bytes((2 << 4 | _I64,)), bytes((1 << 4 | _STRUCT,))
"""How a field begins that has the next number after the one before it, or the next but one."""
_END: Final = b"\0"

Field = tuple[int, int, bytes]
"""Number, type and encoded value."""


def parquet_of(table: Columns) -> bytes:
    """The file of a table of MOST_ROWS at most."""
    rows = height_of(table)
    parts = [_MAGIC]
    at = len(_MAGIC)
    chunks, types = [], []
    for name, column in table.items():
        of_type, nulls, stored = _texts(column) if isinstance(column, Coded) else _numbers(column)
        values = _levels(nulls, rows) + stored
        header = _page_header(rows, len(values))
        size = len(header) + len(values)
        chunks.append(_column_chunk(name, of_type, rows, at, size))
        types.append(of_type)
        parts += header, values
        at += size
    footer = _footer(_schema(tuple(table), tuple(types)), rows, chunks, at - len(_MAGIC))
    return b"".join([*parts, footer, len(footer).to_bytes(4, "little"), _MAGIC])


Stored = tuple[str, NDArray[np.bool_] | None, bytes]
"""Type, which values are null (None: none is), and the bytes of those that are not."""


def _numbers(column: NDArray[Any]) -> Stored:
    if column.dtype != np.float64:
        return _TIME if column.dtype == MOMENTS else _WHOLE, None, column.tobytes()
    nulls = np.isnan(column)
    return (_FLOAT, nulls, column[~nulls].tobytes()) if nulls.any() else (_FLOAT, None, column.tobytes())


def _texts(column: Coded) -> Stored:
    stored = [b"" if text is None else _text(text) for text in column.texts]
    if len(stored) == 1:
        nulls = np.ones(column.size, bool) if column.texts[0] is None else None
        return _TEXT, nulls, stored[0] * column.size
    nulls = None
    if None in column.texts:
        nulls = column.codes == column.texts.index(None)
    return _TEXT, nulls, b"".join([stored[code] for code in column.codes.tolist()])


@lru_cache(maxsize=256)
def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(4, "little") + data


def _levels(nulls: NDArray[np.bool_] | None, rows: int) -> bytes:
    """Which values are there: one run of all or none of them, or a bit for each."""
    if nulls is None or nulls.all():
        run = _unsigned(rows << 1) + (b"\1" if nulls is None else b"\0")
    else:
        bits = np.packbits(~nulls, bitorder="little").tobytes()
        run = _unsigned(len(bits) << 1 | 1) + bits
    return len(run).to_bytes(4, "little") + run


@lru_cache(maxsize=1024)
def _page_header(rows: int, size: int) -> bytes:
    of_page = _struct((1, _I32, _signed(rows)), *_ENCODED)
    return _struct(
        (1, _I32, _signed(_DATA_PAGE)), (2, _I32, _signed(size)), (3, _I32, _signed(size)), (5, _STRUCT, of_page)
    )


def _column_chunk(name: str, of_type: str, rows: int, at: int, size: int) -> bytes:
    """Put together by hand: a run's files have thirty, and as fields of fields they take twice as long."""
    place, length = _signed(at), _signed(size)
    about = _about(name, of_type), _I64_NEXT, _signed(rows), _I64_NEXT, length, _I64_NEXT, length, _I64_AFTER_ONE, place
    return b"".join((_I64_AFTER_ONE, place, _STRUCT_NEXT, *about, _END, _END))


@lru_cache(maxsize=256)
def _about(name: str, of_type: str) -> bytes:
    """The first four fields of a column's metadata, which are the same in every file."""
    fields = _struct(
        (1, _I32, _signed(_PHYSICAL[of_type])),
        (2, _LIST, _list(_I32, [_signed(_PLAIN), _signed(_RLE)])),
        (3, _LIST, _list(_BINARY, [_binary(name)])),
        (4, _I32, _signed(_UNCOMPRESSED)),
    )
    return fields.removesuffix(_END)


def _footer(schema: bytes, height: int, chunks: list[bytes], size: int) -> bytes:
    rows = _signed(height)
    group = _struct((1, _LIST, _list(_STRUCT, chunks)), (2, _I64, _signed(size)), (3, _I64, rows))
    return _struct(
        (1, _I32, _signed(1)),
        (2, _LIST, schema),
        (3, _I64, rows),
        (4, _LIST, _list(_STRUCT, [group])),
        (6, _BINARY, _binary("backtest-consumer")),
    )


@lru_cache(maxsize=64)
def _schema(names: tuple[str, ...], types: tuple[str, ...]) -> bytes:
    root = _struct((4, _BINARY, _binary("table")), (5, _I32, _signed(len(names))))
    return _list(_STRUCT, [root, *(_schema_of(*column) for column in zip(names, types, strict=True))])


def _schema_of(name: str, of_type: str) -> bytes:
    fields: list[Field] = [
        (1, _I32, _signed(_PHYSICAL[of_type])),
        (3, _I32, _signed(_OPTIONAL)),
        (4, _BINARY, _binary(name)),
    ]
    if of_type in _CONVERTED:
        fields.append((6, _I32, _signed(_CONVERTED[of_type])))
    if of_type == _TEXT:
        fields.append((10, _STRUCT, _struct((1, _STRUCT, _struct()))))
    if of_type == _TIME:
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
    return b"".join(parts) + _END


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
