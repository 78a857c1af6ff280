"""Decisions from a file: time, action, and optional volume, stop_loss, take_profit, take_profit_2, ..., trailing_stop,
max_bars, order, price, expires_bars.

Only read here, into the types that the engine checks: it judges actions, levels, order and unknown columns.
"""

import re
from pathlib import Path

import polars as pl

from consumer.adapters.files.numbers import has_decimal_commas, parse_numbers, with_decimal_points
from consumer.adapters.files.tables import plain_frame, read_table, row_message
from consumer.adapters.files.times import TimeRules, read_times
from consumer.adapters.files.unreadable_time import UnreadableTimeError
from consumer.adapters.files.written_times import DateOrder
from engine.errors import BadSignals

_NUMBERS = re.compile(r"volume|stop_loss|take_profit(_\d+)?|trailing_stop|max_bars|price|expires_bars")


def read_signals(path: Path, timezone: str = "UTC", *, date_order: DateOrder | None = None) -> pl.DataFrame:
    """The file as a frame: time Datetime us UTC, volume and levels Float64, all other columns as they are.

    Times, compression and text are read as those of bars. timezone: of times without an offset, see `zone_named`.
    date_order: of dates that do not begin with their year. A file with a header and no rows gives a frame of height 0.
    Raises BadSignals, `FILE: row N (time T): what is wrong` where a time or a number cannot be read.
    """
    source = str(path)
    table = plain_frame(read_table(path, BadSignals), BadSignals)
    texts = [name for name in ("action", "order") if table.schema.get(name) == pl.String]
    table = table.with_columns(pl.col(texts).str.strip_chars(" \t"))
    if "time" not in table.columns:
        return table
    try:
        times = read_times(table["time"], TimeRules(timezone, date_order))
    except UnreadableTimeError as bad:
        raise BadSignals(row_message(source, bad.row_index, bad.written, bad.what)) from None
    table = table.with_columns(times.utc.alias("time"))
    numbers = [name for name in table.columns if _NUMBERS.fullmatch(name)]
    if has_decimal_commas(table, numbers):
        table = with_decimal_points(table, numbers)
    return parse_numbers(table, numbers, source, BadSignals)
