"""Superior predictive ability: whether the best of many beats doing nothing by more than luck gives the best of them.

Source: Hansen, "A Test for Superior Predictive Ability", Journal of Business & Economic Statistics 23(4), 2005; the
stationary bootstrap is Politis & Romano's, Journal of the American Statistical Association 89, 1994.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.numeric.compiled import compiled
from engine.search.statistics.sharpe import disperse

FEWEST_DAYS: Final = 64
DRAWS: Final = 1_000
_DOUBT: Final = 1e-4
"""Of the sizes involved: hundreds of times what a mean in half the precision is off by."""


def superior_p(returns: Floats, seed: int) -> float | None:
    """Return the share of bootstrap draws whose largest studentised mean is above the largest of the returns.

    returns: shape (n, T); of its rows those that disperse count. With s = std(ddof=1) and S = mean / s the statistic is
    the largest S. Rows are recentred by c = mean where S >= -sqrt(2 * ln(ln T) / T), else by 0: a row that loses that
    much cannot make the best look like luck. A draw is T days by the stationary bootstrap with blocks of L =
    round(T^(1/3)) days on average: of numpy's default_rng(seed) a = integers(T, size=T), then u = random(T); day i is
    a[i] where i is 0 or u[i] <= 1 / L, else the one after day i - 1 (day 0 after the last). p is the share of 1 000
    draws in which max((mean of the draw - c) / s) is above the statistic. None for T < 64 or no such row.
    """
    days = returns.shape[1]
    columns = returns[disperse(returns)]
    if days < FEWEST_DAYS or not columns.size:
        return None
    mean, deviation = columns.mean(axis=1), columns.std(axis=1, ddof=1)
    ratios = mean / deviation
    statistic = float(ratios.max())
    centre = np.where(ratios >= -math.sqrt(2.0 * math.log(math.log(days)) / days), mean, 0.0) / deviation
    scaled = (columns / deviation[:, None]).T
    drawn = _draws(days, seed)
    # In half the precision first, which takes half the time; what that leaves in doubt is looked at again.
    largest = (drawn @ scaled.astype(np.float32) / np.float32(days) - centre.astype(np.float32)).max(axis=1)
    above = largest > statistic
    doubtful = np.abs(largest - statistic) < _DOUBT * (abs(statistic) + float(np.abs(scaled).max()))
    if doubtful.any():
        again = (drawn[doubtful].astype(np.float64) @ scaled / days - centre).max(axis=1)
        above[doubtful] = again > statistic
    return float(above.mean())


def _draws(days: int, seed: int) -> NDArray[np.float32]:
    """Return how often each draw has each day, shape (DRAWS, days)."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((DRAWS, days), np.float32)
    restart = 1.0 / round(days ** (1.0 / 3.0))
    for draw in range(DRAWS):
        starts = generator.integers(days, size=days)
        _count_days(starts, generator.random(days), restart, counts[draw])
    return counts


@compiled
def _count_days(starts: NDArray[np.int64], chances: Floats, restart: float, counts: NDArray[np.float32]) -> None:
    """Walk through one draw and count its days."""
    day = starts[0]
    for i in range(starts.size):
        if i > 0:
            day = starts[i] if chances[i] <= restart else day + 1
            if day == starts.size:
                day = 0
        counts[day] += np.float32(1.0)
