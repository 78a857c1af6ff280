"""What a format says about a file: where time, prices and the rest stand in it. One module a format in `formats`.

A format looks at the beginning of a file only. It either knows its layout there, or does not; it reads no rows.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from consumer.adapters.files.tables import ColumnTable, Table, normalised_names
from consumer.adapters.files.written_times import DateOrder

PRICES = ("open", "high", "low", "close")
TIME_NAMES = ("time", "datetime", "timestamp", "date", "date time", "date_time", "open time", "open_time", "unix")
"""What a column of times may be called, the likeliest first; the day alone may stand in `date`, beside one of them."""
VOLUME_NAMES = ("volume", "tickvol", "tick_volume", "tick volume", "vol", "real_volume")
"""By preference: ticks before the real volume, which brokers leave 0."""
SYMBOL_NAMES = ("symbol", "ticker")
EPOCH = re.compile(r"\d{9,20}(?:\.0+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_CLOCK_ALONE = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?|\d{4}|\d{6}")
_CLOCK_WITHIN = re.compile(r"[ T]\d")


@dataclass(frozen=True)
class Head:
    """The beginning of a file: its first fields, a line each; of a file of columns its names, then its first rows."""

    cells: tuple[tuple[str, ...], ...]
    has_lines: bool
    first_line: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Normalised names of the first line; none where it is no header."""
        first = self.cells[0] if self.cells else ()
        return () if any(is_number(each) for each in first) else normalised_names(first)

    def first(self, name: str, names: Sequence[str], at: int = 1) -> str:
        """The first value of a column; "" where there is none. at: the line of the first row."""
        row = self.cells[at] if len(self.cells) > at else ()
        position = list(names).index(name)
        return row[position].strip() if len(row) > position else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things stand. names: of all columns, in order. time: one column, or the day's and the time of day's.

    skipped_lines: before the first row of a text. timezone and date_order: what the format itself fixes, whatever was
    asked for. notes: what a reader of figures should know. fault: why it cannot be read though it is this format.
    """

    names: tuple[str, ...]
    time: tuple[str, ...]
    prices: tuple[str, str, str, str] = PRICES
    volume: str | None = None
    spread: str | None = None
    symbol: str | None = None
    skipped_lines: int = 1
    timezone: str | None = None
    date_order: DateOrder | None = None
    notes: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way in which bars are written. name: as `--format` takes it. example: its beginning, for messages.

    layout_of: None where the file is another's. is_certain: whether a file that fits is called so unasked; formats
    that any table fits must be asked for, or come last.
    """

    name: str
    title: str
    example: str
    layout_of: Callable[[Head], Layout | None]
    is_certain: Callable[[Head], bool] = lambda _: True


def head_of(table: Table) -> Head:
    """The beginning of an open file."""
    if isinstance(table, ColumnTable):
        names = tuple(table.frame.columns)
        rows = list(zip(*(_as_text(column.head(2)) for column in table.frame.iter_columns()), strict=True))
        return Head((names, *rows), has_lines=False, first_line=", ".join(names))
    return Head(table.cells, has_lines=True, first_line=table.first_line)


def layout_by_name(
    head: Head,
    times: Sequence[str] = TIME_NAMES,
    *,
    names: tuple[str, ...] | None = None,
    header_line: int = 0,
    notes: tuple[str, ...] = (),
    timezone: str | None = None,
    date_order: DateOrder | None = None,
) -> Layout | None:
    """The layout of a table whose header names time and prices; None where it lacks one of them."""
    names = head.names if names is None else names
    if not set(PRICES) <= set(names):
        return None
    time = _time_columns(head, names, times, header_line + 1)
    if time is None:
        return None
    return Layout(
        names=names,
        time=time,
        volume=next((name for name in VOLUME_NAMES if name in names), None),
        spread="spread" if "spread" in names else None,
        symbol=next((name for name in SYMBOL_NAMES if name in names), None),
        skipped_lines=header_line + 1,
        notes=notes,
        timezone=timezone,
        date_order=date_order,
    )


def is_number(text: str) -> bool:
    """Whether the text is a number, with a decimal point or comma."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _time_columns(head: Head, names: Sequence[str], times: Sequence[str], first_row: int) -> tuple[str, ...] | None:
    found = [name for name in times if name in names]
    if not found:
        return None
    if "date" in found and len(found) > 1 and not _CLOCK_WITHIN.search(head.first("date", names, first_row)):
        clocks = (name for name in ("time", "timestamp") if name in found)
        clock = next((name for name in clocks if _CLOCK_ALONE.fullmatch(head.first(name, names, first_row))), None)
        if clock is not None:
            return ("date", clock)
    return (found[0],)


def _as_text(column: pl.Series) -> list[str]:
    """A few values as formats look at them: dates and times of day, counts and names; others are nobody's."""
    if column.dtype in {pl.Date, pl.Time} or column.dtype.is_integer() or column.dtype == pl.String:
        return column.cast(pl.String).fill_null("").to_list()
    if column.dtype.is_float():
        return ["" if each is None else f"{each:.15g}" for each in column.to_list()]
    return [""] * column.len()
