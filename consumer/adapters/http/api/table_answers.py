"""Tables as answers: JSON by columns, CSV and Parquet, made on disk part by part and sent from there.

Nothing is sent before all of it is made: what cannot be read is a problem, never an answer that breaks off.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from io import SEEK_SET
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import IO, Any, Final, Literal, TypeVar

import polars as pl
from starlette.responses import Response, StreamingResponse

from consumer.reports.json_values import plain
from consumer.reports.tables import Table
from engine.numeric.csv_rows import csv_rows, iso_text

Format = Literal["json", "csv", "parquet"]
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
SENT_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES: Final = 1024 * 1024

Made = TypeVar("Made")


class Turns:
    """Lets so many long readings run at a time, each in a thread: memory is that of as many, however many ask."""

    def __init__(self, at_once: int = 4) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def take(self, work: Callable[[], Made]) -> Made:
        async with self._turns:
            return await asyncio.to_thread(work)


async def table_response(turns: Turns, make: Callable[[ExitStack], Table], form: Format, name: str) -> Response:
    """make: opens what the table is read from in the stack; called in a thread, as all of this is. name: of a file."""

    def work() -> IO[bytes]:
        with ExitStack() as opened:
            out: IO[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115  # closed once it is sent
            try:
                WRITERS[form](make(opened), out)
            except BaseException:
                out.close()
                raise
            return out

    out = await turns.take(work)
    headers = {} if form == "json" else {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return StreamingResponse(_sent(out), headers=headers, media_type=MEDIA_TYPES[form])


async def json_of(turns: Turns, make: Callable[[ExitStack], Mapping[str, Any]]) -> bytes:
    """The JSON of an object whose values may be columns, made in a thread."""

    def work() -> bytes:
        with ExitStack() as opened:
            return _object(make(opened))

    return await turns.take(work)


def write_json(table: Table, out: IO[bytes]) -> None:
    """{what is said of it, "columns": [...], and an array by the name of each}."""
    said = _object({**table.said, "columns": list(table.columns)})
    with ExitStack() as stack:
        columns = {name: stack.enter_context(SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)) for name in table.columns}
        for part in table.parts:
            for name, column in columns.items():
                values = _values(part[name])
                if values:
                    column.write((b"," if column.tell() else b"") + values)
        out.write(said[:-1])
        for name, column in columns.items():
            out.write(b"," + json.dumps(name).encode() + b":[")
            column.seek(0, SEEK_SET)
            while read := column.read(SENT_BYTES):
                out.write(read)
            out.write(b"]")
        out.write(b"}")


def write_csv(table: Table, out: IO[bytes]) -> None:
    """A header also without rows; times ISO 8601 with Z, null empty, floats as their shortest text."""
    out.write((",".join(table.columns) + "\n").encode())
    for part in table.parts:
        out.write(csv_rows(part, "iso"))


def write_parquet(table: Table, out: IO[bytes]) -> None:
    """Part by part, put together by polars from disk to disk."""
    with TemporaryDirectory(prefix="backtest-") as folder:
        place = Path(folder)
        count = 0
        for count, part in enumerate(table.parts, start=1):
            part.write_parquet(place / f"{count:08d}.parquet")
        whole = place / "whole.parquet"
        if count == 1:
            whole = place / "00000001.parquet"
        elif count:
            pl.scan_parquet(place / "*.parquet").sink_parquet(whole)
        else:
            pl.DataFrame(schema=list(table.columns)).write_parquet(whole)
        with whole.open("rb") as made:
            while read := made.read(SENT_BYTES):
                out.write(read)


WRITERS: Final[Mapping[Format, Callable[[Table, IO[bytes]], None]]] = {
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
}


def _object(content: Mapping[str, Any]) -> bytes:
    fields = (json.dumps(name).encode() + b":" + _value(value) for name, value in content.items())
    return b"{" + b",".join(fields) + b"}"


def _value(value: Any) -> bytes:
    match value:
        case pl.Series():
            return b"[" + _values(value) + b"]"
        case Mapping():
            return _object(value)
        case list() | tuple():
            return b"[" + b",".join(_value(each) for each in value) + b"]"
        case _:
            return json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _values(column: pl.Series) -> bytes:
    """The values as JSON, with commas between."""
    if isinstance(column.dtype, pl.Datetime):
        column = column.to_frame("time").select(iso_text("time")).to_series()
    elif column.dtype.is_float():
        column = column.fill_nan(None)
    text = json.dumps(column.to_list(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text[1:-1].encode("utf-8", "replace")


def _sent(out: IO[bytes]) -> Iterator[bytes]:
    with out:
        out.seek(0, SEEK_SET)
        while read := out.read(SENT_BYTES):
            yield read
