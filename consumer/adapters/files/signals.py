"""Decisions from a file, CSV or Parquet: time, action, and optional volume, stop_loss, take_profit, take_profit_2, ...

Only read here, into the types that the engine checks: it judges actions, levels, order and unknown columns.
"""

import re
from pathlib import Path

import polars as pl

from consumer.adapters.files.tables import parse_numbers, parse_times, read_table
from engine.errors import BadSignals

_NUMBERS = re.compile(r"volume|stop_loss|take_profit(_\d+)?")


def read_signals(path: Path, timezone: str = "UTC") -> pl.DataFrame:
    """The file as a frame: time Datetime us UTC, volume and levels Float64, all other columns as they are.

    timezone: IANA name for times without an offset. A file with a header and no rows gives a frame of height 0.
    Raises BadSignals, `FILE: row N (time T): what is wrong` where a time or a number cannot be read.
    """
    table = read_table(path, BadSignals)
    if "time" in table.columns:
        table = table.with_columns(parse_times(table["time"], timezone, str(path), BadSignals).alias("time"))
    if "action" in table.columns and table.schema["action"] == pl.String:
        table = table.with_columns(pl.col("action").str.strip_chars(" \t"))
    if "time" not in table.columns:
        return table
    return parse_numbers(table, [name for name in table.columns if _NUMBERS.fullmatch(name)], str(path), BadSignals)
