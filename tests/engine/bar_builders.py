"""Bars for tests: valid ones, of which a test overrides what it is about."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import strategies as st

from engine.market.bars import TIME, Bars, bars_from_frame
from engine.market.timeframes import Timeframe, timeframe

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    """2024-03-08 17:00, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def as_us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def frame_of(times: Sequence[datetime], **columns: Sequence[float | None]) -> pl.DataFrame:
    """Prices 1.1 all through, volume 0, unless a column says otherwise."""
    flat = {name: [1.1] * len(times) for name in ("open", "high", "low", "close")}
    values = {**flat, "volume": [0.0] * len(times), **columns}
    return pl.DataFrame(
        {"time": pl.Series(times, dtype=TIME), **{name: pl.Series(v, dtype=pl.Float64) for name, v in values.items()}}
    )


def bars_of(name: str, times: Sequence[datetime], **columns: Sequence[float | None]) -> Bars:
    return bars_from_frame(frame_of(times, **columns), timeframe(name), "bars.csv")


def closes_bars(name: str, start: datetime, closes: Sequence[float], **columns: Sequence[float | None]) -> Bars:
    """Bars without a hole that open at the close before and move straight to their own."""
    step = timedelta(microseconds=timeframe(name).duration_us)
    opens = [closes[0], *closes[:-1]]
    return bars_of(
        name,
        [start + i * step for i in range(len(closes))],
        open=opens,
        high=[max(pair) for pair in zip(opens, closes, strict=True)],
        low=[min(pair) for pair in zip(opens, closes, strict=True)],
        close=closes,
        **columns,
    )


@st.composite
def random_bars(draw: st.DrawFn, of: Timeframe, largest: int = 60, with_spread: bool = False) -> Bars:
    """Bars with holes, on the grid of their timeframe, around a DST change of New York."""
    steps = draw(st.lists(st.integers(1, 40) | st.just(1), min_size=1, max_size=largest))
    monday, thursday = as_us(utc("2024-03-04 00:00")), as_us(utc("2024-03-07 00:00"))
    start = monday + (thursday - monday) // of.duration_us * of.duration_us
    times, moment = [], start
    for step in steps:
        moment += step * of.duration_us
        times.append(EPOCH + timedelta(microseconds=moment))
    price = st.integers(100_00, 110_00).map(lambda ticks: ticks / 100)
    rows = [sorted(draw(st.tuples(price, price, price, price))) for _ in times]
    upside_down = [draw(st.booleans()) for _ in times]
    columns: dict[str, list[float]] = {
        "open": [row[1] if flip else row[2] for row, flip in zip(rows, upside_down, strict=True)],
        "high": [row[3] for row in rows],
        "low": [row[0] for row in rows],
        "close": [row[2] if flip else row[1] for row, flip in zip(rows, upside_down, strict=True)],
        "volume": [float(draw(st.integers(0, 9))) for _ in times],
    }
    if with_spread:
        columns["spread"] = [float(draw(st.integers(0, 30))) for _ in times]
    return bars_of(of.name, times, **columns)
