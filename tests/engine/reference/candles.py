"""Section 1: which bars are refused, when a bar is known, and how longer ones are made of shorter ones."""

import math
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from tests.engine.reference.calendar import TradingCalendar, from_us, to_us
from tests.engine.reference.model import (
    DAY_US,
    HOUR_US,
    MONTH_US,
    WEEK_US,
    Bar,
    Instrument,
    RunRefusedError,
    Series,
)


def resample(source: Series, timeframe_us: int, instrument: Instrument) -> Series:
    """Bars of a longer timeframe, whole ones only, each with the moment it closes at (`close_us`).

    A source bar belongs to the candle in which it opens; a stray one of the closed weekend to Monday's first, which
    keeps Monday's time and says in `begins_us` since when its prices count. The spread is that of the last source bar.
    """
    if not source.bars:
        return Series(timeframe_us, ())
    calendar = TradingCalendar.of(instrument)
    closes_us = close_moments(source.bars, source.timeframe_us)
    begin_us, end_us = source.bars[0].time_us, closes_us[-1]
    known = zip(source.bars, closes_us, strict=True)
    candles = []
    for span, group in groupby(known, key=lambda each: span_of(each[0].time_us, timeframe_us, calendar)):
        if begin_us <= span.open_us and span.complete_us <= end_us:
            candles.append(_candle(span, list(group)))
    return Series(timeframe_us, tuple(candles))


@dataclass(frozen=True, slots=True)
class Span:
    """One candle's time. complete_us: up to when data are needed, the close but for a closed weekend before it."""

    open_us: int
    close_us: int
    complete_us: int


def span_of(moment_us: int, timeframe_us: int, calendar: TradingCalendar) -> Span:
    """The candle that a bar opening at this moment belongs to."""
    if timeframe_us <= HOUR_US:
        open_us = moment_us // timeframe_us * timeframe_us
        return Span(open_us, open_us + timeframe_us, open_us + timeframe_us)
    day = calendar.day(moment_us)
    if timeframe_us < DAY_US:
        start_us = calendar.start_of(day)
        open_us = start_us + max(0, moment_us - start_us) // timeframe_us * timeframe_us
        close_us = min(open_us + timeframe_us, calendar.start_of(day + timedelta(days=1)))
        return Span(open_us, close_us, close_us)
    if timeframe_us == DAY_US:
        first, following = day, day + timedelta(days=1)
    elif timeframe_us == WEEK_US:
        first = day - timedelta(days=day.weekday())
        following = first + timedelta(days=7)
    else:
        first = calendar.folded(day.replace(day=1))
        following = calendar.folded(_first_of_next_month(day))
    return Span(calendar.start_of(first), calendar.start_of(following), calendar.trading_ends_before(following))


def close_moments(bars: Sequence[Bar], timeframe_us: int) -> list[int]:
    """When each bar is known: a resampled one's own moment; else by its length, D1 and longer by the next one's open.

    That counts where it is within two hours of the nominal close (MN1: three days of a calendar month later).
    """
    moments = []
    for index, bar in enumerate(bars):
        nominal_us = bar.time_us + timeframe_us
        tolerance_us = 2 * HOUR_US if timeframe_us >= DAY_US else 0
        if timeframe_us == MONTH_US:
            nominal_us, tolerance_us = _a_month_later(bar.time_us), 3 * DAY_US
        moment = nominal_us
        if bar.close_us is not None:
            moment = bar.close_us
        elif index + 1 < len(bars) and abs(bars[index + 1].time_us - nominal_us) <= tolerance_us:
            moment = bars[index + 1].time_us
        moments.append(moment)
    return moments


def refuse_bad_bars(series: Series) -> None:
    """Raise RunRefusedError with row and time of the first bar of a file that section 1 does not take."""
    if not series.bars:
        raise RunRefusedError("no bars")
    least_us = LEAST_SPACING_US.get(series.timeframe_us, series.timeframe_us)
    before_us: int | None = None
    for row, bar in enumerate(series.bars, start=1):
        prices = (bar.open, bar.high, bar.low, bar.close)
        if before_us is not None and bar.time_us <= before_us:
            raise RunRefusedError(f"row {row}: times do not rise", bar.time_us)
        if before_us is not None and bar.time_us - before_us < least_us:
            raise RunRefusedError(f"row {row}: closer than the timeframe", bar.time_us)
        if not all(math.isfinite(price) and price > 0 for price in prices):
            raise RunRefusedError(f"row {row}: no price", bar.time_us)
        if bar.low > min(bar.open, bar.close) or bar.high < max(bar.open, bar.close):
            raise RunRefusedError(f"row {row}: low and high do not hold open and close", bar.time_us)
        if bar.spread_points is not None and not (math.isfinite(bar.spread_points) and bar.spread_points >= 0):
            raise RunRefusedError(f"row {row}: no spread", bar.time_us)
        before_us = bar.time_us


LEAST_SPACING_US = {DAY_US: 23 * HOUR_US, WEEK_US: 167 * HOUR_US, MONTH_US: 28 * DAY_US}
"""Files in local time: a day, a week and a month may be shorter than their name."""


def _candle(span: Span, group: Sequence[tuple[Bar, int]]) -> Bar:
    bars = [bar for bar, _ in group]
    return Bar(
        time_us=span.open_us,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        spread_points=bars[-1].spread_points,
        close_us=max(span.close_us, group[-1][1]),
        begins_us=min(span.open_us, bars[0].time_us),
    )


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _a_month_later(moment_us: int) -> int:
    """The same day and time of the next month in UTC; the last day of it where it has no such day."""
    moment = from_us(moment_us)
    following = _first_of_next_month(moment.date())
    day = min(moment.day, monthrange(following.year, following.month)[1])
    return to_us(moment.replace(year=following.year, month=following.month, day=day))
