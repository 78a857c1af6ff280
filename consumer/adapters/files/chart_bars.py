"""A run's bars as CSV, read by range and in parts; where a range begins is found by halving the file, not by reading.

Lines are those of `artifacts`: a header, then rows in order of time, which each begins with as ISO 8601 with Z.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from io import SEEK_END
from typing import BinaryIO, Final

import polars as pl

from consumer.adapters.files.artifacts import BAR_COLUMNS
from engine.market.bars import TIME
from engine.numeric.times import as_us

PART_BYTES: Final = 4 * 1024 * 1024
_LINE_BYTES: Final = 512
"""More than any line takes."""


class ChartBars:
    """Implements `BarsFile` over an open file."""

    def __init__(self, file: BinaryIO, part_bytes: int = PART_BYTES) -> None:
        self._file, self._part_bytes = file, part_bytes
        self._end = file.seek(0, SEEK_END)
        file.seek(0)
        self._begin = len(file.readline())

    def extent_us(self) -> tuple[int, int] | None:
        if self._begin >= self._end:
            return None
        self._file.seek(self._begin)
        first = _time_us(self._file.readline())
        self._file.seek(max(self._begin, self._end - 2 * _LINE_BYTES))
        return first, _time_us(self._file.read().rstrip(b"\n").rpartition(b"\n")[2])

    def parts(
        self, since_us: int | None = None, until_us: int | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        at = self._begin if since_us is None else self._place_of(since_us)
        end = self._end if until_us is None else self._place_of(until_us)
        wanted: list[str] = list(BAR_COLUMNS if columns is None else columns)
        while at < end:
            self._file.seek(at)
            read = self._file.read(min(self._part_bytes, end - at))
            if at + len(read) < end:
                read = read[: read.rfind(b"\n") + 1]
            if not read:
                return
            at += len(read)
            yield _frame(read, wanted)

    def _place_of(self, time_us: int) -> int:
        """Where the first line that opens at or after a moment begins; the file's end where none does."""
        low, high = self._begin, self._end
        while low < high:
            middle = (low + high) // 2
            begin = self._line_at_or_before(middle)
            self._file.seek(begin)
            line = self._file.readline()
            if _time_us(line) < time_us:
                low = begin + len(line)
            else:
                high = begin
        return low

    def _line_at_or_before(self, place: int) -> int:
        from_place = max(self._begin, place - _LINE_BYTES)
        self._file.seek(from_place)
        before = self._file.read(place - from_place)
        newline = before.rfind(b"\n")
        return from_place if newline < 0 else from_place + newline + 1


def _time_us(line: bytes) -> int:
    return as_us(datetime.fromisoformat(line.partition(b",")[0].decode("ascii")))


def _frame(rows: bytes, wanted: list[str]) -> pl.DataFrame:
    kinds: dict[str, type[pl.DataType]] = {name: pl.String if name == "time" else pl.Float64 for name in BAR_COLUMNS}
    places = [BAR_COLUMNS.index(name) for name in wanted]
    # In the order of the file whatever is asked for; picked by name below.
    table = pl.read_csv(rows, has_header=False, columns=sorted(places), schema=kinds)
    if "time" in wanted:
        table = table.with_columns(_moments(table["time"]))
    return table.select(wanted)


def _moments(texts: pl.Series) -> pl.Series:
    """Whole seconds, as nearly all are, take a third of the time of a format with a fraction."""
    whole = texts.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False)
    if whole.null_count():
        whole = whole.fill_null(texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False))
    return whole.dt.replace_time_zone("UTC").cast(TIME).alias("time")
