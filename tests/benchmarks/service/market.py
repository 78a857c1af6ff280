"""Bars to measure on: years of a made-up price, hour by hour or minute by minute, on the hours that FX trades."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from consumer.wiring.files import IncomingBars, import_bars
from engine.market.bars import bars_from_frame
from engine.market.sessions import fx_weekends
from engine.market.timeframes import timeframe

FIRST_YEAR, LAST_YEAR = 2007, 2017
"""Eleven years."""


def write_hours(root: Path, first_year: int = FIRST_YEAR, last_year: int = LAST_YEAR) -> None:
    """EURUSD H1 as market data at rest."""
    store(root, "H1", made_up_bars(3600, first_year, last_year))


def write_minutes(root: Path, first_year: int, last_year: int) -> None:
    """EURUSD M1 as market data at rest: 370 000 bars a year."""
    store(root, "M1", made_up_bars(60, first_year, last_year))


def made_up_bars(seconds: int, first_year: int, last_year: int) -> pl.DataFrame:
    """A seeded random walk on a grid of ticks, bars of so many seconds, the closed weekend left out."""
    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (first_year, last_year + 1))
    times = np.arange(begin, end, seconds, dtype=np.int64)
    closes_us, opens_us = fx_weekends(begin * 1_000_000, end * 1_000_000)
    times_us = times * 1_000_000
    times = times[
        np.searchsorted(closes_us, times_us, side="right") == np.searchsorted(opens_us, times_us, side="right")
    ]
    chance = np.random.default_rng(7)
    ticks = chance.normal(0.0, 6.0 * (seconds / 60) ** 0.5, times.size).round()
    # Drawn back to its middle, so that a price never comes near 0 however many years are asked for.
    walk = np.cumsum(ticks)
    close = (120_000 + 15_000 * np.sin(walk / 15_000)).round()
    open_ = np.append(120_000, close[:-1])
    wick = chance.integers(0, 12, (2, times.size))
    points = {
        "open": open_,
        "high": np.maximum(open_, close) + wick[0],
        "low": np.minimum(open_, close) - wick[1],
        "close": close,
    }
    prices = {name: (column / 1e5).round(5) for name, column in points.items()}
    moments = pl.Series("time", times * 1_000_000).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"time": moments, **prices, "volume": chance.integers(1, 900, times.size).astype(float)})


def random_windows(times: pl.Series, bars: int, before: int, seed: int = 1) -> Iterator[dict[str, str]]:
    """Start and end of so many bars in a row, anywhere that leaves room for `before` earlier ones; without end."""
    chance = random.Random(seed)
    while True:
        first = chance.randrange(before, times.len() - bars - 1)
        start, end = times[first], times[first + bars]
        yield {"start_date": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end_date": f"{end:%Y-%m-%dT%H:%M:%SZ}"}


def store(root: Path, timeframe_name: str, bars: pl.DataFrame) -> None:
    """Put bars into market data at rest as `backtest data import` does."""
    of = timeframe(timeframe_name)
    import_bars(str(root), "EURUSD", of, [IncomingBars("made up", bars_from_frame(bars, of, "made up"))], replace=False)
