"""Whether bars are of the timeframe they are given as, told by the distances between them."""

import numpy as np
from numpy.typing import NDArray

from engine.market.bars import Bars
from engine.market.timeframes import TIMEFRAMES, Timeframe

_FEWEST_GAPS = 3
_ON_THE_GRID = 0.95
"""Of the gaps: clocks that change and odd holidays break a few."""


def other_length(time_us: NDArray[np.int64], of: Timeframe) -> Timeframe | None:
    """The timeframe that bars with these open times plainly are, where it is not the one they are given as; else None.

    Longer: no two are nearer, and nearly all lie on its grid. Sparse bars, such as those of minutes without trades, lie
    on no grid but their own, and two will be neighbours. Shorter: most are nearer than bars of `of` can be.
    """
    gaps_us = np.diff(time_us)
    if gaps_us.size < _FEWEST_GAPS:
        return None
    if np.count_nonzero(gaps_us == of.duration_us) * 2 > gaps_us.size:
        return None
    spacing_us = _commonest(gaps_us)
    if spacing_us < of.shortest_us:
        most = np.count_nonzero(gaps_us == spacing_us) * 2 > gaps_us.size
        return _known(spacing_us) if most else None
    if int(gaps_us.min()) <= of.duration_us:
        return None
    month = TIMEFRAMES["MN1"]
    if int(gaps_us.min()) >= month.shortest_us:
        return month if of != month else None
    longer = _known(spacing_us)
    if longer is None or np.count_nonzero(gaps_us % longer.duration_us == 0) < _ON_THE_GRID * gaps_us.size:
        return None
    return longer


def usual_spacing_us(bars: Bars) -> int | None:
    """The commonest distance of two neighbouring bars, microseconds; None below two bars. Tells a wrong timeframe."""
    return _commonest(np.diff(bars.time_us)) if bars.height > 1 else None


def _commonest(gaps_us: NDArray[np.int64]) -> int:
    values, counts = np.unique(gaps_us, return_counts=True)
    return int(values[np.argmax(counts)])


def _known(spacing_us: int) -> Timeframe | None:
    return next((each for each in TIMEFRAMES.values() if each.duration_us == spacing_us), None)
