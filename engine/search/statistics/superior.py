"""Superior predictive ability: whether the best of many beats doing nothing by more than luck gives the best of them.

Source: Hansen, "A Test for Superior Predictive Ability", Journal of Business & Economic Statistics 23(4), 2005; the
stationary bootstrap is Politis & Romano's, Journal of the American Statistical Association 89, 1994.
"""

import math
from typing import Final

import numpy as np

from engine.numeric.arrays import Floats
from engine.search.statistics.sharpe import disperse

FEWEST_DAYS: Final = 64
DRAWS: Final = 1_000


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
    centre = np.where(ratios >= -math.sqrt(2.0 * math.log(math.log(days)) / days), mean, 0.0)
    drawn = (_draws(days, seed) @ (columns / deviation[:, None]).T) / days
    largest = (drawn - centre / deviation).max(axis=1)
    return float((largest > ratios.max()).mean())


def _draws(days: int, seed: int) -> Floats:
    """Return how often each draw has each day, shape (DRAWS, days)."""
    generator = np.random.default_rng(seed)
    starts, restarts = np.empty((DRAWS, days), np.int64), np.empty((DRAWS, days), bool)
    length = round(days ** (1.0 / 3.0))
    for draw in range(DRAWS):
        starts[draw] = generator.integers(days, size=days)
        restarts[draw] = generator.random(days) <= 1.0 / length
    restarts[:, 0] = True
    place = np.arange(days)
    begun = np.maximum.accumulate(np.where(restarts, place, 0), axis=1)
    drawn = (np.take_along_axis(starts, begun, axis=1) + place - begun) % days
    flat = np.bincount((drawn + days * np.arange(DRAWS)[:, None]).ravel(), minlength=DRAWS * days)
    return flat.reshape(DRAWS, days).astype(np.float64)
