"""Files of rows to tables, before anybody says what a column means: text in lines, or files that have columns.

Text: comma, semicolon or tab, UTF-8 or UTF-16, with or without byte order mark, any line end; every field arrives as
text, so that a mistake can be named with its row. Files of columns: Parquet, and Arrow IPC, which is also Feather.
Either may be compressed (`unpacking`). Told by their first bytes, not by their names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from consumer.adapters.files.text_tables import TextTable, text_table
from consumer.adapters.files.unpacking import LIMIT_BYTES, too_large, unpacked
from engine.errors import InputRefused

_PARQUET, _ARROW_FILE, _ARROW_STREAM, _FEATHER_1 = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", b"FEA1"
_PARQUET_SUFFIXES = (".parquet", ".pq")
_ARTICLES = {"Parquet": "a", "Arrow IPC": "an"}
_WIDEST_VALUE_BYTES = 8
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """A Parquet or Arrow file. kind: its name for people. columns: as written; normalised when asked for by name."""

    source: str
    frame: pl.DataFrame
    kind: str
    packed_with: tuple[str, ...]


Table = TextTable | ColumnTable


def read_table(path: Path, refused: type[InputRefused], *, limit_bytes: int | None = LIMIT_BYTES) -> Table:
    """Read a file as `open_table` does; `refused` also when it is missing or may not be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise refused(f"{path}: there is no such file") from None
    except OSError as error:
        raise refused(f"{path}: cannot be read: {error.strerror or error}") from error
    return open_table(content, str(path), refused, limit_bytes=limit_bytes)


def open_table(
    content: bytes, source: str, refused: type[InputRefused], *, limit_bytes: int | None = LIMIT_BYTES
) -> Table:
    """Read a file's content.

    limit_bytes: of what it may unpack to; None: not looked at, for files of columns that are our own. Raises `refused`
    with one line that begins with the source when the content is empty, no text and no file of columns, or beyond the
    limit.
    """
    if not content:
        raise refused(f"{source}: the file is empty")
    inside = unpacked(content, source, refused, limit_bytes or LIMIT_BYTES)
    content, packed = inside.content, inside.packed_with
    if content.startswith(_PARQUET) or source.lower().endswith(_PARQUET_SUFFIXES):
        return ColumnTable(source, _columns(content, "Parquet", source, refused, limit_bytes), "Parquet", packed)
    if content.startswith((_ARROW_FILE, _ARROW_STREAM)):
        return ColumnTable(source, _columns(content, "Arrow IPC", source, refused, limit_bytes), "Arrow IPC", packed)
    if content.startswith(_FEATHER_1):
        raise refused(f"{source}: is Feather of version 1; write it as version 2, Parquet or CSV")
    return text_table(content, source, refused, packed)


def parse_table(content: bytes, source: str, refused: type[InputRefused]) -> pl.DataFrame:
    """Read a file of plain columns into a frame with normalised column names; text columns are all String, nulls where
    empty. The first line of a text is its header.

    Raises `refused` with one line that begins with the source when the content is empty, unreadable or ragged, or
    names a column twice. No data rows: a frame of height 0.
    """
    return plain_frame(open_table(content, source, refused, limit_bytes=None), refused)


def plain_frame(table: Table, refused: type[InputRefused]) -> pl.DataFrame:
    """The same of an open table."""
    if isinstance(table, ColumnTable):
        names = normalised_names(table.frame.columns)
        _refuse_repeated(names, table.source, refused)
        return table.frame.rename(dict(zip(table.frame.columns, names, strict=True)))
    if any(_is_number(each) for each in table.cells[0]):
        raise refused(
            f"{table.source}: there is no header line; the file begins with {one_line(table.first_line, 120)!r}"
        )
    names = normalised_names(table.cells[0])
    _refuse_repeated(names, table.source, refused)
    return table.rows(names, skipped_lines=1, refused=refused)


def normalised_names(written: Sequence[str]) -> tuple[str, ...]:
    """Names without case, blanks around and MetaTrader's angle brackets; those without any are told by their place."""
    plain = [each.strip().strip("<>").strip().lower() for each in written]
    return tuple(name or f"unnamed {position}" for position, name in enumerate(plain, 1))


def row_message(source: str, row_index: int, time: object, what: str) -> str:
    """`FILE: row N (time T): what is wrong`; row_index from 0, N from 1."""
    return f"{source}: row {row_index + 1} (time {one_line(str(time))}): {what}"


def one_line(text: str, longest: int = _LONGEST_SHOWN) -> str:
    """Text out of a file as a message can show it: not long, without control characters."""
    printable = "".join(each if each.isprintable() else "?" for each in text[:longest])
    return printable + "..." * (len(text) > longest)


def _refuse_repeated(names: Sequence[str], source: str, refused: type[InputRefused]) -> None:
    repeated = next((name for position, name in enumerate(names) if name in names[:position]), None)
    if repeated is not None:
        raise refused(f"{source}: column {repeated!r} is there twice")


def _columns(
    content: bytes, kind: str, source: str, refused: type[InputRefused], limit_bytes: int | None
) -> pl.DataFrame:
    try:
        if kind == "Parquet":
            _refuse_huge(pl.scan_parquet(BytesIO(content)), source, refused, limit_bytes)
            return pl.read_parquet(BytesIO(content))
        if content.startswith(_ARROW_STREAM):
            return pl.read_ipc_stream(BytesIO(content))
        _refuse_huge(pl.scan_ipc(BytesIO(content)), source, refused, limit_bytes)
        return pl.read_ipc(BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        line = str(error).strip().partition("\n")[0]
        raise refused(
            f"{source}: is not a{'n' if kind[0] == 'A' else ''} {kind} file that can be read: {line}"
        ) from error


def _refuse_huge(lazy: pl.LazyFrame, source: str, refused: type[InputRefused], limit_bytes: int | None) -> None:
    """Few bytes may stand for very many equal rows."""
    if limit_bytes is None:
        return
    rows = int(lazy.select(pl.len()).collect().item())
    if rows * len(lazy.collect_schema()) * _WIDEST_VALUE_BYTES > limit_bytes:
        raise too_large(
            refused, f"{source}: its {rows:,} rows take more than {limit_bytes:,} bytes, the most that is read"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
