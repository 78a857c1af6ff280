"""Whether bars are of the timeframe they are given as, told by the distances between them."""

import numpy as np

from engine.market.bars import Bars
from engine.market.timeframes import TIMEFRAMES, Timeframe

_FEWEST_GAPS = 3
_ON_THE_GRID = 0.95
"""Of the gaps: clocks that change and odd holidays break a few."""


def longer_timeframe(bars: Bars) -> Timeframe | None:
    """The longer timeframe that these bars plainly are: no two are nearer, nearly all lie on its grid. None: they fit.

    Sparse bars, such as those of a minute without trades, lie on no grid but their own, and two will be neighbours.
    """
    gaps_us = np.diff(bars.time_us)
    if gaps_us.size < _FEWEST_GAPS or int(gaps_us.min()) <= bars.timeframe.duration_us:
        return None
    spacing_us = usual_spacing_us(bars)
    longer = next((each for each in TIMEFRAMES.values() if each.duration_us == spacing_us), None)
    if longer is None or np.count_nonzero(gaps_us % longer.duration_us == 0) < _ON_THE_GRID * gaps_us.size:
        return None
    return longer


def usual_spacing_us(bars: Bars) -> int | None:
    """The commonest distance of two neighbouring bars, microseconds; None below two bars. Tells a wrong timeframe."""
    gaps_us, counts = np.unique(np.diff(bars.time_us), return_counts=True)
    return int(gaps_us[np.argmax(counts)]) if gaps_us.size else None
