"""Bars of one timeframe put together, and where two sets of them contradict each other; frames in, frames out.

All frames have the columns of `uniform`.
"""

from collections.abc import Collection

import polars as pl

from engine.market.bars import PRICES
from engine.market.zones import zone_named

Month = str
"""2016-03, of the bars' UTC open times."""

_MONTH = pl.col("time").dt.year() * 100 + pl.col("time").dt.month()
_COLUMNS = ("time", *PRICES, "volume", "spread")
NO_BARS = pl.DataFrame(
    schema={"time": pl.Datetime("us", "UTC"), **dict.fromkeys((*PRICES, "volume", "spread"), pl.Float64)}
)


def uniform(frame: pl.DataFrame) -> pl.DataFrame:
    """Bars with all columns: volume 0 and spread null where a file has none."""
    absent = {"volume": pl.lit(0.0), "spread": pl.lit(None, dtype=pl.Float64)}
    return frame.with_columns(**{name: each for name, each in absent.items() if name not in frame.columns}).select(
        _COLUMNS
    )


def months(frame: pl.DataFrame) -> set[Month]:
    """Months that hold a bar."""
    return {f"{month // 100:04d}-{month % 100:02d}" for month in frame.select(_MONTH.unique()).to_series()}


def in_months(wanted: Collection[Month]) -> pl.Expr:
    return _MONTH.is_in([int(month.replace("-", "")) for month in wanted])


def iso(moment: object) -> str:
    return str(moment).replace(" ", "T").replace("+00:00", "Z")


def differing_bars(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Bars of both at the same time that contradict each other, in order; not knowing is no contradiction."""
    both = new.join(old, on="time", suffix="_stored")
    prices = [pl.col(name) != pl.col(f"{name}_stored") for name in PRICES]
    volume = (pl.col("volume") != pl.col("volume_stored")) & (pl.col("volume") > 0) & (pl.col("volume_stored") > 0)
    spread = pl.col("spread") != pl.col("spread_stored")  # null, which is not true, where either is
    return both.filter(pl.any_horizontal(*prices, volume, spread)).sort("time")


def joined_bars(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """Bars of either, of both where they agree."""
    both = new.join(old.select("time", "volume", "spread"), on="time", how="left", suffix="_stored")
    known = both.with_columns(
        volume=pl.when(pl.col("volume") > 0).then("volume").otherwise(pl.col("volume_stored").fill_null(0.0)),
        spread=pl.coalesce("spread", "spread_stored"),
    )
    return pl.concat([old.join(new, on="time", how="anti"), known.select(_COLUMNS)]).sort("time")


def first_difference(differing: dict[str, object]) -> str:
    names = (*PRICES, "volume", "spread")
    which = next(name for name in names if differing[name] != differing[f"{name}_stored"])
    return f"{which} {differing[which]} differs from {differing[f'{which}_stored']}"


def besides_prices(differing: pl.DataFrame) -> str:
    """What to say of bars whose prices agree and nothing else does, which are another count of the same trades rather
    than other bars; "" of any others.
    """
    names = [name for name in (*PRICES, "volume", "spread") if (differing[name] != differing[f"{name}_stored"]).any()]
    if set(names) & set(PRICES):
        return ""
    count = f"{differing.height} bars differ" if differing.height > 1 else "1 bar differs"
    return f" (prices are the same: {count} in {' and '.join(names)} alone)"


def as_if_in(frame: pl.DataFrame, zone: str, other: str) -> pl.DataFrame:
    """Bars whose times were read in one zone as they would be, had they been read in the other; see `zone_named`."""
    written, read = zone_named(zone), zone_named(other)
    shown = pl.col("time").dt.convert_time_zone(written.iana).dt.replace_time_zone(None)
    clock = shown + pl.duration(microseconds=written.ahead_us - read.ahead_us)
    moments = clock.dt.replace_time_zone(read.iana, ambiguous="earliest", non_existent="null")
    return frame.with_columns(time=moments.dt.convert_time_zone("UTC")).drop_nulls("time")
