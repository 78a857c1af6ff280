"""How much of a metric's differences between combinations one parameter explains."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats

GROUPS: Final = 10
"""Of an interval."""


def sensitivity(groups: Floats, values: Floats, *, interval: bool) -> float | None:
    """Return sum n_j (mean_j - mean)^2 / sum (v - mean)^2, 0 to 1: the correlation ratio (Pearson, 1905) of v by
    groups.

    groups: of each combination which value its parameter has. values: v, NaN for none, which are left out. interval:
    groups are numbers, put into ten of equal count by rank, equal ones in the lower. None where all v are equal, or
    there is none.
    """
    known = np.isfinite(values)
    groups, values = groups[known], values[known]
    if not values.size or values.min() == values.max():
        return None
    _, of = np.unique(_tenths(groups) if interval else groups, return_inverse=True)
    counts = np.bincount(of)
    mean = values.mean()
    means = np.bincount(of, weights=values - mean) / counts
    return float((counts * means**2).sum() / ((values - mean) ** 2).sum())


def _tenths(numbers: Floats) -> NDArray[np.int64]:
    """Return each number's tenth: that of the first in rank that is equal to it."""
    below = np.searchsorted(np.sort(numbers), numbers)
    return below * GROUPS // numbers.size
