"""Bars from a file a person has, in any of the `formats`, compressed or not.

Columns that are not of a bar are ignored: no figure depends on them. How tables, numbers and times are read: `tables`,
`numbers`, `times`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from consumer.adapters.files.layout import Layout, head_of
from consumer.adapters.files.numbers import has_decimal_commas, parse_numbers, with_decimal_points
from consumer.adapters.files.tables import ColumnTable, Table, open_table, read_table, row_message
from consumer.adapters.files.text_tables import TextTable
from consumer.adapters.files.times import Kind, ReadTimes, TimeRules, read_times
from consumer.adapters.files.unpacking import LIMIT_BYTES
from consumer.adapters.files.unreadable_time import UnreadableTimeError
from consumer.adapters.files.written_times import DateOrder
from engine.errors import BadBars
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import Session
from engine.market.timeframes import Timeframe
from engine.market.zone_advice import zone_advice

_PRICES = ("open", "high", "low", "close")
_BAR_COLUMNS = ("time", *_PRICES, "volume", "spread")
_FIXED_ZONES = {"Etc/GMT+5": "EST (UTC-5) all the year round"}
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "epoch": "units"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFile:
    """A file of bars as understood, not yet validated. Rows oldest first.

    frame: time (Datetime us UTC), open, high, low, close, and volume and spread where it has them, Float64.
    format: one of `formats.FORMATS`. written: how it is written, a phrase each. time_kind, timezone: what its times
    are, and the zone that those without an offset were taken to be in; zone_is_fixed: because the format says so.
    notes: what a reader of figures should know.
    """

    source: str
    frame: pl.DataFrame
    format: str
    written: tuple[str, ...]
    time_kind: Kind
    timezone: str
    zone_is_fixed: bool
    newest_first: bool
    notes: tuple[str, ...]

    @property
    def times_described(self) -> str:
        """What its times are, in a phrase."""
        if self.time_kind == "offset":
            return "with their offset from UTC"
        if self.time_kind in _UNITS:
            return f"{_UNITS[self.time_kind]} since 1970 UTC"
        if self.zone_is_fixed:
            return f"in {_FIXED_ZONES.get(self.timezone, self.timezone)}, as this format has them"
        return f"without an offset, taken as {self.timezone}"

    @property
    def has_local_times(self) -> bool:
        """Whether another `--bars-timezone` would give other bars."""
        return self.time_kind in {"local", "mixed"} and not self.zone_is_fixed

    def zone_advice(self, time_us: NDArray[np.int64], session: Session) -> str | None:
        """Say which zone its times seem to be in, where that is not the one they were read in. time_us: of its bars."""
        read_as = self.timezone if self.time_kind in {"local", "mixed"} else "UTC"
        advice = zone_advice(time_us, session, read_as)
        if advice is None:
            return None
        if self.has_local_times:
            return str(advice)
        wanted = self._written_without_offset()
        # What comes before it is the zone that fits, and the option that would read the file in it.
        return (
            f"{advice} applies only to times without an offset, and this file's are {self.times_described}; if they are"
            f" that zone's clock all the same, {wanted}, then give --bars-timezone {advice.zone}"
        )

    def _written_without_offset(self) -> str:
        """What to do to the file, so that its times are those of no zone."""
        if self.zone_is_fixed:
            return "write them in columns of our own (time,open,high,low,close,volume) without an offset"
        if self.time_kind in _UNITS:
            return "write them as dates without an offset (2024-01-02 03:04:05)"
        return "write them without one (drop the Z or +00:00 in text, the time zone of a Parquet column)"

    def bars(self, timeframe: Timeframe) -> Bars:
        """Validate the rows as bars of this timeframe. Raises BadBars, rows counted as the file has them."""
        return bars_from_frame(self.frame, timeframe, self.source, newest_first=self.newest_first)


def read_bars(
    path: Path,
    timeframe: Timeframe,
    timezone: str = "UTC",
    *,
    format_name: str | None = None,
    date_order: DateOrder | None = None,
) -> Bars:
    """Read and validate one file of bars of one timeframe; parameters and errors as those of `read_bar_file`."""
    return read_bar_file(path, timezone, format_name=format_name, date_order=date_order).bars(timeframe)


def read_bar_file(
    path: Path,
    timezone: str = "UTC",
    *,
    format_name: str | None = None,
    date_order: DateOrder | None = None,
    limit_bytes: int = LIMIT_BYTES,
) -> BarFile:
    """Read one file of bars.

    timezone: of times without an offset, see `zone_named`. format_name: the only format that it may have. date_order:
    of dates that do not begin with their year. limit_bytes: of what it may unpack to. Raises BadBars, one line;
    `FILE: row N (time T): what is wrong` where a row is at fault.
    """
    table = read_table(path, BadBars, limit_bytes=limit_bytes)
    return _understood(table, timezone, format_name, date_order)


def bar_file_of(
    content: bytes,
    source: str,
    timezone: str = "UTC",
    *,
    format_name: str | None = None,
    date_order: DateOrder | None = None,
    limit_bytes: int = LIMIT_BYTES,
) -> BarFile:
    """The same of a file's content that came some other way. source: its name for messages."""
    table = open_table(content, source, BadBars, limit_bytes=limit_bytes)
    return _understood(table, timezone, format_name, date_order)


def bar_frame(table: pl.DataFrame, source: str, timezone: str = "UTC") -> pl.DataFrame:
    """Columns by the names of `BarFile.frame`, as market data at rest have them, to such a frame.

    Parsed, not yet validated: order, nulls and price relations are `bars_from_frame`'s to judge.
    """
    missing = [name for name in ("time", *_PRICES) if name not in table.columns]
    if missing:
        raise BadBars(f"{source}: lacks the columns {', '.join(missing)}; it has: {', '.join(table.columns)}")
    frame = table.select(name for name in _BAR_COLUMNS if name in table.columns)
    times = _read_times(frame["time"], TimeRules(timezone), source)
    return parse_numbers(frame.with_columns(times.utc.alias("time")), frame.columns[1:], source, BadBars)


def _understood(table: Table, timezone: str, format_name: str | None, date_order: DateOrder | None) -> BarFile:
    name, layout = _layout(table, format_name)
    if layout.fault is not None:
        raise BadBars(f"{table.source}: {layout.fault}")
    frame = _named_columns(table, layout)
    rules = TimeRules(layout.timezone or timezone, date_order or layout.date_order, may_fall=True)
    times = _read_times(_written_time(frame, layout.time), rules, table.source)
    chosen = {"time": times.utc} | {name: frame[given] for name, given in zip(_PRICES, layout.prices, strict=True)}
    optional = {"volume": layout.volume, "spread": layout.spread}
    chosen |= {name: frame[given].alias(name) for name, given in optional.items() if given is not None}
    bars = pl.DataFrame(chosen)
    numbers = bars.columns[1:]
    commas = isinstance(table, TextTable) and table.may_hold_decimal_commas and has_decimal_commas(bars, numbers)
    bars = with_decimal_points(bars, numbers) if commas else bars
    bars = parse_numbers(bars, numbers, table.source, BadBars)
    return BarFile(
        source=table.source,
        frame=bars.reverse() if times.newest_first else bars,
        format=name,
        written=_how_written(table, commas=commas, newest_first=times.newest_first),
        time_kind=times.kind,
        timezone=rules.timezone,
        zone_is_fixed=layout.timezone is not None,
        newest_first=times.newest_first,
        notes=layout.notes,
    )


def _layout(table: Table, format_name: str | None) -> tuple[str, Layout]:
    """The file's format and layout. Raises BadBars where it has none, or another than that asked for."""
    columns = table.frame.columns if isinstance(table, ColumnTable) else []
    if format_name is None and {"time", *_PRICES} <= set(columns) and "date" not in columns:
        # As market data at rest have them: no format needs to be looked for, nor its module to be imported.
        volume, spread = (name if name in columns else None for name in ("volume", "spread"))
        return "own", Layout(names=tuple(columns), time=("time",), volume=volume, spread=spread)
    from consumer.adapters.files.formats import UnknownLayoutError, recognised

    try:
        found, layout = recognised(head_of(table), format_name)
    except UnknownLayoutError as error:
        raise BadBars(f"{table.source}: {error}") from None
    return found.name, layout


def _named_columns(table: Table, layout: Layout) -> pl.DataFrame:
    """The columns that the layout names, as they stand. Raises BadBars where one is there twice, or of two symbols."""
    wanted = [*layout.time, *layout.prices, *filter(None, (layout.volume, layout.spread, layout.symbol))]
    repeated = next((name for name in wanted if layout.names.count(name) > 1), None)
    if repeated is not None:
        raise BadBars(f"{table.source}: column {repeated!r} is there twice")
    if isinstance(table, TextTable):
        frame = table.rows(layout.names, skipped_lines=layout.skipped_lines, refused=BadBars)
    else:
        places = [layout.names.index(name) for name in dict.fromkeys(wanted)]
        frame = pl.DataFrame({layout.names[at]: table.frame.to_series(at) for at in places})
    if layout.symbol is not None and frame[layout.symbol].n_unique() > 1:
        several = frame[layout.symbol].unique(maintain_order=True).drop_nulls().cast(pl.String).to_list()
        raise BadBars(
            f"{table.source}: holds the bars of {len(several)} symbols ({', '.join(several[:5])}), wanted one"
        )
    return frame


def _written_time(frame: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    """The time column, or the day's and the time of day's put together."""
    if len(columns) == 1:
        return frame[columns[0]].alias("time")
    texts = [pl.col(name).cast(pl.String).str.strip_chars(" \t") for name in columns]
    return frame.select(pl.concat_str(texts, separator=" ").alias("time")).to_series()


def _read_times(column: pl.Series, rules: TimeRules, source: str) -> ReadTimes:
    try:
        return read_times(column, rules)
    except UnreadableTimeError as bad:
        raise BadBars(row_message(source, bad.row_index, bad.written, bad.what)) from None


def _how_written(table: Table, *, commas: bool, newest_first: bool) -> tuple[str, ...]:
    if isinstance(table, ColumnTable):
        said = [table.kind]
    else:
        separators = {",": "commas", ";": "semicolons", "\t": "tabs"}
        said = [table.encoding, f"fields between {separators[table.separator]}"]
    said += ["decimal commas"] * commas + ["newest first"] * newest_first
    return (*table.packed_with, *said)
