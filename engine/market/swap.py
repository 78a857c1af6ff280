"""Which nights fall on which bars: the calendar by which an open position pays or earns swap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.market.bars import Bars
from engine.market.sessions import new_york_closes, weekday

_WEDNESDAY, _SATURDAY = 2, 5


@dataclass(frozen=True, slots=True, eq=False)
class Nights:
    """Nights in the order of time. rows: the first bar that closes at or after each, ascending; before_open: whether
    it is at or before that bar's open, at_close: at its very close; weights: how many it counts for.
    """

    moments_us: NDArray[np.int64]
    rows: NDArray[np.int64]
    before_open: NDArray[np.bool_]
    at_close: NDArray[np.bool_]
    weights: NDArray[np.int64]


_NO_NUMBERS, _NO_ANSWERS = np.empty(0, np.int64), np.empty(0, bool)
NO_NIGHTS = Nights(_NO_NUMBERS, _NO_NUMBERS, _NO_ANSWERS, _NO_ANSWERS, _NO_NUMBERS)


def nights(bars: Bars) -> Nights:
    """Return the nights that a run can be open across: each 17:00 New York, Monday to Friday, within its bars.

    Wednesday's, by New York's date, counts three times and stands for the weekend, so Saturday's and Sunday's 17:00
    charge nothing, for instruments open at weekends too: a week costs seven nights. A position is open across a night
    when it entered before and leaves after it, where a fill at a close counts just before that close, any other fill
    just after its bar's open. So nothing is open across one at the last close, nor across one before the first.
    """
    if bars.height == 0:
        return NO_NIGHTS
    moments_us, weights = _rollovers(int(bars.close_time_us[0]), int(bars.close_time_us[-1]) - 1)
    rows = np.searchsorted(bars.close_time_us, moments_us, side="left").astype(np.int64)
    at_close = moments_us == bars.close_time_us[rows]
    return Nights(moments_us, rows, moments_us <= bars.time_us[rows], at_close, weights)


def _rollovers(first_us: int, last_us: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every weekday's 17:00 New York in [first_us, last_us], ascending, and its weight."""
    moments_us, dates = new_york_closes(first_us, last_us)
    day = weekday(dates)
    weights = np.where(day == _WEDNESDAY, 3, 1).astype(np.int64)
    return moments_us[day < _SATURDAY], weights[day < _SATURDAY]
