"""Sums that rounding does not touch, so that neither the order of trades nor their number decides a digit."""

import numpy as np
from numpy.typing import NDArray

from engine.compiled import compiled, read_only


def exact_sum(values: NDArray[np.float64]) -> float:
    """Return the sum as if computed in twice the precision and rounded once; 0 for none.

    Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
    """
    return float(_compensated_sum(read_only(values)))


def booked_sum(values: NDArray[np.float64]) -> float:
    """Return the sum of booked amounts: exact to their 1e-8."""
    return round(exact_sum(values), 8)


@compiled
def _compensated_sum(values: NDArray[np.float64]) -> float:
    total, errors = 0.0, 0.0
    for i in range(values.size):
        larger = total + values[i]
        virtual = larger - total
        errors += (total - (larger - virtual)) + (values[i] - virtual)
        total = larger
    return total + errors
