"""Trading days: when one ends, which bars belong to it, and when the FX week is closed; days of returns and of swap.

Candles have days of their own: `trading_days`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.market.instruments import Session
from engine.market.timeframes import DAY_US, HOUR_US
from engine.market.trading_days import day_starts

_NEW_YORK = "America/New_York"
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6


@dataclass(frozen=True, slots=True, eq=False)
class SessionDays:
    """Days that hold at least one bar, oldest first.

    last_row: row of the last bar that opens in the day. label: the day's date, days since 1970-01-01.
    """

    last_row: NDArray[np.int64]
    label: NDArray[np.int64]

    def of_first(self, bars: int) -> "SessionDays":
        """Return the days of the first `bars` bars alone, of at least one."""
        days = int(np.searchsorted(self.last_row, bars - 1)) + 1
        return SessionDays(np.minimum(self.last_row[:days], bars - 1), self.label[:days])


def session_days(time_us: NDArray[np.int64], session: Session) -> SessionDays:
    """Group bars into days by their open times (ascending): UTC dates for "always", else New York days.

    A New York day is [17:00, 17:00) and bears the date on which it ends; Saturday and Sunday fold into Monday.
    """
    if time_us.size == 0:
        return SessionDays(np.empty(0, np.int64), np.empty(0, np.int64))
    if session == "always":
        label = np.arange(time_us[0] // DAY_US, time_us[-1] // DAY_US + 1)
        end_us = (label + 1) * DAY_US
    else:
        end_us, label = new_york_closes(int(time_us[0]), int(time_us[-1]) + 4 * DAY_US)
        on_weekday = weekday(label) < _SATURDAY
        end_us, label = end_us[on_weekday], label[on_weekday]
    bars_before = np.searchsorted(time_us, end_us, side="left")
    holds_bars = np.diff(bars_before, prepend=0) > 0
    return SessionDays(bars_before[holds_bars] - 1, label[holds_bars])


def new_york_closes(first_us: int, last_us: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every 17:00 New York from first_us to last_us, both included: UTC moments, dates in days since 1970."""
    first_date, last_date = first_us // DAY_US - 1, last_us // DAY_US + 1
    moments_us, dates = day_starts(_NEW_YORK, 17 * HOUR_US, first_date, last_date), np.arange(first_date, last_date + 1)
    wanted = slice(*np.searchsorted(moments_us, (first_us, last_us + 1)))
    return moments_us[wanted], dates[wanted]


def weekday(dates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 for Monday to 6 for Sunday, of days since 1970-01-01 (a Thursday)."""
    return (dates + 3) % 7


def fx_weekends(first_us: int, last_us: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return begin and end of every closure of the FX week (Friday to Sunday 17:00 New York) touching the range."""
    moments_us, dates = new_york_closes(first_us - 7 * DAY_US, last_us + 7 * DAY_US)
    begin_us, end_us = moments_us[weekday(dates) == _FRIDAY], moments_us[weekday(dates) == _SUNDAY]
    if end_us.size and begin_us.size and end_us[0] < begin_us[0]:
        end_us = end_us[1:]
    whole = min(begin_us.size, end_us.size)
    return begin_us[:whole], end_us[:whole]
