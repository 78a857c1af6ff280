"""Bars of a longer timeframe made from a shorter one, and the join that shows only closed ones.

Apart from `bars` because everything here is about when a bar is known: it is known at its close, never before.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import UnknownTimeframe
from engine.market.bars import Bars
from engine.market.instruments import Instrument, Session
from engine.market.sessions import fx_weekends
from engine.market.timeframes import HOUR_US, Timeframe, can_resample
from engine.market.trading_days import candles
from engine.numeric.compiled import compiled


def resample(bars: Bars, to: Timeframe, instrument: Instrument) -> Bars:
    """Make bars of a longer timeframe; may return no bars at all.

    H1 and below: whole multiples from 00:00 UTC. Above: counted from the start of the instrument's trading day
    (`trading_days`). A source bar belongs to the bar in which it opens; one of a closed weekend that folds belongs to
    Monday's. A bar closes when its candle ends, no earlier than its last source bar. First and last are dropped when
    the data begin after its open or end before its close, where a closed weekend is never missing; holes inside drop
    nothing. Volume is the sum. Spread is that of the last source bar: the resampled close is that bar's close, so
    close + spread is the ask recorded at that very moment.

    Raises UnknownTimeframe when `to` does not hold whole bars of the source.
    """
    if to == bars.timeframe:
        return bars
    made, complete = resample_with_cut(bars, to, instrument)
    begin = 1 if made.height and not complete[0] else 0
    end = made.height - 1 if made.height and not complete[-1] else made.height
    if (begin, end) == (0, made.height):
        return made
    assert made.closes_us is not None
    assert made.begins_us is not None
    kept = slice(begin, max(begin, end))
    return Bars(to, made.frame[kept], made.closes_us[kept], made.begins_us[kept])


def resample_with_cut(bars: Bars, to: Timeframe, instrument: Instrument) -> tuple[Bars, NDArray[np.bool_]]:
    """Make the same bars, and keep those that the begin or the end of the data cuts; and say which are complete."""
    if to == bars.timeframe:
        return bars, np.ones(bars.height, bool)
    if not can_resample(bars.timeframe, to):
        raise UnknownTimeframe(f"{to.name} bars cannot be made of {bars.timeframe.name} bars")
    first, last, starts_us, ends_us, complete = _groups(bars, to, instrument)
    frame = bars.frame
    high, low, volume = _reduce(bars.high, bars.low, bars.volume, first, last)
    columns: dict[str, pl.Series | NDArray[np.float64]] = {
        "time": pl.Series(starts_us).cast(frame.schema["time"]),
        "open": bars.open[first],
        "high": high,
        "low": low,
        "close": bars.close[last],
        "volume": volume,
    }
    if bars.spread_points is not None:
        columns["spread"] = bars.spread_points[last]
    closes_us = np.maximum(ends_us, bars.close_time_us[last])
    return Bars(to, pl.DataFrame(columns), closes_us, np.minimum(starts_us, bars.time_us[first])), complete


def candle_opens(time_us: NDArray[np.int64], to: Timeframe, instrument: Instrument) -> NDArray[np.int64]:
    """Return for each bar, by its open, when the candle that it belongs to opens. Both ascending."""
    if to.duration_us <= HOUR_US or not time_us.size:
        return time_us // to.duration_us * to.duration_us
    made = candles(to, instrument.trading_day, int(time_us[0]), int(time_us[-1]))
    return made.open_us[np.searchsorted(made.from_us, time_us, side="right") - 1]


def join_context(bars: Bars, context: Bars) -> pl.DataFrame:
    """Return a frame of the same height as `bars` whose row i is the last context bar closed by the close of bar i.

    Closed by: context close time <= close time of bar i. Rows before the first such bar are null. `time` is the
    context bar's own open. The context may be longer, equal or shorter than the bars' timeframe, and may be empty.
    """
    rows = last_closed(bars.close_time_us, context.close_time_us)
    blank = int(np.searchsorted(rows, 0))
    nulls = context.frame.clear(blank)
    return nulls.vstack(context.frame[rows[blank:]]).rechunk() if blank else context.frame[rows]


@compiled
def last_closed(moments_us: NDArray[np.int64], close_times_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each moment the index of the last close time at or before it, -1 before the first; both ascending."""
    found = np.empty(moments_us.size, np.int64)
    index = -1
    for i in range(moments_us.size):
        while index + 1 < close_times_us.size and close_times_us[index + 1] <= moments_us[i]:
            index += 1
        found[i] = index
    return found


def _groups(
    bars: Bars, to: Timeframe, instrument: Instrument
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return first and last source row, open and end of each resampled bar, and whether it is complete."""
    time_us = bars.time_us
    if time_us.size == 0:
        empty = np.empty(0, np.int64)
        return empty, empty, empty, empty, np.empty(0, bool)
    if to.duration_us <= HOUR_US:
        first, starts_us = _group_starts(time_us, to.duration_us)
        ends_us = starts_us + to.duration_us
    else:
        made = candles(to, instrument.trading_day, int(time_us[0]), int(time_us[-1]))
        edges = np.searchsorted(time_us, made.from_us)
        holds_bars = np.diff(edges, append=time_us.size) > 0
        first, starts_us, ends_us = edges[holds_bars], made.open_us[holds_bars], made.close_us[holds_bars]
    last = np.append(first[1:], time_us.size) - 1
    data_begin_us, data_end_us = _span(int(time_us[0]), int(bars.close_time_us[-1]), instrument.session)
    complete = np.ones(first.size, bool)
    complete[0] &= data_begin_us <= starts_us[0]
    complete[-1] &= data_end_us >= ends_us[-1]
    return first, last, starts_us, ends_us, complete


def _span(begin_us: int, end_us: int, session: Session) -> tuple[int, int]:
    """Return from where to where nothing is missing: a closed weekend before the first bar or after the last is not."""
    if session == "always":
        return begin_us, end_us
    closing_us, opening_us = fx_weekends(begin_us, end_us)
    before = (closing_us < begin_us) & (begin_us <= opening_us)
    after = (closing_us <= end_us) & (end_us < opening_us)
    earliest = int(closing_us[before][0]) if before.any() else begin_us
    return earliest, int(opening_us[after][-1]) if after.any() else end_us


@compiled
def _group_starts(time_us: NDArray[np.int64], duration_us: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = np.empty(time_us.size, np.int64)
    starts_us = np.empty(time_us.size, np.int64)
    count = 0
    next_start_us = time_us[0]
    for i in range(time_us.size):
        if time_us[i] >= next_start_us:
            start_us = time_us[i] // duration_us * duration_us
            first[count] = i
            starts_us[count] = start_us
            next_start_us = start_us + duration_us
            count += 1
    return first[:count].copy(), starts_us[:count].copy()


@compiled
def _reduce(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    volume: NDArray[np.float64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    highest = np.empty(first.size)
    lowest = np.empty(first.size)
    total = np.empty(first.size)
    for group in range(first.size):
        highest[group] = high[first[group]]
        lowest[group] = low[first[group]]
        total[group] = 0.0
        for i in range(first[group], last[group] + 1):
            highest[group] = max(highest[group], high[i])
            lowest[group] = min(lowest[group], low[i])
            total[group] += volume[i]
    return highest, lowest, total
