"""Which nights fall on which bars: the calendar by which an open position pays or earns swap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.market.bars import Bars
from engine.market.sessions import new_york_closes, weekday

_WEDNESDAY, _SATURDAY = 2, 5


@dataclass(frozen=True, slots=True, eq=False)
class Nights:
    """rows: bars, ascending, at whose close an open position is charged; weights: for how many nights."""

    rows: NDArray[np.int64]
    weights: NDArray[np.int64]


NO_NIGHTS = Nights(np.empty(0, np.int64), np.empty(0, np.int64))


def nights(bars: Bars) -> Nights:
    """Return the nights of a run: each 17:00 New York, Monday to Friday, on the last bar that closes at or before it.

    Wednesday's, by New York's date, counts three times and stands for the weekend, so Saturday's and Sunday's 17:00
    charge nothing, for instruments open at weekends too: a week costs seven nights. A bar may carry several nights
    when the next one closes days later. The last bar carries none: nothing is open after it.
    """
    if bars.height == 0:
        return NO_NIGHTS
    moments_us, weights = _rollovers(int(bars.time_us[0]), int(bars.close_time_us[-1]))
    rows = np.searchsorted(bars.close_time_us, moments_us, side="right") - 1
    charged = (rows >= 0) & (rows < bars.height - 1)
    total = np.bincount(rows[charged], weights[charged], minlength=1).astype(np.int64)
    at = np.flatnonzero(total).astype(np.int64)
    return Nights(at, total[at])


def _rollovers(first_us: int, last_us: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every weekday's 17:00 New York in [first_us, last_us], ascending, and its weight."""
    moments_us, dates = new_york_closes(first_us, last_us)
    day = weekday(dates)
    weights = np.where(day == _WEDNESDAY, 3, 1).astype(np.int64)
    return moments_us[day < _SATURDAY], weights[day < _SATURDAY]
