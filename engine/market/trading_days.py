"""When an instrument's trading days start, and the candles that are counted from there: the calendar of resampling.

Above H1 a candle is anchored at the trading day. Apart from `sessions`, whose days are those of daily returns and of
swap: `day_start` in an instruments file moves candles and neither of these.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.market.instruments import TradingDay
from engine.market.timeframes import DAY_US, MONTH_US, WEEK_US, Timeframe
from engine.numeric.arrays import read_only

_SATURDAY = 5
_FIRST_DATE, _LAST_DATE = 0, 36_525
"""1970 to 2070: of these dates the starts are worked out once for each kind of day; of others when asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Candles in a row, oldest first. A bar belongs to the candle with from_us <= its open < the next one's from_us.

    open_us: the candle's time. close_us: when it ends. from_us is open_us but for the first candle after a weekend
    that folds into Monday: bars of the closed weekend belong to it.
    """

    from_us: NDArray[np.int64]
    open_us: NDArray[np.int64]
    close_us: NDArray[np.int64]


def candles(of: Timeframe, day: TradingDay, first_us: int, last_us: int) -> Candles:
    """Return the candles of a timeframe above H1 from the one that first_us belongs to on to that of last_us.

    A few more may stand before and after. Shorter than a day: counted from the day's start, the last cut off by the
    day's end. Weeks begin with Monday's day, months with the day of their first, or the one that it folds into.
    """
    days, label = _days(day, first_us // DAY_US - 45, last_us // DAY_US + 45)
    if of.duration_us == DAY_US:
        return days
    if of.duration_us < DAY_US:
        return _within_days(days, of.duration_us)
    dates = label.astype("datetime64[D]")
    # The epoch was a Thursday; weeks begin on Mondays.
    group = (label + 3) // 7 if of.duration_us == WEEK_US else dates.astype("datetime64[M]").astype(np.int64)
    if of.duration_us not in (WEEK_US, MONTH_US):
        raise ValueError(f"{of.name} has no candles of its own")
    # The first and the last group may lack days: they lie far outside what was asked for.
    begins = np.flatnonzero(np.diff(group)) + 1
    open_us = days.open_us[begins]
    return Candles(days.from_us[begins[:-1]], open_us[:-1], open_us[1:])


def day_starts(zone: str, time_of_day_us: int, first_date: int, last_date: int) -> NDArray[np.int64]:
    """Return that time of day of every date from first to last (days since 1970) as UTC microseconds.

    A time that a change of clocks skips is taken an hour later, one that it repeats is the first of the two.
    """
    if first_date >= _FIRST_DATE and last_date <= _LAST_DATE:
        return _century(zone, time_of_day_us)[first_date - _FIRST_DATE : last_date + 1 - _FIRST_DATE]
    return _moments(zone, time_of_day_us, first_date, last_date)


@lru_cache(maxsize=64)
def _century(zone: str, time_of_day_us: int) -> NDArray[np.int64]:
    return _moments(zone, time_of_day_us, _FIRST_DATE, _LAST_DATE)


def _moments(zone: str, time_of_day_us: int, first_date: int, last_date: int) -> NDArray[np.int64]:
    wall = pl.Series(np.arange(first_date, last_date + 1) * DAY_US + time_of_day_us).cast(pl.Datetime("us"))
    moments = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    if moments.null_count():
        later = wall.dt.offset_by("1h")
        moments = moments.fill_null(later.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null"))
    return read_only(moments.to_physical().to_numpy())


def _days(day: TradingDay, first_date: int, last_date: int) -> tuple[Candles, NDArray[np.int64]]:
    """Return the trading days that start on these dates, and the date that each bears."""
    starts_us = day_starts(day.zone, day.start_us, first_date, last_date + 1)
    label = np.arange(first_date, last_date + 1) + int(day.bears_next_date)
    open_us, close_us = starts_us[:-1], starts_us[1:]
    if not day.folds_weekends:
        return Candles(open_us, open_us, close_us), label
    weekday = (label + 3) % 7
    kept = np.flatnonzero(weekday < _SATURDAY)
    kept = kept[kept >= 2]
    from_us = np.where(weekday[kept] == 0, open_us[kept - 2], open_us[kept])
    return Candles(from_us, open_us[kept], close_us[kept]), label[kept]


def _within_days(days: Candles, duration_us: int) -> Candles:
    counts = -((days.open_us - days.close_us) // duration_us)
    of_day = np.repeat(np.arange(counts.size), counts)
    place = np.arange(of_day.size) - np.repeat(np.cumsum(counts) - counts, counts)
    open_us = days.open_us[of_day] + place * duration_us
    close_us = np.minimum(open_us + duration_us, days.close_us[of_day])
    return Candles(np.where(place == 0, days.from_us[of_day], open_us), open_us, close_us)
