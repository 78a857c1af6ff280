"""Bars from a file a person has: CSV with own columns, a MetaTrader 5 export as it comes, or Parquet.

Own columns are time, open, high, low, close and, optional, volume and spread (points). A MetaTrader export has
<DATE>, <TIME> (missing for daily bars and longer), <OPEN>, <HIGH>, <LOW>, <CLOSE>, <TICKVOL>, <VOL>, <SPREAD>; its
tick volume is the volume, the real one only where there are no ticks. Other columns are ignored: no figure depends
on them. How numbers, times and headers are read: `table_files`, `file_times`.
"""

from pathlib import Path

import polars as pl

from consumer.adapters.files.tables import parse_numbers, parse_times, read_table
from engine.errors import BadBars
from engine.market.bars import Bars, bars_from_frame
from engine.market.timeframes import Timeframe

_PRICES = ("open", "high", "low", "close")
_VOLUMES_BY_PREFERENCE = ("volume", "tickvol", "tick_volume", "vol")


def read_bars(path: Path, timeframe: Timeframe, timezone: str = "UTC") -> Bars:
    """Read and validate one file of bars of one timeframe.

    timezone: IANA name for times without an offset. Raises BadBars, `FILE: row N (time T): what is wrong` where a row
    is at fault.
    """
    return bars_from_frame(bar_frame(read_table(path, BadBars), str(path), timezone), timeframe, str(path))


def bar_frame(table: pl.DataFrame, source: str, timezone: str = "UTC") -> pl.DataFrame:
    """A table of `table_files` as columns time (Datetime us UTC), open, high, low, close, and volume and spread where
    it has them, Float64.

    Parsed, not yet validated: order, nulls and price relations are `bars_from_frame`'s to judge.
    """
    missing = [name for name in _PRICES if name not in table.columns]
    if missing or not {"time", "date"} & set(table.columns):
        lacking = ", ".join([*([] if {"time", "date"} & set(table.columns) else ["time"]), *missing])
        found = ", ".join(table.columns)
        raise BadBars(f"{source}: the header line lacks {lacking}; it has: {found}")
    time = parse_times(_written_time(table), timezone, source, BadBars)
    volume = next((name for name in _VOLUMES_BY_PREFERENCE if name in table.columns), None)
    optional = {"volume": volume, "spread": "spread" if "spread" in table.columns else None}
    chosen = {"time": time, **{name: table[name] for name in _PRICES}}
    chosen |= {name: table[given].alias(name) for name, given in optional.items() if given is not None}
    frame = pl.DataFrame(chosen)
    return parse_numbers(frame, frame.columns[1:], source, BadBars)


def _written_time(table: pl.DataFrame) -> pl.Series:
    """The time column, or MetaTrader's date and time of day put together."""
    if "date" not in table.columns:
        return table["time"]
    if "time" not in table.columns or table["date"].dtype != pl.String:
        return table["date"].alias("time")
    return table.select(pl.concat_str("date", pl.col("time"), separator=" ").alias("time")).to_series()
